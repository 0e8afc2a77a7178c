//! Accounts for every event: pending, in flight, consumed or dead, for every queue that
//! takes it; and for what the events were about.
//!
//! ```text
//! books    what outboxes and inboxes say, from one snapshot of the database
//! laws     what must hold of the business tables, in the same snapshot
//! flight   where events are that were published and not handled
//! report   what came out
//! repair   what is missing is published again
//! ```
//!
//! The snapshot comes before the looks into queues. What was not handled then and is in
//! no queue now is looked for again in the inboxes: it may have been handled meanwhile,
//! and only what is nowhere after that is missing.

mod books;
mod flight;
mod laws;
mod repair;
mod report;

use std::collections::BTreeMap;
use std::time::Duration;

use lapin::Connection;
use sqlx::PgPool;

use super::MessagingError;
use super::stores::Store;
use crate::components::rabbitmq::management::Management;
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
    /// What tells how many messages consumers have at hand.
    pub management: &'a Management,
    /// How long outboxes and inboxes remember, by service.
    pub memory: &'a BTreeMap<String, Duration>,
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
        mut accounts,
        mut open,
        orphans,
        laws,
        broken,
    } = books::read(site).await?;
    let mut findings = broken;
    findings.extend(orphans);
    flight::account_for(site, &mut accounts, &mut open, &mut findings).await?;
    findings.sort();
    Ok(Report {
        pending,
        accounts,
        laws,
        findings,
    })
}
