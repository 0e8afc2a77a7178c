//! Accounts for every event: pending, in flight, consumed or dead, for every queue that
//! takes it; and for what the events were about.
//!
//! ```text
//! books         what outboxes and inboxes say, from one snapshot of the database
//! chains        what dead letters were edited into
//! open          events that were published and not handled, by every id that they go by
//! laws          what must hold of the business tables, in the same snapshot
//! flight        where events are that were published and not handled
//! handed        what waits in a queue that nobody here consumes
//! superfluous   what the broker has and should not
//! report        what came out
//! repair        what is missing is published again
//! ```
//!
//! The snapshot comes before the looks into queues. What was not handled then and is in
//! no queue now is looked for again in the inboxes: it may have been handled meanwhile,
//! and only what is nowhere after that is missing. All instants are the database's or the
//! broker's: neither the clock of this process nor that of a client counts.

mod books;
mod chains;
mod flight;
mod handed;
mod laws;
mod open;
mod repair;
mod report;
mod superfluous;

use std::collections::BTreeMap;
use std::time::Duration;

use dm_contracts::topology::WORK_QUEUES;
use lapin::Connection;
use sqlx::PgPool;

use super::MessagingError;
use super::browse::Browser;
use super::memory::Memory;
use super::stores::Store;
use books::Books;

pub use repair::repair;
pub use report::{Account, Finding, Kind, Law, Report};

/// What is looked at, and how long.
pub struct Site<'a> {
    /// The services' tables.
    pub stores: &'a [Store],
    /// The database.
    pub database: &'a PgPool,
    /// The broker. Its turn at the dead letters must be had.
    pub connection: &'a Connection,
    /// What shows the messages in queues, those that consumers have at hand among them.
    pub browser: &'a Browser<'a>,
    /// How long each service keeps its rows.
    pub memory: &'a BTreeMap<String, Memory>,
    /// How long what is in flight may take to arrive.
    pub settle: Duration,
    /// Told of what is waited for.
    pub told: &'a (dyn Fn(&str) + Sync),
}

/// Accounts for everything. Nothing changes by that.
///
/// # Errors
/// The broker or the database fails.
pub async fn run(site: &Site<'_>) -> Result<Report, MessagingError> {
    let Books {
        pending,
        now,
        taken,
        mut accounts,
        mut open,
        chains,
        orphans,
        laws,
        broken,
    } = books::read(site).await?;
    let mut findings = broken;
    findings.extend(orphans);
    let mut seen = flight::account_for(site, &mut accounts, &mut open, &mut findings).await?;
    for queue in WORK_QUEUES.iter().filter(|queue| queue.consumer.is_none()) {
        let due = handed::Due {
            keys: taken.get(queue.name).map_or(&[], Vec::as_slice),
            now,
        };
        let Some(account) = accounts.iter_mut().find(|it| it.queue == queue.name) else {
            continue;
        };
        let found = handed::account_for(site, queue, &due, account).await?;
        findings.extend(found.lost.into_iter().map(|event| Finding {
            kind: Kind::Missing,
            of: queue.name.to_owned(),
            what: event.event_id,
            detail: format!(
                "{} of {} is not in the queue",
                event.event_type, event.subject
            ),
        }));
        let messages = found.messages.into_iter();
        seen.waiting
            .extend(messages.map(|message| (queue.name, message)));
    }
    let since = now - Duration::from_secs_f64(books::oldest(site, None));
    findings.extend(superfluous::find(site, &seen, &chains, since).await?);
    findings.sort();
    Ok(Report {
        pending,
        accounts,
        laws,
        findings,
    })
}
