//! Published events of the restored outboxes, published again to the recreated queues: events that
//! no inbox has processed, and events that queues without a consumer in the stack would hold.
//!
//! The database refuses connections and the queues were just declared: nothing changes in the
//! meantime, and a resumed restore starts with empty queues again.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use dm_contracts::topology::{EVENT_QUEUES, EventQueue, binding_matches};
use dm_messaging::MessagingError;
use dm_messaging::broker::{OutgoingMessage, publish_and_confirm};
use dm_messaging::service_tables::ServiceTables;
use futures_util::TryStreamExt as _;
use lapin::Channel;
use regex::Regex;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, FromRow, PgConnection};

use super::BackupError;
use super::broker::{DeadLetterIds, RestoreBroker};
use super::restore_target::RestoreTarget;

/// The maximum number of events in a batch, whose confirms are awaited together.
const MAX_BATCH_EVENTS: usize = 500;
/// The approximate maximum size of a batch, in bytes.
const MAX_BATCH_BYTES: usize = 4 << 20;
/// The part of the retention period in which events are compared: old rows may be removed from one
/// table and not yet from the other.
const RETENTION_SAFETY_FACTOR: f64 = 0.9;

/// The outboxes from which events are published.
pub struct OutboxSource<'a> {
    /// The tables of the services.
    pub service_tables: &'a [ServiceTables],
    /// The retention period of outbox and inbox, by service.
    pub retention: &'a BTreeMap<String, Duration>,
}

/// An event in an outbox.
#[derive(FromRow)]
struct OutboxEvent {
    event_id: String,
    event_type: String,
    traceparent: Option<String>,
    payload: String,
    /// The next round, if the consumer of the queue has a record of earlier attempts.
    round: Option<i64>,
}

/// The numbers of events that a queue confirmed and rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RepublishCounts {
    pub(super) queue: &'static str,
    pub(super) published: u64,
    pub(super) rejected: u64,
}

/// Publishes to each queue the events that belong there according to the restored tables, in the
/// order of the outboxes. `taken_at` is the time of the backup.
pub(super) async fn republish_events(
    target: &RestoreTarget<'_>,
    broker: &RestoreBroker<'_>,
    source: &OutboxSource<'_>,
    dead_letters: &DeadLetterIds,
    taken_at: DateTime<Utc>,
) -> Result<Vec<RepublishCounts>, BackupError> {
    let mut session = target.connect().await?;
    let channel = broker.connection.create_channel().await;
    let channel = channel.map_err(MessagingError::from)?;
    let mut queues = Vec::new();
    for queue in EVENT_QUEUES {
        let letters = dead_letters.get(queue.name).into_iter().flatten();
        let dead_lettered: HashSet<&str> = letters.filter_map(Option::as_deref).collect();
        let mut republished = RepublishCounts {
            queue: queue.name,
            published: 0,
            rejected: 0,
        };
        for publisher in source.service_tables {
            let keys = matching_routing_keys(&mut session, publisher, &queue).await?;
            if keys.is_empty() {
                continue;
            }
            let statement = match find_consumer(&queue, source.service_tables) {
                Some(consumer) => {
                    let retention = source.retention.get(&consumer.service).copied();
                    unprocessed_events_query(publisher, consumer, &queue, retention, taken_at)
                }
                None => newest_events_query(
                    publisher,
                    &QueueLimits::from_definitions(queue.name, broker.definitions),
                ),
            };
            let sent = publish_events(
                &mut session,
                &channel,
                &queue,
                &statement,
                &keys,
                &dead_lettered,
            );
            let (published, rejected) = sent.await?;
            republished.published += published;
            republished.rejected += rejected;
        }
        queues.push(republished);
    }
    let closed = channel.close(200, "done".into()).await;
    closed.map_err(MessagingError::from)?;
    session.close().await?;
    Ok(queues)
}

/// Returns the service that consumes a queue, if it has an inbox.
fn find_consumer<'a>(
    queue: &EventQueue,
    service_tables: &'a [ServiceTables],
) -> Option<&'a ServiceTables> {
    service_tables
        .iter()
        .find(|tables| tables.work_queue == Some(queue.name))
}

