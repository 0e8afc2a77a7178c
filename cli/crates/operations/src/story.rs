//! What is known of an event.

use dm_core::error::Result;
use dm_messaging::story::{self, Site, Whole};

use crate::session::{Desk, Session};

/// One event: its envelope, how far it is, and which queues and inboxes have it.
///
/// # Errors
/// There is no such event, or the database is away.
pub async fn whole(session: &Session, desk: &Desk, id: &str) -> Result<Whole> {
    let (stores, database) = (desk.stores(), desk.database().await?);
    let connection = desk.dead_letters_or_warn(&*session.frontend).await?;
    let site = Site {
        stores: &stores,
        database: &database,
        connection: connection.as_ref(),
    };
    Ok(story::one(site, id).await?)
}
