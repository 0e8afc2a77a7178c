//! What happened elsewhere.

use dm_contracts::Envelope;
use dm_contracts::events::NotificationCreated;
use dm_kit::Trace;
use dm_kit::Transaction;
use dm_kit::inbox::{Handler, HandlerError};
use dm_kit::outbox;
use tracing::warn;

use crate::domain::{Missing, Telling, telling};
use crate::store::notifications;

/// Stores a notification for whom an event concerns, and tells of it.
#[derive(Debug)]
pub(crate) struct Notifier;

impl From<Missing> for HandlerError {
    fn from(missing: Missing) -> Self {
        Self::invalid(missing.to_string())
    }
}

impl Handler for Notifier {
    async fn handle(
        &self,
        transaction: &mut Transaction,
        event: &Envelope,
        trace: &Trace,
    ) -> Result<(), HandlerError> {
        let draft = match telling(event)? {
            Telling::Told(draft) => draft,
            Telling::Nobody => {
                // Retrying doesn't help, and an operator could not mend it either.
                warn!(event_id = event.id, "not a valid user id");
                return Ok(());
            }
            Telling::Nothing => return Ok(()),
        };
        // Where the inbox has forgotten the event, the table still knows it.
        let Some(stored) = notifications::insert(transaction, &draft, &event.id).await? else {
            return Ok(());
        };
        let created = NotificationCreated {
            notification_id: stored.notification_id,
            user_id: stored.user_id,
            kind: stored.kind,
            title: stored.title,
            body: stored.body,
            deep_link: stored.deep_link,
            created_at: stored.created_at,
        };
        outbox::append(transaction, &created, trace).await?;
        Ok(())
    }
}
