//! What the restored outboxes have published, put into queues that are empty: what no inbox
//! has handled, and what the queues without a consumer of the stack would hold.
//!
//! The database is closed and the queues were just declared: nothing comes or goes meanwhile,
//! and a restore that is carried on with begins with empty queues again.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use dm_contracts::topology::{WORK_QUEUES, WorkQueue, binding_matches};
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

/// How many events are sent before their confirms are waited for, at most.
const MAX_BATCH_EVENTS: usize = 500;
/// How many bytes of them, about.
const MAX_BATCH_BYTES: usize = 4 << 20;
/// How much of an inbox's memory is relied on: what is about to go may be gone from one table
/// and not yet from the other.
const RETENTION_SAFETY_FACTOR: f64 = 0.9;

/// Where events are published from.
pub struct OutboxSource<'a> {
    /// The services' tables.
    pub stores: &'a [ServiceTables],
    /// How long outboxes and inboxes remember, by service.
    pub retention: &'a BTreeMap<String, Duration>,
}

/// An event, as its outbox has it.
#[derive(FromRow)]
struct OutboxEvent {
    event_id: String,
    event_type: String,
    traceparent: Option<String>,
    payload: String,
    /// The round in which it is new to the queue's consumer, where that has a record of it.
    round: Option<i64>,
}

/// How many events are in a queue again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RepublishedQueue {
    pub(super) queue: &'static str,
    pub(super) published: u64,
    pub(super) rejected: u64,
}

/// Publishes to each queue what belongs there by the restored tables, in the order of the
/// outboxes. `taken_at` is when they were as they are.
pub(super) async fn republish_events(
    target: &RestoreTarget<'_>,
    broker: &RestoreBroker<'_>,
    events: &OutboxSource<'_>,
    dead: &DeadLetterIds,
    taken_at: DateTime<Utc>,
) -> Result<Vec<RepublishedQueue>, BackupError> {
    let mut session = target.connect().await?;
    let channel = broker.connection.create_channel().await;
    let channel = channel.map_err(MessagingError::from)?;
    let mut all = Vec::new();
    for queue in WORK_QUEUES {
        let none = Vec::new();
        let letters = dead.get(queue.name).unwrap_or(&none);
        let set_aside: HashSet<&str> = letters.iter().filter_map(Option::as_deref).collect();
        let mut refilled = RepublishedQueue {
            queue: queue.name,
            published: 0,
            rejected: 0,
        };
        for publisher in events.stores {
            let keys = matching_routing_keys(&mut session, publisher, &queue).await?;
            if keys.is_empty() {
                continue;
            }
            let statement = match find_consumer(&queue, events.stores) {
                Some(consumer) => {
                    let memory = events.retention.get(&consumer.service);
                    unprocessed_events_query(publisher, consumer, &queue, memory.copied(), taken_at)
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
                &set_aside,
            );
            let (there, refused) = sent.await?;
            refilled.published += there;
            refilled.rejected += refused;
        }
        all.push(refilled);
    }
    let closed = channel.close(200, "done".into()).await;
    closed.map_err(MessagingError::from)?;
    session.close().await?;
    Ok(all)
}

/// The service that consumes a queue, where it has an inbox.
fn find_consumer<'a>(queue: &WorkQueue, stores: &'a [ServiceTables]) -> Option<&'a ServiceTables> {
    stores
        .iter()
        .find(|store| store.work_queue == Some(queue.name))
}

/// The routing keys of an outbox that a queue takes.
async fn matching_routing_keys(
    session: &mut PgConnection,
    publisher: &ServiceTables,
    queue: &WorkQueue,
) -> Result<Vec<String>, BackupError> {
    let statement = format!(
        "SELECT DISTINCT routing_key FROM {}",
        outbox_table(publisher)
    );
    let keys: Vec<String> = sqlx::query_scalar(AssertSqlSafe(statement))
        .fetch_all(session)
        .await?;
    let taken = |key: &String| {
        queue
            .bindings
            .iter()
            .any(|binding| binding_matches(binding, key))
    };
    Ok(keys.into_iter().filter(taken).collect())
}

fn outbox_table(store: &ServiceTables) -> String {
    format!("\"{}\".outbox_events", store.schema)
}

