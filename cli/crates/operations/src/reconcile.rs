//! Reconciles outboxes, queues and inboxes.

use std::time::Duration;

use dm_core::error::Result;
use dm_messaging::reconcile::{self, FindingKind, ReconcileContext, ReconcileReport};
use dm_messaging::retention;

use crate::session::{Session, StackClients};

/// Reconciles all events. If `repair` is set, missing events are published again and the
/// report describes the state after that, and the caller holds the instance lock. Events in flight
/// have `in_flight_timeout` to arrive.
///
/// # Errors
/// If the database or the broker cannot be reached.
pub async fn reconcile_events(
    session: &Session,
    clients: &StackClients,
    in_flight_timeout: Duration,
    repair: bool,
) -> Result<ReconcileReport> {
    let (service_tables, database) = (clients.service_tables(), clients.connect_database().await?);
    let connection = clients.lock_dead_letters().await?;
    let (queue_inspector, retention) = (
        clients.queue_browser(),
        retention::retention_by_service(clients.config()),
    );
    let context = ReconcileContext {
        service_tables: &service_tables,
        database: &database,
        connection: &connection,
        queue_inspector: &queue_inspector,
        retention: &retention,
        in_flight_timeout,
        on_progress: &|sentence| session.frontend.note(sentence),
    };
    let report = reconcile::run(&context).await?;
    let missing = report.count_findings(FindingKind::Missing);
    if missing == 0 || !repair {
        return Ok(report);
    }
    let repaired = reconcile::repair(&context, &report.findings).await?;
    session.frontend.note(&format!(
        "{repaired} of {missing} missing events were published again"
    ));
    Ok(reconcile::run(&context).await?)
}
