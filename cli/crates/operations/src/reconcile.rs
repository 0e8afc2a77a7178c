//! Every event is accounted for.

use std::time::Duration;

use dm_core::error::Result;
use dm_messaging::memory;
use dm_messaging::reconcile::{self, Kind, Report, Site};

use crate::session::{Desk, Session};

/// Accounts for every event. Where `repair` says so, what the broker lacks is published
/// again, and the account is of the time after that. What is in flight has `settle` to
/// arrive.
///
/// # Errors
/// The database or the broker is away.
pub async fn account(
    session: &Session,
    desk: &Desk,
    settle: Duration,
    repair: bool,
) -> Result<Report> {
    let (stores, database) = (desk.stores(), desk.database().await?);
    let connection = desk.dead_letters().await?;
    let (browser, memory) = (desk.browser(), memory::of_services(desk.config()));
    let site = Site {
        stores: &stores,
        database: &database,
        connection: &connection,
        browser: &browser,
        memory: &memory,
        settle,
        told: &|what| session.frontend.note(what),
    };
    let report = reconcile::run(&site).await?;
    let missing = report.count(Kind::Missing);
    if missing == 0 || !repair {
        return Ok(report);
    }
    let repaired = reconcile::repair(&site, &report.findings).await?;
    session.frontend.note(&format!(
        "{repaired} of {missing} missing events were published again"
    ));
    Ok(reconcile::run(&site).await?)
}
