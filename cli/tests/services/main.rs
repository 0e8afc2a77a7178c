//! Tests of the seven services on real servers.
//!
//! The tests of a lane share one instance of the repository's stack. It is built and started first,
//! and removed last.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "all of this is a test"
)]

mod backup;
mod broker_users;
mod browser;
mod cancel;
mod ci;
mod dead_letters;
mod dev;
mod event_flow;
mod faults;
mod flow;
mod history;
mod lanes;
mod lists;
mod openapi;
mod profiles;
mod reconcile;
mod reset;
mod restore;
mod schema;
#[path = "../support/secrets.rs"]
mod secrets;
mod seed;
mod sessions;
mod stack;
#[path = "../support/timings.rs"]
mod timings;
mod tour;
mod untrusted_requests;

use std::process::ExitCode;

use lanes::Lane;
use timings::trials;

/// The tests of the services' interfaces and of the web apps.
const INTERFACES: Lane = Lane {
    instance: "test-interfaces",
    concurrent: || {
        trials![
            flow::smoke_repeated_passes_every_run_and_writes_junit,
            flow::up_only_one_service_plans_its_servers_and_no_other_service,
            flow::concurrent_orders_reserve_no_more_than_the_stock,
            flow::concurrent_dispatches_with_one_idempotency_key_have_one_effect,
            untrusted_requests::services_reject_malformed_bodies_with_the_error_envelope,
            untrusted_requests::services_reject_malformed_paths_with_the_error_envelope,
            untrusted_requests::services_publish_an_openapi_document_and_metrics,
            untrusted_requests::services_reject_requests_without_the_gateway_secret,
            untrusted_requests::keycloak_refuses_a_sign_in_without_pkce,
            untrusted_requests::unknown_methods_and_paths_do_not_grow_the_metrics,
            untrusted_requests::idle_connections_do_not_block_other_clients,
            untrusted_requests::idempotency_key_of_another_user_or_shipment_is_refused,
            cancel::cancelled_order_releases_its_reservation_once,
            cancel::order_cancelled_before_its_stock_result_stays_cancelled,
            cancel::scanned_order_is_picking_and_can_be_cancelled,
            cancel::shipped_order_cannot_be_cancelled,
            cancel::order_without_stock_can_be_cancelled,
            cancel::invalid_cancellation_changes_nothing,
            sessions::bearer_token_opens_every_route_of_its_role,
            sessions::disabled_user_loses_access_within_a_minute,
            sessions::sign_out_everywhere_ends_the_sessions_of_the_realm,
            sessions::activity_extends_a_session,
            sessions::loopback_addresses_work_like_localhost,
            sessions::dm_call_prints_bodies_and_reports_refusals,
            profiles::avatar_is_shown_with_its_entity_tag_until_it_is_removed,
            profiles::invalid_avatar_is_refused_and_changes_nothing,
            profiles::app_settings_of_one_version_are_saved_once,
            lists::orders_are_filtered_by_client_and_status,
            lists::lists_refuse_invalid_parameters_and_foreign_cursors,
        ]
    },
    exclusive: || {
        trials![
            browser::orders::lead_becomes_a_client_whose_order_is_shipped,
            browser::orders::cancelled_order_shows_its_status_and_reason,
            browser::expenses::expense_is_rejected_only_with_a_comment,
            browser::portal::picture_is_shown_until_it_is_removed,
            browser::portal::theme_is_kept_for_the_user,
            browser::warehouse::scan_without_a_connection_is_sent_later,
            browser::access::input_survives_an_expired_session,
            browser::access::app_of_other_roles_is_refused,
            browser::layout::pages_of_the_apps_fit_into_narrow_windows,
            browser::layout::screenshots_are_written_on_request,
            untrusted_requests::lists_with_slow_readers_use_little_memory,
            profiles::large_avatars_need_little_memory,
            lists::orders_read_by_cursor_while_orders_are_placed_are_complete,
            lists::clients_reading_all_orders_by_cursor_use_little_memory,
            lists::inventory_without_a_free_list_connection_is_ready_and_processes_events,
            openapi::services_answer_as_their_openapi_documents_describe,
            openapi::gateway_answers_as_its_openapi_document_describes,
        ]
    },
};

