//! What is known of an event.

use dm_core::error::Result;
use dm_messaging::trace::{self, EventDetail, TraceContext};

use crate::session::{Session, StackClients};

/// One event: its envelope, how far it is, and which queues and inboxes have it.
///
/// # Errors
/// There is no such event, or the database is away.
pub async fn load_event(session: &Session, desk: &StackClients, id: &str) -> Result<EventDetail> {
    let (stores, database) = (desk.stores(), desk.connect_database().await?);
    let connection = desk.lock_dead_letters_or_warn(&*session.frontend).await?;
    let site = TraceContext {
        service_tables: &stores,
        database: &database,
        connection: connection.as_ref(),
    };
    Ok(trace::find_event(site, id).await?)
}