/// Returns the routing keys of an outbox that match the bindings of a queue.
async fn matching_routing_keys(
    session: &mut PgConnection,
    publisher: &ServiceTables,
    queue: &EventQueue,
) -> Result<Vec<String>, BackupError> {
    let statement = format!(
        "SELECT DISTINCT routing_key FROM {}",
        outbox_table(publisher)
    );
    let keys: Vec<String> = sqlx::query_scalar(AssertSqlSafe(statement))
        .fetch_all(session)
        .await?;
    let is_bound = |key: &String| {
        queue
            .bindings
            .iter()
            .any(|binding| binding_matches(binding, key))
    };
    Ok(keys.into_iter().filter(is_bound).collect())
}

fn outbox_table(tables: &ServiceTables) -> String {
    format!("\"{}\".outbox_events", tables.schema)
}

/// Returns the query for events that were published to a queue and neither processed, nor parked,
/// nor edited for a replay.
fn unprocessed_events_query(
    publisher: &ServiceTables,
    consumer: &ServiceTables,
    queue: &EventQueue,
    retention: Option<Duration>,
    taken_at: DateTime<Utc>,
) -> String {
    let seconds = retention.map_or(f64::MAX, |retention| {
        retention.as_secs_f64() * RETENTION_SAFETY_FACTOR
    });
    let since = if seconds < f64::from(u32::MAX) {
        format!(
            "AND published_at > '{}'::timestamptz - interval '{seconds} seconds'",
            taken_at.to_rfc3339()
        )
    } else {
        String::new()
    };
    format!(
        "SELECT event_id, event_type, traceparent, payload::text AS payload,
                (SELECT max(round) + 1 FROM \"{consumer}\".failed_events AS failed
                  WHERE failed.queue = '{queue}' AND failed.event_id = event.event_id) AS round
           FROM {} AS event
          WHERE routing_key = ANY($1) AND published_at IS NOT NULL {since}
            AND NOT EXISTS (SELECT FROM \"{consumer}\".inbox_events AS seen
                             WHERE seen.queue = '{queue}' AND seen.event_id = event.event_id)
            AND NOT EXISTS (SELECT FROM dm_ops.parked_letters AS parked
                             WHERE parked.queue = '{queue}' AND parked.event_id = event.event_id)
            AND NOT EXISTS (SELECT FROM dm_ops.replay_messages AS edited
                             WHERE edited.queue = '{queue}' AND edited.event_id = event.event_id
                               AND edited.edited_as IS NOT NULL AND edited.outcome = 'replayed')
          ORDER BY sequence",
        outbox_table(publisher),
        consumer = consumer.schema,
        queue = queue.name,
    )
}

/// Returns the query for the newest events that were published to a queue without a consumer in
/// the stack, up to the limits of the queue.
fn newest_events_query(publisher: &ServiceTables, limits: &QueueLimits) -> String {
    let since = limits.max_age.map_or(String::new(), |age| {
        format!(
            "AND published_at > clock_timestamp() - interval '{} milliseconds'",
            age.as_millis()
        )
    });
    let limit = limits
        .max_length
        .map_or(String::new(), |length| format!("LIMIT {length}"));
    format!(
        "SELECT event_id, event_type, traceparent, payload, NULL::bigint AS round FROM (
             SELECT sequence, event_id, event_type, traceparent, payload::text AS payload
               FROM {} WHERE routing_key = ANY($1) AND published_at IS NOT NULL {since}
              ORDER BY sequence DESC {limit}) AS newest
          ORDER BY sequence",
        outbox_table(publisher)
    )
}

/// Publishes the events that a statement selects. Returns the numbers of confirmed and of rejected
/// events.
async fn publish_events(
    session: &mut PgConnection,
    channel: &Channel,
    queue: &EventQueue,
    statement: &str,
    keys: &[String],
    dead_lettered: &HashSet<&str>,
) -> Result<(u64, u64), BackupError> {
    let (mut published, mut rejected) = (0, 0);
    let (mut batch, mut bytes) = (Vec::new(), 0);
    let mut events = sqlx::query_as(AssertSqlSafe(statement.to_owned()))
        .bind(keys)
        .fetch(session);
    loop {
        let event: Option<OutboxEvent> = events.try_next().await?;
        let is_last = event.is_none();
        if let Some(event) = event.filter(|event| !dead_lettered.contains(event.event_id.as_str()))
        {
            bytes += event.payload.len();
            batch.push(to_message(queue, event));
        }
        if is_last || batch.len() >= MAX_BATCH_EVENTS || bytes >= MAX_BATCH_BYTES {
            for is_confirmed in publish_and_confirm(channel, &batch).await? {
                if is_confirmed {
                    published += 1;
                } else {
                    rejected += 1;
                }
            }
            batch.clear();
            bytes = 0;
        }
        if is_last {
            return Ok((published, rejected));
        }
    }
}

