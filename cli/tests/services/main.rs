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

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn trials() -> Vec<Trial> {
    vec![
        Trial::test("smoke_passes_again_and_again", flow::smoke),
        Trial::test("one_service_brings_what_it_needs", flow::only),
        Trial::test("stock_is_conserved_under_a_rush", flow::rush),
        Trial::test("one_key_has_one_effect", flow::one_key),
        Trial::test("no_body_makes_a_service_fail", hostile::bodies),
        Trial::test("no_path_makes_a_service_fail", hostile::paths),
        Trial::test("descriptions_are_whole", hostile::descriptions),
        Trial::test("nobody_but_the_gateway_comes_in", hostile::strangers),
        Trial::test("what_callers_make_up_stays_nowhere", hostile::made_up),
        Trial::test("silent_connections_keep_nobody_out", hostile::silent),
        Trial::test("a_key_is_one_users_for_one_shipment", hostile::borrowed_key),
    ]
}

/// What others must not be disturbed by: one after the other, and at the end.
fn disturbing() -> Vec<Trial> {
    vec![
        // Before anybody breaks anything.
        Trial::test(
            "data_snapshots_migrations_and_the_stack_agree",
            schema::agree,
        ),
        Trial::test("data_a_difference_is_told_and_classed", schema::differ),
        Trial::test(
            "data_every_kind_of_object_is_in_a_snapshot",
            schema::every_kind,
        ),
        Trial::test("data_who_holds_a_lock_is_named", schema::locked),
        Trial::test("a_seed_is_there_as_told", seed::seeds),
        Trial::test("a_job_passes_and_leaves_its_reports", ci::passes),
        Trial::test("a_job_that_fails_says_so_and_tidies_up", ci::fails),
        Trial::test("a_change_restarts_what_it_is_in", dev::changes),
        Trial::test("services_do_what_they_describe", openapi::services),
        Trial::test("the_gateway_does_what_it_describes", openapi::gateway),
        Trial::test("an_order_tells_one_story", event_flow::story),
        Trial::test("what_rests_goes_when_told", event_flow::retries),
        Trial::test("events_are_seen_as_they_pass", event_flow::tail),
        Trial::test("what_is_parked_is_accounted_for", event_flow::parked),
        Trial::test(
            "dead_letters_go_back_and_nothing_is_lost",
            dead_letters::story,
        ),
        Trial::test(
            "copies_of_dead_letters_are_whole_and_apart",
            dead_letters::copies,
        ),
        Trial::test(
            "a_replay_that_is_killed_loses_nothing",
            dead_letters::killed,
        ),
    ]
    .into_iter()
    .chain(faults::trials())
    .chain([
        Trial::test("an_account_is_red_where_something_is_wrong", account::truth),
        Trial::test(
            "what_is_missing_comes_back_in_order_and_as_it_was_edited",
            account::repaired,
        ),
        Trial::test("a_changed_limit_is_the_running_brokers", account::limits),
        Trial::test("data_a_past_is_there_as_if_it_had_happened", past::seeded),
        Trial::test(
            "data_a_past_that_is_cut_short_is_carried_on_with",
            past::killed,
        ),
        Trial::test("data_files_are_taken_whole_or_not_at_all", past::files),
        Trial::test("data_a_backup_brings_all_of_it_back", backup::story),
        Trial::test("data_a_backup_that_is_damaged_is_refused", backup::damaged),
        Trial::test(
            "data_a_backup_knows_its_rows_without_notes",
            backup::counted,
        ),
        Trial::test("data_one_schema_comes_back", backup::one_schema),
        Trial::test("data_backups_are_made_when_due", backup::scheduled),
        Trial::test("data_backups_are_made_in_the_stack", backup::by_themselves),
        Trial::test("data_a_prune_keeps_the_right_backups", backup::pruned),
        Trial::test(
            "data_what_is_interrupted_leaves_nothing",
            backup::interrupted,
        ),
        Trial::test(
            "data_a_restore_that_is_killed_is_carried_on_with",
            backup::killed,
        ),
        Trial::test(
            "data_a_backup_has_what_its_server_gave",
            restore::server_side,
        ),
        Trial::test(
            "data_a_backup_that_does_not_fit_changes_nothing",
            restore::refused_before_anything_changes,
        ),
        Trial::test(
            "data_a_schema_that_others_need_stays",
            restore::schemas_that_stay,
        ),
        Trial::test(
            "data_no_message_of_before_reaches_a_restored_database",
            restore::foreign_messages,
        ),
        Trial::test(
            "data_a_restore_may_be_killed_anywhere",
            restore::killed_anywhere,
        ),
        Trial::test("data_changes_at_once_take_turns", restore::all_at_once),
        Trial::test("data_a_reset_begins_anew", reset::fresh),
        Trial::test("data_a_reset_that_is_killed_is_done_later", reset::killed),
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
    let ended = stack::end();
    if first.has_failed() || second.has_failed() || !ended {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
