//! What is missing is published again.

use std::collections::BTreeMap;

use dm_amqp::{EventProperties, header};
use dm_contracts::{envelope, headers};
use sqlx::{AssertSqlSafe, FromRow};

use super::ReconcileContext;
use super::edit_chains::EditChains;
use super::report::{FindingKind, ReconcileFinding};
use crate::MessagingError;
use crate::broker::{OutgoingMessage, publish_and_confirm};
use crate::dead_letters::FailureRecords;

/// How many are on their way at a time.
const BATCH_SIZE: usize = 500;

/// An event that is published again.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RepublishedEvent {
    /// The id that it had last.
    id: String,
    /// The id before that, where it was edited.
    previous_id: Option<String>,
    event_type: String,
    traceparent: Option<String>,
    payload: String,
    /// The round that it goes into, where its consumer has a record of earlier ones: in one
    /// of those it would not be handled.
    round: Option<i64>,
}

/// Publishes each missing event to the one queue where it is missing, in the order in which
/// its outbox has written it, as it went last: should it come after all, the inbox absorbs
/// it. Ended in the middle, what was not published is still missing, and the next call
/// publishes that. Answers how many are there.
///
/// # Errors
/// The broker or the database fails: some of them may be there.
pub async fn repair(
    context: &ReconcileContext<'_>,
    findings: &[ReconcileFinding],
) -> Result<u64, MessagingError> {
    let mut queues: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for finding in findings.iter().filter(|it| it.kind == FindingKind::Missing) {
        queues.entry(&finding.of).or_default().push(&finding.what);
    }
    let chains = EditChains::load(&mut *context.database.acquire().await?).await?;
    let channel = context.connection.create_channel().await?;
    let mut repaired = 0;
    for (queue, ids) in queues {
        for again in load_events(context, queue, &ids, &chains)
            .await?
            .chunks(BATCH_SIZE)
        {
            let messages: Vec<OutgoingMessage> =
                again.iter().map(|it| to_message(queue, it)).collect();
            let there = publish_and_confirm(&channel, &messages).await?;
            repaired += there.iter().filter(|there| **there).count() as u64;
        }
    }
    channel.close(200, "done".into()).await?;
    Ok(repaired)
}

/// The events of a queue as they went last: of each outbox by its sequence.
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
    for store in context.service_tables {
        let statement = format!(
            "SELECT event_id, event_type, traceparent, payload::text AS payload FROM {}
              WHERE event_id = ANY($1) ORDER BY sequence",
            store.qualified_table("outbox_events")
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

/// The event as it was last edited into, where it was.
async fn apply_last_edit(
    context: &ReconcileContext<'_>,
    queue: &str,
    event: RepublishedEvent,
    chains: &EditChains,
) -> Result<RepublishedEvent, MessagingError> {
    let edits = chains.edited_ids(queue, &event.id);
    let Some(last) = edits.last() else {
        return Ok(event);
    };
    let (before, body): (Option<String>, Option<String>) = sqlx::query_as(
        "SELECT event_id, edited_body FROM dm_ops.replay_messages WHERE edited_as = $1",
    )
    .bind(last)
    .fetch_one(context.database)
    .await?;
    let payload = body.unwrap_or_default();
    // A person may have made an event of another type of it.
    let event_type = envelope::EventAttributes::from_body(payload.as_bytes()).event_type;
    Ok(RepublishedEvent {
        id: last.clone(),
        previous_id: before,
        event_type: event_type.unwrap_or(event.event_type),
        traceparent: event.traceparent,
        payload,
        round: None,
    })
}

/// The message that goes to the queue: as its relay, or its replay, has published it.
fn to_message(queue: &str, event: &RepublishedEvent) -> OutgoingMessage {
    let properties = EventProperties {
        id: &event.id,
        event_type: &event.event_type,
        traceparent: event.traceparent.as_deref(),
    }
    .to_republish_properties(event.round);
    let edited = event.previous_id.as_deref();
    let edited = edited.map(|before| (headers::EDITED, header::text_value(before)));
    OutgoingMessage {
        exchange: String::new(),
        routing_key: queue.to_owned(),
        mandatory: true,
        properties: header::with_headers(&properties, edited),
        body: event.payload.clone().into_bytes(),
    }
}
