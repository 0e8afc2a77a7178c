//! Traces one event.

use dm_core::error::Result;
use dm_messaging::trace::{self, EventDetail, TraceContext};

use crate::session::{Session, StackClients};

/// Returns an event with its envelope, its delivery status, and the queues and inboxes that
/// contain it.
///
/// # Errors
/// If the event does not exist or the database cannot be reached.
pub async fn load_event(
    session: &Session,
    clients: &StackClients,
    id: &str,
) -> Result<EventDetail> {
    let (service_tables, database) = (clients.service_tables(), clients.connect_database().await?);
    let connection = clients
        .lock_dead_letters_or_warn(&*session.frontend)
        .await?;
    let context = TraceContext {
        service_tables: &service_tables,
        database: &database,
        connection: connection.as_ref(),
    };
    Ok(trace::find_event(context, id).await?)
}
