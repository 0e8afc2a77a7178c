//! Publishes missing events again.

mod republished_event;

use sqlx::AssertSqlSafe;

use self::republished_event::{LastEdit, OutboxEvent, RepublishedEvent, missing_by_queue};
use super::ReconcileContext;
use super::edit_chains::EditChains;
use super::report::ReconcileFinding;
use crate::MessagingError;
use crate::broker::{OutgoingMessage, publish_and_confirm};
use crate::dead_letters::FailureRecords;

/// The number of messages per batch.
const BATCH_SIZE: usize = 500;

/// Publishes each missing event to the queue where it is missing, in the order of its outbox
/// and with its last edit. If the original arrives after all, the inbox absorbs it. After an
/// abort, the remaining events are still missing, and the next call publishes them. Returns the
/// number of published events.
///
/// # Errors
/// Returns [`MessagingError`] if the broker or the database returns an error. Some events may have
/// been published.
pub async fn repair(
    context: &ReconcileContext<'_>,
    findings: &[ReconcileFinding],
) -> Result<u64, MessagingError> {
    let queues = missing_by_queue(findings);
    let chains = EditChains::load(&mut *context.database.acquire().await?).await?;
    let channel = context.connection.create_channel().await?;
    let mut repaired = 0;
    for (queue, ids) in queues {
        for batch in load_events(context, queue, &ids, &chains)
            .await?
            .chunks(BATCH_SIZE)
        {
            let messages: Vec<OutgoingMessage> =
                batch.iter().map(|event| event.to_message(queue)).collect();
            let confirmed = publish_and_confirm(&channel, &messages).await?;
            repaired += confirmed.iter().filter(|confirmed| **confirmed).count() as u64;
        }
    }
    channel.close(200, "done".into()).await?;
    Ok(repaired)
}

/// Loads the events with their last edits, in the order of each outbox.
async fn load_events(
    context: &ReconcileContext<'_>,
    queue: &str,
    ids: &[&str],
    chains: &EditChains,
) -> Result<Vec<RepublishedEvent>, MessagingError> {
    let records = FailureRecords {
        database: context.database,
        service_tables: context.service_tables,
    };
    let mut events = Vec::new();
    for tables in context.service_tables {
        let statement = format!(
            "SELECT event_id, event_type, traceparent, payload::text AS payload FROM {}
              WHERE event_id = ANY($1) ORDER BY sequence",
            tables.qualified_table("outbox_events")
        );
        let rows: Vec<OutboxEvent> = sqlx::query_as(AssertSqlSafe(statement))
            .bind(ids)
            .fetch_all(context.database)
            .await?;
        for row in rows {
            let edit = load_last_edit(context, queue, &row.event_id, chains).await?;
            let event = RepublishedEvent::new(row, edit);
            let round = records.next_round(queue, &event.id).await?;
            events.push(event.with_round(round));
        }
    }
    Ok(events)
}

/// Loads the last edit of an event for a queue, if the event was edited.
async fn load_last_edit(
    context: &ReconcileContext<'_>,
    queue: &str,
    event_id: &str,
    chains: &EditChains,
) -> Result<Option<LastEdit>, MessagingError> {
    let Some(id) = chains.edited_ids(queue, event_id).pop() else {
        return Ok(None);
    };
    let (previous_id, body): (Option<String>, Option<String>) = sqlx::query_as(
        "SELECT event_id, edited_body FROM dm_ops.replay_messages WHERE edited_as = $1",
    )
    .bind(&id)
    .fetch_one(context.database)
    .await?;
    Ok(Some(LastEdit {
        id,
        previous_id,
        body,
    }))
}
