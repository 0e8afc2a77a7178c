//! `dm dlq`.
//!
//! ```text
//! replay   the way back
//! keep     copies, what is parked, and what is removed
//! ```

mod keep;
mod render;
mod replay;

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use dm_core::error::{Exit, Result};
use dm_messaging::dead::{self, DeadLetter, Filter, Records, audit, look, parked};
use dm_operations::Desk;
use dm_operations::dead_letters::Selection;
use lapin::Connection;

use crate::arguments::events::instant;
use crate::context::Context;

/// Look at dead letters, and send them back.
///
/// Looking changes nothing, however often: bodies, headers, order and depth stay as
/// they are. A replay freezes its set first, sends each letter to the one queue where
/// it failed, and notes it before it is taken from the dead letters: killed at any
/// instant it loses nothing and can be resumed.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show what was set aside, grouped by queue, reason and type.
    ///
    /// The groups come from the consumers' records where there are as many of these as the
    /// queue holds. Otherwise the queue is read, which takes longer, and stderr says so.
    Ls {
        #[command(flatten)]
        which: Which,
        /// Each letter on a line of its own.
        #[arg(long)]
        each: bool,
        /// End with exit code 1 if there is any.
        #[arg(long)]
        fail_if_any: bool,
    },
    /// Show all that a dead letter is made of.
    Show {
        /// The event's id, or the letter's fingerprint.
        id: String,
    },
    /// Send dead letters back to where they failed.
    Replay(replay::Arguments),
    /// Write dead letters to a file, JSON lines, and leave them where they are.
    Export {
        /// The file, which must not exist, or a pipe or a device; `-` for stdout.
        file: PathBuf,
        #[command(flatten)]
        which: Which,
    },
    /// Put the letters of such a file back among the dead ones.
    ///
    /// A line that is no dead letter is skipped with a warning, and the exit code is 1.
    Import {
        /// The file; `-` for stdin.
        file: PathBuf,
    },
    /// Put dead letters away, in the database, until they are put back.
    Park {
        #[command(flatten)]
        which: Which,
        /// Why.
        #[arg(
            long,
            value_name = "TEXT",
            default_value = "",
            allow_hyphen_values = true
        )]
        note: String,
        /// Don't ask.
        #[arg(long, short)]
        yes: bool,
    },
    /// Show what is parked.
    Parked,
    /// Make parked letters dead letters again.
    Unpark {
        /// The events' ids, or the letters' fingerprints; all where none is named.
        ids: Vec<String>,
    },
    /// Remove dead letters, once a copy of them is in a file.
    Purge {
        /// Where the copy goes; `import` takes it.
        #[arg(long, value_name = "FILE")]
        copy: PathBuf,
        #[command(flatten)]
        which: Which,
        /// Don't ask.
        #[arg(long, short)]
        yes: bool,
    },
    /// Show the replays of the past, the latest first.
    History {
        /// How many of them.
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: u32,
    },
}

impl Arguments {
    /// True where the first interrupt is to end it between two messages.
    pub const fn is_graceful(&self) -> bool {
        matches!(self.action, Action::Replay(_))
    }
}

/// Which dead letters.
#[derive(Debug, Clone, Args)]
struct Which {
    /// Of this work queue; may be repeated.
    #[arg(long, value_name = "QUEUE")]
    queue: Vec<String>,
    /// With this reason, e.g. `invalid-data`; may be repeated.
    #[arg(long, value_name = "WORD")]
    reason: Vec<String>,
    /// Of this type or one that ends so, e.g. `order.created.v1`; may be repeated.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Vec<String>,
    /// With this event id or this fingerprint; may be repeated.
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    id: Vec<String>,
    /// That failed since then: an instant such as `2026-02-03T10:00:00Z`, or how long
    /// ago, e.g. `2h`.
    #[arg(long, value_name = "WHEN", value_parser = instant)]
    since: Option<DateTime<Utc>>,
    /// That failed before then.
    #[arg(long, value_name = "WHEN", value_parser = instant)]
    until: Option<DateTime<Utc>>,
}

