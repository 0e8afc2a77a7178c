//! The seven services on real servers, as their callers meet them.
//!
//! All tests share one instance of the repository's own stack, which is built and
//! brought up first and taken down last.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "all of this is a test"
)]

mod account;
mod backup;
mod ci;
mod dead_letters;
mod dev;
mod event_flow;
mod faults;
mod flow;
mod hostile;
mod openapi;
mod past;
mod reset;
mod restore;
mod schema;
#[path = "../support/secrets.rs"]
mod secrets;
mod seed;
mod stack;
#[path = "../support/timings.rs"]
mod timings;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

use timings::trial;

fn trials() -> Vec<Trial> {
    vec![
        trial("smoke_passes_again_and_again", flow::smoke),
        trial("one_service_brings_what_it_needs", flow::only),
        trial("stock_is_conserved_under_a_rush", flow::rush),
        trial("one_key_has_one_effect", flow::one_key),
        trial("no_body_makes_a_service_fail", hostile::bodies),
        trial("no_path_makes_a_service_fail", hostile::paths),
        trial("descriptions_are_whole", hostile::descriptions),
        trial("nobody_but_the_gateway_comes_in", hostile::strangers),
        trial(
            "a_sign_in_without_pkce_is_refused",
            hostile::sign_in_without_pkce,
        ),
        trial("what_callers_make_up_stays_nowhere", hostile::made_up),
        trial("silent_connections_keep_nobody_out", hostile::silent),
        trial("a_key_is_one_users_for_one_shipment", hostile::borrowed_key),
    ]
}

/// What others must not be disturbed by: one after the other, and at the end.
fn disturbing() -> Vec<Trial> {
    vec![
        // Before anybody breaks anything.
        trial(
            "data_snapshots_migrations_and_the_stack_agree",
            schema::agree,
        ),
        trial("data_a_difference_is_told_and_classed", schema::differ),
        trial("data_an_older_schema_keeps_its_events", schema::older),
        trial(
            "data_every_kind_of_object_is_in_a_snapshot",
            schema::every_kind,
        ),
        trial("data_who_holds_a_lock_is_named", schema::locked),
        trial("a_seed_is_there_as_told", seed::seeds),
        trial(
            "slow_readers_of_large_lists_take_little_memory",
            hostile::slow_readers,
        ),
        trial("a_job_passes_and_leaves_its_reports", ci::passes),
        trial("a_job_that_fails_says_so_and_tidies_up", ci::fails),
        trial("a_change_restarts_what_it_is_in", dev::changes),
        trial("services_do_what_they_describe", openapi::services),
        trial("the_gateway_does_what_it_describes", openapi::gateway),
        trial("an_order_tells_one_story", event_flow::story),
        trial("an_event_leaves_as_it_was_written", event_flow::as_written),
        trial("what_rests_goes_when_told", event_flow::retries),
        trial("events_are_seen_as_they_pass", event_flow::tail),
        trial("what_is_parked_is_accounted_for", event_flow::parked),
        trial(
            "dead_letters_go_back_and_nothing_is_lost",
            dead_letters::story,
        ),
        trial(
            "copies_of_dead_letters_are_whole_and_apart",
            dead_letters::copies,
        ),
        trial(
            "a_replay_that_is_killed_loses_nothing",
            dead_letters::killed,
        ),
    ]
    .into_iter()
    .chain(faults::trials())
    .chain([
        trial("an_account_is_red_where_something_is_wrong", account::truth),
        trial("an_account_knows_clients_and_profiles", account::people),
        trial(
            "what_is_missing_comes_back_in_order_and_as_it_was_edited",
            account::repaired,
        ),
        trial(
            "what_is_handled_late_was_written_all_the_same",
            account::forgotten,
        ),
        trial(
            "what_waits_for_somebody_outside_is_accounted_for",
            account::handed_over,
        ),
        trial("what_gets_too_old_is_seen_until_then", account::aging),
        trial("a_changed_limit_is_the_running_brokers", account::limits),
        trial("data_a_past_is_there_as_if_it_had_happened", past::seeded),
        trial(
            "data_a_past_that_is_cut_short_is_carried_on_with",
            past::killed,
        ),
        trial("data_files_are_taken_whole_or_not_at_all", past::files),
        trial("data_a_backup_brings_all_of_it_back", backup::story),
        trial("data_a_backup_that_is_damaged_is_refused", backup::damaged),
        trial(
            "data_a_backup_knows_its_rows_without_notes",
            backup::counted,
        ),
        trial("data_one_schema_comes_back", backup::one_schema),
        trial("data_backups_are_made_when_due", backup::scheduled),
        trial("data_backups_are_made_in_the_stack", backup::by_themselves),
        trial("data_a_prune_keeps_the_right_backups", backup::pruned),
        trial(
            "data_what_is_interrupted_leaves_nothing",
            backup::interrupted,
        ),
        trial(
            "data_a_restore_that_is_killed_is_carried_on_with",
            backup::killed,
        ),
        trial(
            "data_a_backup_has_what_its_server_gave",
            restore::server_side,
        ),
        trial(
            "data_a_backup_that_does_not_fit_changes_nothing",
            restore::refused_before_anything_changes,
        ),
        trial(
            "data_a_schema_that_others_need_stays",
            restore::schemas_that_stay,
        ),
        trial("data_what_waits_for_a_retry_is_restored", restore::retried),
        trial(
            "data_no_message_of_before_reaches_a_restored_database",
            restore::foreign_messages,
        ),
        trial(
            "data_a_restore_may_be_killed_anywhere",
            restore::killed_anywhere,
        ),
        trial("data_changes_at_once_take_turns", restore::all_at_once),
        trial("data_every_change_waits_for_another", restore::all_wait),
        trial("data_a_reset_begins_anew", reset::fresh),
        trial("data_a_reset_that_is_killed_is_done_later", reset::killed),
    ])
    .collect()
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    if arguments.list {
        let all = trials().into_iter().chain(disturbing()).collect();
        return libtest_mimic::run(&arguments, all).exit_code();
    }
    stack::begin();
    let first = libtest_mimic::run(&arguments, trials());
    arguments.test_threads = Some(1);
    let second = libtest_mimic::run(&arguments, disturbing());
    faults::publish();
    timings::print(25);
    let ended = stack::end();
    if first.has_failed() || second.has_failed() || !ended {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
