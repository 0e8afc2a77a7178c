//! Publishes missing events again.

use std::collections::BTreeMap;

use dm_amqp::{EventProperties, header_value};
use dm_contracts::{envelope, headers};
use sqlx::{AssertSqlSafe, FromRow};

use super::ReconcileContext;
use super::edit_chains::EditChains;
use super::report::{FindingKind, ReconcileFinding};
use crate::MessagingError;
use crate::broker::{OutgoingMessage, publish_and_confirm};
use crate::dead_letters::FailureRecords;

/// The number of messages per batch.
const BATCH_SIZE: usize = 500;

/// An event to publish again.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RepublishedEvent {
    /// The current id.
    id: String,
    /// The previous id, if the event was edited.
    previous_id: Option<String>,
    event_type: String,
    traceparent: Option<String>,
    payload: String,
    /// The new round, if the consumer has a record of earlier rounds: it ignores an event in a
    /// recorded round.
    round: Option<i64>,
}

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
    let mut queues: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for finding in findings
        .iter()
        .filter(|finding| finding.kind == FindingKind::Missing)
    {
        queues.entry(&finding.scope).or_default().push(&finding.id);
    }
    let chains = EditChains::load(&mut *context.database.acquire().await?).await?;
    let channel = context.connection.create_channel().await?;
    let mut repaired = 0;
    for (queue, ids) in queues {
        for batch in load_events(context, queue, &ids, &chains)
            .await?
            .chunks(BATCH_SIZE)
        {
            let messages: Vec<OutgoingMessage> =
                batch.iter().map(|event| to_message(queue, event)).collect();
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
    #[derive(FromRow)]
    struct Row {
        event_id: String,
        event_type: String,
        traceparent: Option<String>,
        payload: String,
    }
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
        let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(statement))
            .bind(ids)
            .fetch_all(context.database)
            .await?;
        for row in rows {
            let event = RepublishedEvent {
                id: row.event_id,
                previous_id: None,
                event_type: row.event_type,
                traceparent: row.traceparent,
                payload: row.payload,
                round: None,
            };
            let event = apply_last_edit(context, queue, event, chains).await?;
            let round = records.next_round(queue, &event.id).await?;
            events.push(RepublishedEvent { round, ..event });
        }
    }
    Ok(events)
}

/// Returns the event with its last edit, if it was edited.
async fn apply_last_edit(
    context: &ReconcileContext<'_>,
    queue: &str,
    event: RepublishedEvent,
    chains: &EditChains,
) -> Result<RepublishedEvent, MessagingError> {
    let edited_ids = chains.edited_ids(queue, &event.id);
    let Some(last) = edited_ids.last() else {
        return Ok(event);
    };
    let (previous_id, body): (Option<String>, Option<String>) = sqlx::query_as(
        "SELECT event_id, edited_body FROM dm_ops.replay_messages WHERE edited_as = $1",
    )
    .bind(last)
    .fetch_one(context.database)
    .await?;
    let payload = body.unwrap_or_default();
    // The edit may have changed the type of the event.
    let event_type = envelope::EventAttributes::from_body(payload.as_bytes()).event_type;
    Ok(RepublishedEvent {
        id: last.clone(),
        previous_id,
        event_type: event_type.unwrap_or(event.event_type),
        traceparent: event.traceparent,
        payload,
        round: None,
    })
}

/// Returns the message for the queue, with the properties that its relay or replay used.
fn to_message(queue: &str, event: &RepublishedEvent) -> OutgoingMessage {
    let properties = EventProperties {
        id: &event.id,
        event_type: &event.event_type,
        traceparent: event.traceparent.as_deref(),
    }
    .to_republish_properties(event.round);
    let previous_id = event.previous_id.as_deref();
    let edited = previous_id.map(|id| (headers::EDITED, header_value::text_value(id)));
    OutgoingMessage {
        exchange: String::new(),
        routing_key: queue.to_owned(),
        mandatory: true,
        properties: header_value::with_headers(&properties, edited),
        body: event.payload.clone().into_bytes(),
    }
}
