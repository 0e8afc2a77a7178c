//! What is missing is published again.

use std::collections::BTreeMap;

use dm_amqp::{Event, header};
use dm_contracts::{envelope, headers};
use sqlx::{AssertSqlSafe, FromRow};

use super::Site;
use super::chains::Chains;
use super::report::{Finding, Kind};
use crate::MessagingError;
use crate::broker::{Outgoing, publish};
use crate::dead::Records;

/// How many are on their way at a time.
const BATCH: usize = 500;

/// An event that is published again.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Again {
    /// The id that it had last.
    id: String,
    /// The id before that, where it was edited.
    edited: Option<String>,
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
pub async fn repair(site: &Site<'_>, findings: &[Finding]) -> Result<u64, MessagingError> {
    let mut queues: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for finding in findings.iter().filter(|it| it.kind == Kind::Missing) {
        queues.entry(&finding.of).or_default().push(&finding.what);
    }
    let chains = Chains::read(&mut *site.database.acquire().await?).await?;
    let channel = site.connection.create_channel().await?;
    let mut repaired = 0;
    for (queue, ids) in queues {
        for again in events(site, queue, &ids, &chains).await?.chunks(BATCH) {
            let messages: Vec<Outgoing> = again.iter().map(|it| message(queue, it)).collect();
            let there = publish(&channel, &messages).await?;
            repaired += there.iter().filter(|there| **there).count() as u64;
        }
    }
    channel.close(200, "done".into()).await?;
    Ok(repaired)
}

/// The events of a queue as they went last: of each outbox by its sequence.
async fn events(
    site: &Site<'_>,
    queue: &str,
    ids: &[&str],
    chains: &Chains,
) -> Result<Vec<Again>, MessagingError> {
    #[derive(FromRow)]
    struct Row {
        event_id: String,
        event_type: String,
        traceparent: Option<String>,
        payload: String,
    }
    let records = Records {
        database: site.database,
        stores: site.stores,
    };
    let mut events = Vec::new();
    for store in site.stores {
        let statement = format!(
            "SELECT event_id, event_type, traceparent, payload::text AS payload FROM {}
              WHERE event_id = ANY($1) ORDER BY sequence",
            store.table("outbox_events")
        );
        let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(statement))
            .bind(ids)
            .fetch_all(site.database)
            .await?;
        for row in rows {
            let event = Again {
                id: row.event_id,
                edited: None,
                event_type: row.event_type,
                traceparent: row.traceparent,
                payload: row.payload,
                round: None,
            };
            let event = edited(site, queue, event, chains).await?;
            let round = records.new_round(queue, &event.id).await?;
            events.push(Again { round, ..event });
        }
    }
    Ok(events)
}

/// The event as it was last edited into, where it was.
async fn edited(
    site: &Site<'_>,
    queue: &str,
    event: Again,
    chains: &Chains,
) -> Result<Again, MessagingError> {
    let edits = chains.edits(queue, &event.id);
    let Some(last) = edits.last() else {
        return Ok(event);
    };
    let (before, body): (Option<String>, Option<String>) = sqlx::query_as(
        "SELECT event_id, edited_body FROM dm_ops.replay_messages WHERE edited_as = $1",
    )
    .bind(last)
    .fetch_one(site.database)
    .await?;
    let payload = body.unwrap_or_default();
    // A person may have made an event of another type of it.
    let event_type = envelope::Heading::read(payload.as_bytes()).event_type;
    Ok(Again {
        id: last.clone(),
        edited: before,
        event_type: event_type.unwrap_or(event.event_type),
        traceparent: event.traceparent,
        payload,
        round: None,
    })
}

/// The message that goes to the queue: as its relay, or its replay, has published it.
fn message(queue: &str, event: &Again) -> Outgoing {
    let properties = Event {
        id: &event.id,
        event_type: &event.event_type,
        traceparent: event.traceparent.as_deref(),
    }
    .again(event.round);
    let edited = event.edited.as_deref();
    let edited = edited.map(|before| (headers::EDITED, header::of_text(before)));
    Outgoing {
        exchange: String::new(),
        routing_key: queue.to_owned(),
        mandatory: true,
        properties: header::with(&properties, edited),
        body: event.payload.clone().into_bytes(),
    }
}
