//! Consumer of the events that cause notifications.

use dm_contracts::Envelope;
use dm_contracts::events::NotificationCreated;
use dm_kit::Trace;
use dm_kit::Transaction;
use dm_kit::inbox::{EventHandler, HandlerError};
use dm_kit::outbox;
use tracing::warn;

use crate::domain::{InvalidField, NotificationDecision, decide_notification};
use crate::store::notifications;

/// Handles events: stores a notification for the recipient and publishes it.
#[derive(Debug)]
pub(crate) struct NotificationHandler;

impl From<InvalidField> for HandlerError {
    fn from(error: InvalidField) -> Self {
        Self::invalid_data(error.to_string())
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
                // A retry cannot help, and neither can an operator.
                warn!(
                    messaging.message.id = event.id,
                    event_type = event.event_type,
                    "event has no valid user id; no notification is created"
                );
                return Ok(());
            }
            NotificationDecision::Ignore => return Ok(()),
        };
        // `None` is a duplicate whose inbox row has expired: the table still has the event id.
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

#[cfg(test)]
mod server_tests;