impl Which {
    fn queues(&self) -> Result<Vec<&'static str>> {
        Ok(dead::queues(&self.queue)?)
    }

    fn selection(self) -> Result<Selection> {
        Ok(Selection {
            queues: self.queues()?,
            filter: self.filter(),
        })
    }

    fn filter(self) -> Filter {
        Filter {
            reasons: self.reason,
            types: self.event_type,
            ids: self.id,
            since: self.since,
            until: self.until,
        }
    }
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let desk = Desk::open(&context.session).await?;
    match arguments.action {
        Action::Ls {
            which,
            each,
            fail_if_any,
        } => {
            let queues = which.queues()?;
            let connection = desk.dead_letters().await?;
            let found = if each {
                list(context, &connection, &queues, &which.filter()).await?
            } else {
                groups(context, &desk, &connection, &queues, &which.filter()).await?
            };
            Ok(if fail_if_any && found {
                Exit::Found
            } else {
                Exit::Success
            })
        }
        Action::Show { id } => {
            let connection = desk.dead_letters().await?;
            let found = look::show(&connection, &dead::queues(&[])?, &id).await?;
            let document = render::Letters { letters: &found };
            context
                .printer
                .result(render::SHOW_SCHEMA, &document, |canvas| {
                    render::whole(&found, canvas)
                })?;
            Ok(Exit::Success)
        }
        Action::Replay(replay) => replay::run(context, &desk, replay).await,
        Action::Export { file, which } => keep::export(context, &desk, &file, which).await,
        Action::Import { file } => keep::import(context, &desk, &file).await,
        Action::Purge { copy, which, yes } => keep::purge(context, &desk, &copy, which, yes).await,
        Action::Park { which, note, yes } => keep::park(context, &desk, which, &note, yes).await,
        Action::Parked => {
            let database = desk.database().await?;
            let parked = parked::list(&database).await?;
            let document = render::ParkedLetters { letters: &parked };
            context
                .printer
                .result(render::PARKED_SCHEMA, &document, |canvas| {
                    render::parked(&parked, Utc::now(), canvas)
                })?;
            Ok(Exit::Success)
        }
        Action::Unpark { ids } => keep::unpark(context, &desk, &ids).await,
        Action::History { limit } => {
            let database = desk.database().await?;
            let runs = audit::history(&database, limit.into()).await?;
            let document = render::Runs { runs: &runs };
            context
                .printer
                .result(render::HISTORY_SCHEMA, &document, |canvas| {
                    render::history(&runs, canvas)
                })?;
            Ok(Exit::Success)
        }
    }
}

/// Shows what there is of each kind. Answers whether there is any.
async fn groups(
    context: &Context,
    desk: &Desk,
    connection: &Connection,
    queues: &[&'static str],
    filter: &Filter,
) -> Result<bool> {
    // Without the database the queues tell as much, and take longer.
    let (database, stores) = (desk.database().await.ok(), desk.stores());
    let records = database.as_ref().map(|database| Records {
        database,
        stores: &stores,
    });
    let listing = look::listing(connection, records.as_ref(), queues, filter).await?;
    for reading in &listing.read {
        context.printer.note(&render::reading(reading));
    }
    context
        .printer
        .result(render::LIST_SCHEMA, &listing, |canvas| {
            render::groups(&listing.groups, Utc::now(), canvas)
        })?;
    Ok(!listing.groups.is_empty())
}

/// Shows each of them. Answers whether there is any.
async fn list(
    context: &Context,
    connection: &Connection,
    queues: &[&'static str],
    filter: &Filter,
) -> Result<bool> {
    let mut letters: Vec<DeadLetter> = Vec::new();
    look::each(connection, queues, filter, |letter| letters.push(letter)).await?;
    let document = render::Letters { letters: &letters };
    context
        .printer
        .result(render::EACH_SCHEMA, &document, |canvas| {
            render::each(&letters, Utc::now(), canvas)
        })?;
    Ok(!letters.is_empty())
}
