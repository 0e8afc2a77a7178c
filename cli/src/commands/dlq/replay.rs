//! `dm dlq replay`.

use std::collections::BTreeMap;

use chrono::Utc;
use clap::Args;
use dm_core::error::{ExitStatus, Result};
use dm_core::number::whole_number;
use dm_messaging::dead_letters::{self, browse, edit, replay, replay_audit};
use dm_messaging::{MessagingError, retention};
use dm_operations::StackClients;
use dm_terminal::json;
use dm_terminal::progress_counter::ProgressCounter;
use lapin::Connection;

use super::DeadLetterFilterArgs;
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

/// Replays dead letters, or prints the plan.
pub(super) async fn run(
    context: &Context,
    clients: &StackClients,
    arguments: Arguments,
) -> Result<ExitStatus> {
    let printer = &context.printer;
    let limits = replay::ReplayLimits {
        max_per_second: arguments.rate,
        max_in_flight: arguments.max_in_flight,
    };
    // A dry run changes nothing and does not wait for the lock.
    let _guard = if arguments.dry_run {
        None
    } else {
        Some(
            context
                .session
                .lock(&clients.project, "dm dlq replay")
                .await?,
        )
    };
    let connection = clients.lock_dead_letters().await?;
    let counter = ProgressCounter::new(printer, "replayed");
    let report = |progress: &replay::ReplayProgress<'_>| {
        counter.update(progress.replayed, progress.total);
        // A closed output does not stop the replay. Printing the result reports it.
        let _ = print_message_outcome(context, progress);
    };
    let service_tables = clients.service_tables();
    if let Some(run_id) = &arguments.resume {
        let database = clients.connect_database().await?;
        let replay_context = replay::ReplayContext {
            connection: &connection,
            database: &database,
            service_tables: &service_tables,
            interrupt: &context.session.interrupt,
            on_progress: &report,
        };
        let summary = replay::resume(&replay_context, run_id, limits).await?;
        drop(counter);
        return print_result(context, &summary);
    }
    let request = replay::ReplayRequest {
        queues: arguments.filter.queues()?,
        filter: arguments.filter.into_filter(),
        limit: arguments.limit,
        to_exchange: arguments.to_exchange,
        max_rounds: arguments.max_rounds,
        inbox_retention: if arguments.force {
            BTreeMap::new()
        } else {
            retention::inbox_retention_by_queue(clients.config())
        },
    };
    let mut selection = replay::select_letters(&connection, &request, Utc::now()).await?;
    let plan = &selection.plan;
    if let Some(expected) = arguments.expect.filter(|digest| *digest != plan.digest) {
        return Err(MessagingError::DigestMismatch {
            expected,
            actual: plan.digest.clone(),
        }
        .into());
    }
    if arguments.dry_run || plan.letters.is_empty() {
        printer.print_result(&dm_core::document::REPLAY_PLAN, plan, |canvas| {
            super::render::render_plan(plan, Utc::now(), canvas)
        })?;
        return Ok(ExitStatus::Success);
    }
    for (letter, refusal) in &plan.refused {
        printer.warn(&super::render::refusal_sentence(letter, *refusal));
    }
    let database = clients.connect_database().await?;
    let replay_context = replay::ReplayContext {
        connection: &connection,
        database: &database,
        service_tables: &service_tables,
        interrupt: &context.session.interrupt,
        on_progress: &report,
    };
    let edited = if arguments.edit {
        // Editing takes long: no message is held meanwhile.
        selection.requeue().await?;
        Some(edit_letter(context, &connection, &selection.plan).await?)
    } else {
        None
    };
    let summary = replay::run(
        &replay_context,
        &request,
        selection,
        edited.as_ref(),
        limits,
    )
    .await?;
    drop(counter);
    print_result(context, &summary)
}

/// Prints the outcome of one message: as a line of JSON, or as a sentence.
fn print_message_outcome(context: &Context, progress: &replay::ReplayProgress<'_>) -> Result<()> {
    let printer = &context.printer;
    if printer.is_json() {
        printer.write_stdout(&json::format_line(
            &dm_core::document::REPLAY_MESSAGE,
            progress,
        )?)?;
    } else if progress.outcome == replay_audit::ReplayOutcome::Replayed {
        printer.detail(&super::render::outcome_sentence(progress));
    } else {
        printer.warn(&super::render::outcome_sentence(progress));
    }
    Ok(())
}

/// Opens the only letter of a plan in the editor until it is a valid event.
async fn edit_letter(
    context: &Context,
    connection: &Connection,
    plan: &replay::ReplayPlan,
) -> Result<replay_audit::EditedEvent> {
    let [letter] = plan.letters.as_slice() else {
        return Err(MessagingError::EditTargetNotUnique(plan.letters.len()).into());
    };
    let queues = dead_letters::resolve_queue_names(std::slice::from_ref(&letter.queue))?;
    let details = browse::find_details(connection, &queues, &letter.fingerprint).await?;
    let before = details
        .first()
        .map_or_else(String::new, |detail| detail.body_text.clone());
    let file = tempfile::Builder::new()
        .prefix("dead-letter-")
        .suffix(".json")
        .tempfile()
        .map_err(MessagingError::from)?;
    std::fs::write(file.path(), &before).map_err(MessagingError::from)?;
    loop {
        let status = dm_host::editor::edit(file.path()).map_err(MessagingError::from)?;
        let after = std::fs::read_to_string(file.path()).map_err(MessagingError::from)?;
        let message = if status.success() {
            match edit::validate_edit(&letter.queue, &before, &after) {
                Ok(edited) => return Ok(edited),
                Err(message) => message,
            }
        } else {
            format!("the editor ended with {status}")
        };
        let printer = &context.printer;
        if printer.is_interactive() {
            printer.warn(&message);
            if printer.confirm("Edit it again?")? {
                continue;
            }
        }
        // The edited text is not discarded.
        let (_, draft) = file
            .keep()
            .map_err(|error| MessagingError::from(error.error))?;
        return Err(MessagingError::InvalidEdit {
            reason: message,
            draft,
        }
        .into());
    }
}

fn print_result(context: &Context, summary: &replay::ReplaySummary) -> Result<ExitStatus> {
    let printer = &context.printer;
    if printer.is_json() {
        // The last line, after one line per message.
        printer.write_stdout(&json::format_line(&dm_core::document::REPLAY, summary)?)?;
    } else {
        printer.write_stdout(&super::render::replay_sentence(
            summary,
            &printer.stdout_canvas(),
        ))?;
    }
    Ok(if summary.returned == 0 {
        ExitStatus::Success
    } else {
        ExitStatus::Findings
    })
}
