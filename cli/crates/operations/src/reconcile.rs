//! Every event is accounted for.

use std::time::Duration;

use dm_core::error::Result;
use dm_messaging::reconcile::{self, FindingKind, ReconcileContext, ReconcileReport};
use dm_messaging::retention;

use crate::session::{Session, StackClients};

/// Accounts for every event. Where `repair` says so, what the broker lacks is published
/// again, and the account is of the time after that. What is in flight has `settle` to
/// arrive.
///
/// # Errors
/// The database or the broker is away.
pub async fn reconcile_events(
    session: &Session,
    desk: &StackClients,
    settle: Duration,
    repair: bool,
) -> Result<ReconcileReport> {
    let (stores, database) = (desk.stores(), desk.connect_database().await?);
    let connection = desk.lock_dead_letters().await?;
    let (browser, memory) = (
        desk.queue_browser(),
        retention::retention_by_service(desk.config()),
    );
    let site = ReconcileContext {
        service_tables: &stores,
        database: &database,
        connection: &connection,
        queue_inspector: &browser,
        retention: &memory,
        in_flight_timeout: settle,
        on_progress: &|what| session.frontend.note(what),
    };
    let report = reconcile::run(&site).await?;
    let missing = report.count_findings(FindingKind::Missing);
    if missing == 0 || !repair {
        return Ok(report);
    }
    let repaired = reconcile::repair(&site, &report.findings).await?;
    session.frontend.note(&format!(
        "{repaired} of {missing} missing events were published again"
    ));
    Ok(reconcile::run(&site).await?)
}
