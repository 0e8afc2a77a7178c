//! What the restored outboxes have published, put into queues that are empty: what no inbox
//! has handled, and what the queues without a consumer of the stack would hold.
//!
//! The database is closed and the queues were just declared: nothing comes or goes meanwhile,
//! and a restore that is carried on with begins with empty queues again.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use dm_contracts::topology::{WORK_QUEUES, WorkQueue, takes};
use dm_messaging::MessagingError;
use dm_messaging::broker::{Outgoing, publish};
use dm_messaging::stores::Store;
use futures_util::TryStreamExt as _;
use lapin::Channel;
use regex::Regex;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, FromRow, PgConnection};

use super::BackupError;
use super::broker::{Broker, Letters};
use super::target::Target;

/// How many events are sent before their confirms are waited for, at most.
const PORTION: usize = 500;
/// How many bytes of them, about.
const BYTES: usize = 4 << 20;
/// How much of an inbox's memory is relied on: what is about to go may be gone from one table
/// and not yet from the other.
const TRUSTED: f64 = 0.9;

/// Where events are published from.
pub struct Events<'a> {
    /// The services' tables.
    pub stores: &'a [Store],
    /// How long outboxes and inboxes remember, by service.
    pub memory: &'a BTreeMap<String, Duration>,
}

/// An event, as its outbox has it.
#[derive(FromRow)]
struct Event {
    event_id: String,
    event_type: String,
    traceparent: Option<String>,
    payload: String,
    /// The round in which it is new to the queue's consumer, where that has a record of it.
    round: Option<i64>,
}

/// How many events are in a queue again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refilled {
    pub(super) queue: &'static str,
    pub(super) there: u64,
    pub(super) refused: u64,
}

/// Publishes to each queue what belongs there by the restored tables, in the order of the
/// outboxes. `taken_at` is when they were as they are.
pub(super) async fn refill(
    target: &Target<'_>,
    broker: &Broker<'_>,
    events: &Events<'_>,
    dead: &Letters,
    taken_at: DateTime<Utc>,
) -> Result<Vec<Refilled>, BackupError> {
    let mut session = target.own_session().await?;
    let channel = broker.connection.create_channel().await;
    let channel = channel.map_err(MessagingError::from)?;
    let mut all = Vec::new();
    for queue in WORK_QUEUES {
        let none = Vec::new();
        let letters = dead.get(queue.name).unwrap_or(&none);
        let set_aside: HashSet<&str> = letters.iter().filter_map(Option::as_deref).collect();
        let mut refilled = Refilled {
            queue: queue.name,
            there: 0,
            refused: 0,
        };
        for publisher in events.stores {
            let keys = keys(&mut session, publisher, &queue).await?;
            if keys.is_empty() {
                continue;
            }
            let statement = match reader(&queue, events.stores) {
                Some(consumer) => {
                    let memory = events.memory.get(&consumer.service);
                    unhandled(publisher, consumer, &queue, memory.copied(), taken_at)
                }
                None => kept(publisher, &Limits::of(queue.name, broker.definitions)),
            };
            let sent = send(
                &mut session,
                &channel,
                &queue,
                &statement,
                &keys,
                &set_aside,
            );
            let (there, refused) = sent.await?;
            refilled.there += there;
            refilled.refused += refused;
        }
        all.push(refilled);
    }
    let closed = channel.close(200, "done".into()).await;
    closed.map_err(MessagingError::from)?;
    session.close().await?;
    Ok(all)
}

/// The service that consumes a queue, where it has an inbox.
fn reader<'a>(queue: &WorkQueue, stores: &'a [Store]) -> Option<&'a Store> {
    stores.iter().find(|store| store.queue == Some(queue.name))
}

/// The routing keys of an outbox that a queue takes.
async fn keys(
    session: &mut PgConnection,
    publisher: &Store,
    queue: &WorkQueue,
) -> Result<Vec<String>, BackupError> {
    let statement = format!("SELECT DISTINCT routing_key FROM {}", outbox(publisher));
    let keys: Vec<String> = sqlx::query_scalar(AssertSqlSafe(statement))
        .fetch_all(session)
        .await?;
    let taken = |key: &String| queue.bindings.iter().any(|binding| takes(binding, key));
    Ok(keys.into_iter().filter(taken).collect())
}

