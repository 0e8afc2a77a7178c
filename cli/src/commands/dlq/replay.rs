//! `dm dlq replay`.

use chrono::Utc;
use clap::Args;
use dm_core::error::{ExitStatus, Result};
use dm_core::number::whole_number;
use dm_messaging::dead_letters::replay::{ReplayLimits, ReplayPlan, ReplayProgress, ReplaySummary};
use dm_messaging::dead_letters::replay_audit::ReplayOutcome;
use dm_operations::StackClients;
use dm_operations::dead_letters::replay::{self, ReplayOptions, ReplayReport, ReplayResult};
use dm_terminal::{Printer, json};

use super::{DeadLetterFilterArgs, render};
use crate::arguments::MAX_COUNT;
use crate::context::Context;

/// Send dead letters back to the queues where they failed.
///
/// Records the set of dead letters first. Then sends each one to the queue where it failed,
/// records that, and only then removes the dead letter. A run that is killed loses no message,
/// and can be resumed.
///
/// Exit code 1 if a message was accepted by no queue. Its dead letter is kept.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  dm dlq replay --dry-run
  dm dlq replay --queue inventory.order-events.q --rate 50
  dm dlq replay --id evt_0f3c --edit")]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) filter: DeadLetterFilterArgs,
    /// Maximum number of dead letters to replay, from the head of the queues [default: all].
    #[arg(long, value_name = "N", value_parser = whole_number::<usize>(1..=MAX_COUNT as usize), allow_negative_numbers = true)]
    limit: Option<usize>,
    /// Show the dead letters to replay and the digest of the set, without replaying them.
    #[arg(long)]
    dry_run: bool,
    /// Replay only if the set has this digest, as shown by --dry-run.
    #[arg(long, value_name = "DIGEST", conflicts_with = "resume")]
    expect: Option<String>,
    /// Maximum number of messages per second [default: no limit].
    #[arg(long, value_name = "N", value_parser = whole_number::<u32>(1..=1_000_000), allow_negative_numbers = true)]
    rate: Option<u32>,
    /// Maximum number of published messages that are not yet confirmed.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = whole_number::<u16>(1..=2000), allow_negative_numbers = true)]
    max_in_flight: u16,
    /// Skip dead letters that were already replayed N times or more.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = whole_number::<u64>(0..=1_000_000), allow_negative_numbers = true)]
    max_rounds: u64,
    /// Also replay dead letters that are older than the inbox retention.
    ///
    /// The inbox may no longer know such a message, so that it may be processed twice. The
    /// retention is INBOX_RETENTION_MS of the service, 30 days by default.
    #[arg(long)]
    force: bool,
    /// Publish to the exchange, and so to every queue that is bound to the event.
    #[arg(long)]
    to_exchange: bool,
    /// Edit the message in $VISUAL or $EDITOR first.
    ///
    /// The filter must match exactly one dead letter. The edited message must be a valid event
    /// of the catalog, and is sent with a new event id.
    #[arg(long, conflicts_with_all = ["to_exchange", "resume", "dry_run"])]
    edit: bool,
    /// Resume an interrupted run.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["queue", "reason", "event_type", "id", "since", "until", "limit", "dry_run", "to_exchange", "max_rounds", "force"])]
    resume: Option<String>,
}

impl Arguments {
    const fn limits(&self) -> ReplayLimits {
        ReplayLimits {
            max_per_second: self.rate,
            max_in_flight: self.max_in_flight,
        }
    }

    fn into_options(self) -> ReplayOptions {
        ReplayOptions {
            queues: self.filter.queue.clone(),
            filter: self.filter.into_filter(),
            limit: self.limit,
            to_exchange: self.to_exchange,
            max_rounds: self.max_rounds,
            force: self.force,
            expected_digest: self.expect,
            edit: self.edit,
        }
    }
}