/// The tests of commands that read and add data.
const DATA: Lane = Lane {
    instance: "test-data",
    concurrent: Vec::new,
    exclusive: || {
        trials![
            // The snapshots are compared before any test changes the stack.
            schema::schema_check_passes_on_the_running_stack,
            schema::schema_diff_classifies_additive_and_breaking_changes,
            schema::events_migration_upgrades_old_event_tables_and_keeps_rows,
            schema::cancellation_migrations_keep_old_orders_and_shipments,
            schema::schema_diff_reports_each_changed_object_once,
            schema::commands_waiting_for_a_database_lock_name_its_holder,
            seed::seed_append_loads_the_rows_that_it_reports,
            ci::ci_job_that_passes_writes_its_reports,
            ci::ci_job_that_fails_is_annotated_and_removes_its_instance,
            tour::tour_commands_succeed_in_order,
            dev::dev_restarts_only_the_changed_service,
            history::history_seed_keeps_reconcile_clean_and_stock_unchanged,
            history::killed_history_seed_is_resumed_without_duplicates,
            history::import_loads_all_rows_or_none,
        ]
    },
};

/// The tests of commands that save and replace data.
const BACKUPS: Lane = Lane {
    instance: "test-backups",
    concurrent: Vec::new,
    exclusive: || {
        trials![
            backup::restore_brings_back_database_broker_and_directory,
            backup::damaged_backup_is_refused_and_intact_one_verified,
            backup::backup_row_counts_do_not_need_pg_stat_statements,
            backup::restore_of_one_schema_leaves_the_others_unchanged,
            backup::backup_schedule_creates_and_prunes_backups,
            backup::scheduler_container_creates_encrypted_backups,
            backup::backup_prune_keeps_the_restored_and_the_newest_backups,
            backup::interrupted_backup_and_restore_leave_nothing,
            backup::killed_restore_is_completed_by_resume,
            restore::restore_brings_back_roles_settings_and_queues,
            restore::restore_of_an_incompatible_backup_changes_nothing,
            restore::restore_of_a_schema_with_dependents_or_locks_is_refused,
            restore::restored_events_waiting_for_a_retry_are_processed,
            restore::restore_discards_messages_of_the_replaced_state,
            restore::restore_killed_at_any_step_can_be_completed,
            restore::concurrent_changing_commands_run_one_after_the_other,
            restore::changing_commands_wait_for_the_instance_lock,
            reset::reset_removes_all_data_and_keeps_slow_containers_running,
            reset::killed_reset_is_completed_by_up,
        ]
    },
};

/// The tests of the event flow, of faults in it and of its repair.
const EVENTS: Lane = Lane {
    instance: "test-events",
    concurrent: Vec::new,
    exclusive: || {
        let before_faults = trials![
            cancel::concurrent_cancels_and_dispatches_end_consistently,
            cancel::reconcile_reports_inconsistent_stock_of_cancelled_orders,
            event_flow::events_trace_shows_what_an_order_caused,
            event_flow::relay_publishes_the_payload_text_unchanged,
            event_flow::outbox_retry_publishes_refused_events,
            event_flow::events_tail_shows_published_events_and_removes_its_queue,
            event_flow::reconcile_counts_parked_dead_letters,
            dead_letters::dlq_commands_lose_no_dead_letter,
            dead_letters::dlq_export_and_import_preserve_every_property_and_header,
            dead_letters::killed_replay_is_resumed_without_losing_messages,
            dead_letters::failed_replay_names_the_run_to_resume,
        ];
        let after_faults = trials![
            // After the faults, because events overtake others.
            cancel::cancellation_that_overtakes_its_order_reserves_nothing,
            cancel::dispatch_that_overtakes_a_cancellation_wins,
            cancel::dead_letters_of_a_cancelled_order_are_replayed_in_any_order,
            reconcile::reconcile_reports_an_invariant_broken_by_a_lost_event,
            reconcile::reconcile_checks_the_invariants_of_sales_and_profile,
            reconcile::reconcile_repair_republishes_missing_events_in_outbox_order,
            reconcile::reconcile_accepts_events_processed_after_outbox_cleanup,
            reconcile::reconcile_expects_no_notification_older_than_its_retention,
            reconcile::reconcile_covers_the_read_model_queue,
            reconcile::reconcile_counts_expiring_messages_as_in_flight,
            reconcile::changed_queue_limits_are_applied_to_the_running_broker,
        ];
        before_faults
            .into_iter()
            .chain(faults::trials())
            .chain(after_faults)
            .collect()
    },
};

fn main() -> ExitCode {
    // The longest lanes start first.
    lanes::run(&[BACKUPS, EVENTS, INTERFACES, DATA])
}