/// Returns the message that the relay publishes for an event, addressed to one queue.
fn to_message(queue: &EventQueue, event: OutboxEvent) -> OutgoingMessage {
    let properties = dm_amqp::EventProperties {
        id: &event.event_id,
        event_type: &event.event_type,
        traceparent: event.traceparent.as_deref(),
    }
    // In a round that its consumer has recorded, the event would be ignored.
    .to_republish_properties(event.round);
    OutgoingMessage {
        exchange: String::new(),
        routing_key: queue.name.to_owned(),
        mandatory: true,
        properties,
        body: event.payload.into_bytes(),
    }
}

/// The limits of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct QueueLimits {
    /// The maximum age of a message.
    max_age: Option<Duration>,
    /// The maximum number of messages.
    max_length: Option<u64>,
}

impl QueueLimits {
    /// Returns the limits that definitions set for a queue: by its arguments, and by the policy with
    /// the highest priority that matches its name. The lower limit applies.
    fn from_definitions(queue: &str, definitions: &Value) -> Self {
        let list = |name: &str| definitions[name].as_array().cloned().unwrap_or_default();
        let queues = list("queues");
        let declared = queues.iter().find(|declared| declared["name"] == queue);
        let policies = list("policies");
        let matches_name = |policy: &&Value| {
            let pattern = policy["pattern"].as_str().unwrap_or_default();
            Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(queue))
        };
        let policy = policies
            .iter()
            .filter(matches_name)
            .max_by_key(|policy| policy["priority"].as_i64().unwrap_or_default());
        let lower_limit = |name: &str| {
            let argument =
                declared.and_then(|queue| queue["arguments"][format!("x-{name}")].as_u64());
            let by_policy = policy.and_then(|policy| policy["definition"][name].as_u64());
            argument.into_iter().chain(by_policy).min()
        };
        Self {
            max_age: lower_limit("message-ttl").map(Duration::from_millis),
            max_length: lower_limit("max-length"),
        }
    }
}

#[cfg(test)]
mod tests {
    use dm_components::rabbitmq::RabbitMq;
    use dm_config::{Config, LoadOptions};
    use serde_json::json;

    use super::*;

    #[test]
    fn queue_limits_are_the_lower_of_argument_and_policy() {
        let definitions = json!({
            "queues": [{"name": "a.q", "arguments": {"x-message-ttl": 1000}}],
            "policies": [
                {"pattern": "^a", "priority": 1, "definition": {"max-length": 1}},
                {"pattern": "^a\\.q$", "priority": 2,
                 "definition": {"max-length": 10, "message-ttl": 5000}},
            ],
        });
        let limits = QueueLimits::from_definitions("a.q", &definitions);
        assert_eq!(limits.max_age, Some(Duration::from_secs(1)));
        assert_eq!(limits.max_length, Some(10));
        assert_eq!(
            QueueLimits::from_definitions("b.q", &definitions),
            QueueLimits::default()
        );
    }

    #[test]
    fn queue_limits_of_the_read_model_come_from_its_policy() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        let options = LoadOptions {
            project_dir: Some(root.clone()),
            ..LoadOptions::default()
        };
        let config = Config::load(&options, []).unwrap().config;
        let declared = RabbitMq::new(&config, &root)
            .definitions_with_policies()
            .unwrap();
        let limits = QueueLimits::from_definitions("notification.readmodel.q", &declared);
        assert_eq!(limits.max_length, Some(10_000));
        assert_eq!(limits.max_age, Some(Duration::from_secs(7 * 24 * 3600)));
    }
}
