//! `dm dlq`.
//!
//! ```text
//! replay     replays dead letters
//! transfer   exports, imports, parks and purges dead letters
//! render     renders dead letters and replay runs
//! ```

mod render;
mod replay;
mod transfer;

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use dm_core::error::{ExitStatus, Result};
use dm_core::number::whole_number;
use dm_messaging::dead_letters::{DeadLetterFilter, resolve_queue_names};
use dm_operations::StackClients;
use dm_operations::dead_letters::{self, DeadLetterSelection};

use crate::arguments::event_filter::parse_instant;
use crate::arguments::period::{self, ReversedPeriod};
use crate::context::Context;

/// Inspect, replay and remove dead letters.
///
/// A dead letter is a message that a service could not process. Inspecting dead letters does
/// not change them: bodies, headers and order stay the same. Copies of a recorded dead letter
/// are removed when the queue is read.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  dm dlq ls
  dm dlq replay --dry-run
  dm dlq history")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the dead letters, grouped by queue, reason and type.
    ///
    /// Reads the failure records of the services if their number matches the queue. Otherwise
    /// reads the queue, which takes longer, and reports so on stderr.
    #[command(after_long_help = "Examples:
  dm dlq ls
  dm dlq ls --each --since 1h
  dm dlq ls --reason invalid-data --fail-if-any")]
    Ls {
        #[command(flatten)]
        filter: DeadLetterFilterArgs,
        /// List each dead letter instead of groups.
        #[arg(long)]
        each: bool,
        /// Exit with code 1 if a dead letter is listed.
        #[arg(long)]
        fail_if_any: bool,
    },
    /// Show a dead letter with its properties, headers and body.
    #[command(after_long_help = "Examples:
  dm dlq show evt_0f3c
  dm dlq show evt_0f3c --json")]
    Show {
        /// Event id or fingerprint of the dead letter.
        id: String,
    },
    Replay(replay::Arguments),
    /// Write dead letters to a file as JSON lines, without removing them.
    #[command(after_long_help = "Examples:
  dm dlq export letters.jsonl
  dm dlq export - --reason invalid-data")]
    Export {
        /// File to write, which must not exist; a pipe; or `-` for stdout.
        file: PathBuf,
        #[command(flatten)]
        filter: DeadLetterFilterArgs,
    },
    /// Put exported dead letters back into their dead-letter queues.
    ///
    /// Skips the dead letters that are still there. A line that is not a dead letter is skipped
    /// with a warning, and the exit code is 1.
    #[command(after_long_help = "Examples:
  dm dlq import letters.jsonl
  dm dlq import - < letters.jsonl")]
    Import {
        /// File that `dm dlq export` or `dm dlq purge` wrote; `-` for stdin.
        file: PathBuf,
    },
    /// Move dead letters from their queues to the database.
    ///
    /// `dm dlq unpark` moves them back.
    #[command(after_long_help = "Examples:
  dm dlq park --reason invalid-data --note 'waits for a fix'
  dm dlq park --id evt_0f3c --yes")]
    Park {
        #[command(flatten)]
        filter: DeadLetterFilterArgs,
        /// Note to store with the dead letters.
        #[arg(
            long,
            value_name = "TEXT",
            default_value = "",
            allow_hyphen_values = true
        )]
        note: String,
        /// Do not ask for confirmation.
        #[arg(long, short)]
        yes: bool,
    },
    /// List the parked dead letters, latest first.
    #[command(after_long_help = "Examples:
  dm dlq parked
  dm dlq parked --json")]
    Parked,
    /// Move parked dead letters back to their queues.
    #[command(after_long_help = "Examples:
  dm dlq unpark
  dm dlq unpark evt_0f3c")]
    Unpark {
        /// Event ids or fingerprints of the dead letters [default: all parked ones].
        #[arg(value_name = "ID")]
        ids: Vec<String>,
    },
    /// Remove dead letters, after writing a copy of them to a file.
    #[command(after_long_help = "Examples:
  dm dlq purge --copy letters.jsonl
  dm dlq purge --copy old.jsonl --until 7d --yes")]
    Purge {
        /// File for the copy, which must not exist; `dm dlq import` reads it.
        #[arg(long, value_name = "FILE")]
        copy: PathBuf,
        #[command(flatten)]
        filter: DeadLetterFilterArgs,
        /// Do not ask for confirmation.
        #[arg(long, short)]
        yes: bool,
    },
    /// List the past replay runs, latest first.
    #[command(after_long_help = "Examples:
  dm dlq history
  dm dlq history --limit 5 --json")]
    History {
        /// Maximum number of runs to show.
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = whole_number::<u32>(1..=10_000), allow_negative_numbers = true)]
        limit: u32,
    },
}

impl Arguments {
    /// Returns whether the first interrupt ends the command between two messages.
    pub(crate) const fn is_graceful(&self) -> bool {
        matches!(self.action, Action::Replay(_))
    }
}

impl Action {
    /// Returns the options that select dead letters, if the action has them.
    const fn filter(&self) -> Option<&DeadLetterFilterArgs> {
        match self {
            Self::Ls { filter, .. }
            | Self::Export { filter, .. }
            | Self::Park { filter, .. }
            | Self::Purge { filter, .. } => Some(filter),
            Self::Replay(replay) => Some(&replay.filter),
            Self::Show { .. }
            | Self::Import { .. }
            | Self::Parked
            | Self::Unpark { .. }
            | Self::History { .. } => None,
        }
    }
}