/// What was published to a queue and not handled, nor parked, nor changed by a person before
/// it was sent back.
fn unprocessed_events_query(
    publisher: &ServiceTables,
    consumer: &ServiceTables,
    queue: &WorkQueue,
    retention: Option<Duration>,
    taken_at: DateTime<Utc>,
) -> String {
    let memory = retention.map_or(f64::MAX, |memory| {
        memory.as_secs_f64() * RETENTION_SAFETY_FACTOR
    });
    let since = if memory < f64::from(u32::MAX) {
        format!(
            "AND published_at > '{}'::timestamptz - interval '{memory} seconds'",
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

/// The newest of what was published to a queue that no service of the stack reads: as much as
/// it would hold.
fn newest_events_query(publisher: &ServiceTables, limits: &QueueLimits) -> String {
    let since = limits.max_age.map_or(String::new(), |age| {
        format!(
            "AND published_at > clock_timestamp() - interval '{} milliseconds'",
            age.as_millis()
        )
    });
    let limit = limits
        .max_length
        .map_or(String::new(), |it| format!("LIMIT {it}"));
    format!(
        "SELECT event_id, event_type, traceparent, payload, NULL::bigint AS round FROM (
             SELECT sequence, event_id, event_type, traceparent, payload::text AS payload
               FROM {} WHERE routing_key = ANY($1) AND published_at IS NOT NULL {since}
              ORDER BY sequence DESC {limit}) AS newest
          ORDER BY sequence",
        outbox_table(publisher)
    )
}

/// Sends what a statement finds. Answers how many the broker has, and how many it refused.
async fn publish_events(
    session: &mut PgConnection,
    channel: &Channel,
    queue: &WorkQueue,
    statement: &str,
    keys: &[String],
    dead_lettered: &HashSet<&str>,
) -> Result<(u64, u64), BackupError> {
    let (mut there, mut refused) = (0, 0);
    let (mut portion, mut bytes) = (Vec::new(), 0);
    let mut found = sqlx::query_as(AssertSqlSafe(statement.to_owned()))
        .bind(keys)
        .fetch(session);
    loop {
        let event: Option<OutboxEvent> = found.try_next().await?;
        let is_last = event.is_none();
        if let Some(event) = event.filter(|it| !dead_lettered.contains(it.event_id.as_str())) {
            bytes += event.payload.len();
            portion.push(to_message(queue, event));
        }
        if is_last || portion.len() >= MAX_BATCH_EVENTS || bytes >= MAX_BATCH_BYTES {
            for taken in publish_and_confirm(channel, &portion).await? {
                if taken {
                    there += 1;
                } else {
                    refused += 1;
                }
            }
            portion.clear();
            bytes = 0;
        }
        if is_last {
            return Ok((there, refused));
        }
    }
}

/// The event as its relay publishes it, for one queue.
fn to_message(queue: &WorkQueue, event: OutboxEvent) -> OutgoingMessage {
    let properties = dm_amqp::EventProperties {
        id: &event.event_id,
        event_type: &event.event_type,
        traceparent: event.traceparent.as_deref(),
    }
    // In a round that its consumer has a record of, it would be taken for done.
    .to_republish_properties(event.round);
    OutgoingMessage {
        exchange: String::new(),
        routing_key: queue.name.to_owned(),
        mandatory: true,
        properties,
        body: event.payload.into_bytes(),
    }
}

/// How much a queue holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct QueueLimits {
    /// How old a message may get.
    max_age: Option<Duration>,
    /// How many messages it holds.
    max_length: Option<u64>,
}

impl QueueLimits {
    /// The limits that definitions set for a queue: by its arguments, and by the policy with
    /// the highest priority that fits its name. The lower one holds.
    fn from_definitions(queue: &str, definitions: &Value) -> Self {
        let list = |name: &str| definitions[name].as_array().cloned().unwrap_or_default();
        let queues = list("queues");
        let arguments = queues.iter().find(|it| it["name"] == queue);
        let policies = list("policies");
        let fits = |policy: &&Value| {
            let pattern = policy["pattern"].as_str().unwrap_or_default();
            Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(queue))
        };
        let policy = policies
            .iter()
            .filter(fits)
            .max_by_key(|policy| policy["priority"].as_i64().unwrap_or_default());
        let number = |name: &str| {
            let argument = arguments.and_then(|it| it["arguments"][format!("x-{name}")].as_u64());
            let by_policy = policy.and_then(|it| it["definition"][name].as_u64());
            argument.into_iter().chain(by_policy).min()
        };
        Self {
            max_age: number("message-ttl").map(Duration::from_millis),
            max_length: number("max-length"),
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
    fn the_lower_limit_of_a_queue_holds() {
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
    fn the_read_model_of_the_project_has_limits() {
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