fn outbox(store: &Store) -> String {
    format!("\"{}\".outbox_events", store.schema)
}

/// What was published to a queue and not handled, nor parked, nor changed by a person before
/// it was sent back.
fn unhandled(
    publisher: &Store,
    consumer: &Store,
    queue: &WorkQueue,
    memory: Option<Duration>,
    taken_at: DateTime<Utc>,
) -> String {
    let memory = memory.map_or(f64::MAX, |memory| memory.as_secs_f64() * TRUSTED);
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
        outbox(publisher),
        consumer = consumer.schema,
        queue = queue.name,
    )
}

/// The newest of what was published to a queue that no service of the stack reads: as much as
/// it would hold.
fn kept(publisher: &Store, limits: &Limits) -> String {
    let since = limits.age.map_or(String::new(), |age| {
        format!(
            "AND published_at > clock_timestamp() - interval '{} milliseconds'",
            age.as_millis()
        )
    });
    let limit = limits
        .length
        .map_or(String::new(), |it| format!("LIMIT {it}"));
    format!(
        "SELECT event_id, event_type, traceparent, payload, NULL::bigint AS round FROM (
             SELECT sequence, event_id, event_type, traceparent, payload::text AS payload
               FROM {} WHERE routing_key = ANY($1) AND published_at IS NOT NULL {since}
              ORDER BY sequence DESC {limit}) AS newest
          ORDER BY sequence",
        outbox(publisher)
    )
}

/// Sends what a statement finds. Answers how many the broker has, and how many it refused.
async fn send(
    session: &mut PgConnection,
    channel: &Channel,
    queue: &WorkQueue,
    statement: &str,
    keys: &[String],
    set_aside: &HashSet<&str>,
) -> Result<(u64, u64), BackupError> {
    let (mut there, mut refused) = (0, 0);
    let (mut portion, mut bytes) = (Vec::new(), 0);
    let mut found = sqlx::query_as(AssertSqlSafe(statement.to_owned()))
        .bind(keys)
        .fetch(session);
    loop {
        let event: Option<Event> = found.try_next().await?;
        let is_last = event.is_none();
        if let Some(event) = event.filter(|it| !set_aside.contains(it.event_id.as_str())) {
            bytes += event.payload.len();
            portion.push(message(queue, event));
        }
        if is_last || portion.len() >= PORTION || bytes >= BYTES {
            for taken in publish(channel, &portion).await? {
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
fn message(queue: &WorkQueue, event: Event) -> Outgoing {
    let properties = dm_amqp::Event {
        id: &event.event_id,
        event_type: &event.event_type,
        traceparent: event.traceparent.as_deref(),
    }
    // In a round that its consumer has a record of, it would be taken for done.
    .again(event.round);
    Outgoing {
        exchange: String::new(),
        routing_key: queue.name.to_owned(),
        mandatory: true,
        properties,
        body: event.payload.into_bytes(),
    }
}

/// How much a queue holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Limits {
    /// How old a message may get.
    age: Option<Duration>,
    /// How many messages it holds.
    length: Option<u64>,
}

impl Limits {
    /// The limits that definitions set for a queue: by its arguments, and by the policy with
    /// the highest priority that fits its name. The lower one holds.
    fn of(queue: &str, definitions: &Value) -> Self {
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
            age: number("message-ttl").map(Duration::from_millis),
            length: number("max-length"),
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
        let limits = Limits::of("a.q", &definitions);
        assert_eq!(limits.age, Some(Duration::from_secs(1)));
        assert_eq!(limits.length, Some(10));
        assert_eq!(Limits::of("b.q", &definitions), Limits::default());
    }

    #[test]
    fn the_read_model_of_the_project_has_limits() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        let options = LoadOptions {
            project_dir: Some(root.clone()),
            ..LoadOptions::default()
        };
        let config = Config::load(&options, []).unwrap().config;
        let declared = RabbitMq::new(&config, &root).declared().unwrap();
        let limits = Limits::of("notification.readmodel.q", &declared);
        assert_eq!(limits.length, Some(10_000));
        assert_eq!(limits.age, Some(Duration::from_secs(7 * 24 * 3600)));
    }
}
