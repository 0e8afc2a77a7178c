//! What happened elsewhere.

use dm_contracts::Envelope;
use dm_contracts::events::NotificationCreated;
use dm_kit::Trace;
use dm_kit::Transaction;
use dm_kit::inbox::{EventHandler, HandlerError};
use dm_kit::outbox;
use tracing::warn;

use crate::domain::{MissingField, NotificationDecision, decide_notification};
use crate::store::notifications;

/// Stores a notification for whom an event concerns, and tells of it.
#[derive(Debug)]
pub(crate) struct NotificationHandler;

impl From<MissingField> for HandlerError {
    fn from(missing: MissingField) -> Self {
        Self::invalid_data(missing.to_string())
    }
}

impl EventHandler for NotificationHandler {
    async fn handle(
        &self,
        transaction: &mut Transaction,
        event: &Envelope,
        trace: &Trace,
    ) -> Result<(), HandlerError> {
        let draft = match decide_notification(event)? {
            NotificationDecision::Notify(draft) => draft,
            NotificationDecision::InvalidRecipient => {
                // Retrying doesn't help, and an operator could not mend it either.
                warn!(event_id = event.id, "not a valid user id");
                return Ok(());
            }
            NotificationDecision::Ignore => return Ok(()),
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