/// Replays dead letters, or prints the plan.
pub(super) async fn run(
    context: &Context,
    clients: &StackClients,
    arguments: Arguments,
) -> Result<ExitStatus> {
    let (session, printer) = (&context.session, &context.printer);
    let limits = arguments.limits();
    let on_report = |report: ReplayReport<'_>| print_report(printer, report);
    if let Some(run_id) = &arguments.resume {
        let summary = replay::resume(session, clients, run_id, limits, &on_report).await?;
        return print_summary(printer, &summary);
    }
    let dry_run = arguments.dry_run;
    let options = arguments.into_options();
    if dry_run {
        return print_plan(printer, &replay::preview(clients, &options).await?);
    }
    match replay::run(session, clients, &options, limits, &on_report).await? {
        // The only line of a run is a document on one line, too.
        ReplayResult::NothingToReplay(plan) if printer.is_json() => {
            printer.write_stdout(&json::format_line(&dm_core::document::REPLAY_PLAN, &plan)?)?;
            Ok(ExitStatus::Success)
        }
        ReplayResult::NothingToReplay(plan) => print_plan(printer, &plan),
        ReplayResult::Finished(summary) => print_summary(printer, &summary),
    }
}

fn print_report(printer: &Printer, report: ReplayReport<'_>) {
    match report {
        ReplayReport::Refused(letter, refusal) => {
            printer.warn(&render::refusal_sentence(letter, refusal));
        }
        ReplayReport::OutcomeRecorded(progress) => {
            // A closed output does not stop the replay. Printing the result reports it.
            let _ = print_message_outcome(printer, progress);
        }
    }
}

/// Prints the outcome of one message: as a line of JSON, or as a sentence.
fn print_message_outcome(printer: &Printer, progress: &ReplayProgress<'_>) -> Result<()> {
    if printer.is_json() {
        printer.write_stdout(&json::format_line(
            &dm_core::document::REPLAY_MESSAGE,
            progress,
        )?)?;
    } else if progress.outcome == ReplayOutcome::Replayed {
        printer.detail(&render::outcome_sentence(progress));
    } else {
        printer.warn(&render::outcome_sentence(progress));
    }
    Ok(())
}

fn print_plan(printer: &Printer, plan: &ReplayPlan) -> Result<ExitStatus> {
    printer.print_result(&dm_core::document::REPLAY_PLAN, plan, |canvas| {
        render::render_plan(plan, Utc::now(), canvas)
    })?;
    Ok(ExitStatus::Success)
}

fn print_summary(printer: &Printer, summary: &ReplaySummary) -> Result<ExitStatus> {
    if printer.is_json() {
        // The last line, after one line per message.
        printer.write_stdout(&json::format_line(&dm_core::document::REPLAY, summary)?)?;
    } else {
        printer.write_stdout(&render::replay_sentence(summary, &printer.stdout_canvas()))?;
    }
    Ok(if summary.returned == 0 {
        ExitStatus::Success
    } else {
        ExitStatus::Findings
    })
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches as _;

    use super::*;

    fn parse(options: &[&str]) -> Arguments {
        let command = Arguments::augment_args(clap::Command::new("replay"));
        let words = ["replay"].iter().chain(options);
        let matches = command.try_get_matches_from(words).unwrap();
        Arguments::from_arg_matches(&matches).unwrap()
    }

    #[test]
    fn options_of_an_empty_command_line_replay_all_letters_of_up_to_five_rounds() {
        let options = parse(&[]).into_options();
        assert!(options.queues.is_empty());
        assert_eq!(options.limit, None);
        assert_eq!(options.max_rounds, 5);
        assert!(!options.force && !options.to_exchange);
        assert_eq!(options.expected_digest, None);
        assert!(!options.edit);
    }

    #[test]
    fn options_have_the_values_of_the_command_line() {
        let arguments = parse(&[
            "--queue=inventory.order-events.q",
            "--id=evt_1",
            "--limit=3",
            "--max-rounds=0",
            "--expect=0123456789ab",
            "--force",
            "--to-exchange",
            "--rate=50",
        ]);
        let limits = arguments.limits();
        assert_eq!(
            (limits.max_per_second, limits.max_in_flight),
            (Some(50), 100)
        );
        let options = arguments.into_options();
        assert_eq!(options.queues, ["inventory.order-events.q"]);
        assert_eq!(options.filter.ids, ["evt_1"]);
        assert_eq!((options.limit, options.max_rounds), (Some(3), 0));
        assert_eq!(options.expected_digest.as_deref(), Some("0123456789ab"));
        assert!(options.force && options.to_exchange);
        assert!(parse(&["--edit"]).into_options().edit);
    }
}