/// The options that select dead letters.
#[derive(Debug, Clone, Args)]
struct DeadLetterFilterArgs {
    /// Select dead letters of this work queue; may be repeated.
    #[arg(long, value_name = "QUEUE")]
    queue: Vec<String>,
    /// Select dead letters with this reason, e.g. `invalid-data`; may be repeated.
    #[arg(long, value_name = "REASON")]
    reason: Vec<String>,
    /// Select dead letters of this event type or type suffix; may be repeated.
    ///
    /// For example `order.created.v1`.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Vec<String>,
    /// Select the dead letters with this event id or fingerprint; may be repeated.
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    id: Vec<String>,
    /// Select failures at or after this time: an age such as `2h`, or a timestamp.
    ///
    /// Timestamps have the form `2026-02-03T10:00:00Z`.
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    since: Option<DateTime<Utc>>,
    /// Select failures before this time: an age such as `2h`, or a timestamp.
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    until: Option<DateTime<Utc>>,
}

impl DeadLetterFilterArgs {
    /// Checks the order of `--since` and `--until`.
    fn check_period(&self) -> std::result::Result<(), ReversedPeriod> {
        period::check_order(self.since, self.until)
    }

    fn into_selection(self) -> Result<DeadLetterSelection> {
        Ok(DeadLetterSelection {
            queues: resolve_queue_names(&self.queue)?,
            filter: self.into_filter(),
        })
    }

    fn into_filter(self) -> DeadLetterFilter {
        DeadLetterFilter {
            reasons: self.reason,
            types: self.event_type,
            ids: self.id,
            since: self.since,
            until: self.until,
        }
    }
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<ExitStatus> {
    if let Some(filter) = arguments.action.filter() {
        filter.check_period()?;
    }
    let clients = StackClients::open(&context.session).await?;
    match arguments.action {
        Action::Ls {
            filter,
            each,
            fail_if_any,
        } => {
            let selection = filter.into_selection()?;
            let has_letters = if each {
                print_letters(context, &clients, &selection).await?
            } else {
                print_groups(context, &clients, &selection).await?
            };
            Ok(if fail_if_any && has_letters {
                ExitStatus::Findings
            } else {
                ExitStatus::Success
            })
        }
        Action::Show { id } => {
            let details = dead_letters::find_details(&clients, &id).await?;
            let document = render::LettersDocument { letters: &details };
            context.printer.print_result(
                &dm_core::document::DEAD_LETTER_DETAIL,
                &document,
                |canvas| render::render_details(&details, canvas),
            )?;
            Ok(ExitStatus::Success)
        }
        Action::Replay(replay) => replay::run(context, &clients, replay).await,
        Action::Export { file, filter } => transfer::export(context, &clients, &file, filter).await,
        Action::Import { file } => transfer::import(context, &clients, &file).await,
        Action::Purge { copy, filter, yes } => {
            transfer::purge(context, &clients, &copy, filter, yes).await
        }
        Action::Park { filter, note, yes } => {
            transfer::park(context, &clients, filter, &note, yes).await
        }
        Action::Parked => {
            let parked = dead_letters::list_parked(&clients).await?;
            let document = render::ParkedDocument { letters: &parked };
            context.printer.print_result(
                &dm_core::document::PARKED_LETTERS,
                &document,
                |canvas| render::render_parked(&parked, Utc::now(), canvas),
            )?;
            Ok(ExitStatus::Success)
        }
        Action::Unpark { ids } => transfer::unpark(context, &clients, &ids).await,
        Action::History { limit } => {
            let runs = dead_letters::list_runs(&clients, limit).await?;
            let document = render::HistoryDocument { runs: &runs };
            context.printer.print_result(
                &dm_core::document::REPLAY_HISTORY,
                &document,
                |canvas| render::render_history(&runs, canvas),
            )?;
            Ok(ExitStatus::Success)
        }
    }
}

/// Prints the groups of dead letters. Returns whether there are any.
async fn print_groups(
    context: &Context,
    clients: &StackClients,
    selection: &DeadLetterSelection,
) -> Result<bool> {
    let listing = dead_letters::list_groups(clients, selection).await?;
    for reading in &listing.scanned_queues {
        context.printer.note(&render::reading_sentence(reading));
    }
    context
        .printer
        .print_result(&dm_core::document::DEAD_LETTER_GROUPS, &listing, |canvas| {
            render::render_groups(&listing.groups, Utc::now(), canvas)
        })?;
    Ok(!listing.groups.is_empty())
}

/// Prints each dead letter. Returns whether there are any.
async fn print_letters(
    context: &Context,
    clients: &StackClients,
    selection: &DeadLetterSelection,
) -> Result<bool> {
    let letters = dead_letters::list_letters(clients, selection).await?;
    let document = render::LettersDocument { letters: &letters };
    context
        .printer
        .print_result(&dm_core::document::DEAD_LETTERS, &document, |canvas| {
            render::render_letters(&letters, Utc::now(), canvas)
        })?;
    Ok(!letters.is_empty())
}
