//! Events as they pass.

use chrono::{DateTime, Utc};
use dm_amqp::header;
use dm_contracts::{headers, topology};
use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, Consumer};
use serde::Serialize;
use serde_json::Value;

use super::MessagingError;
use super::dead::DeadLetter;

/// How many messages wait for a slow reader; older ones go.
const MOST: i32 = 20_000;

/// What passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A service published it, or it was replayed to the exchange.
    Published,
    /// A service could not handle it, and tries again later.
    Retried,
    /// It was set aside.
    Dead,
}

/// A message that passed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Seen {
    /// When it was seen.
    pub at: DateTime<Utc>,
    /// What happened.
    pub kind: Kind,
    /// The routing key that it was first published with.
    pub routing_key: Option<String>,
    /// The event's id.
    pub id: Option<String>,
    /// The event's type.
    pub event_type: Option<String>,
    /// The event's aggregate.
    pub subject: Option<String>,
    /// The service that published it.
    pub source: Option<String>,
    /// The trace that it belongs to.
    pub trace_id: Option<String>,
    /// Where it failed.
    pub queue: Option<String>,
    /// Why it failed.
    pub reason: Option<String>,
    /// The error that it failed with.
    pub error: Option<String>,
    /// What the event says, where that can be read.
    pub data: Option<Value>,
}

/// What is to be seen. What is empty asks for nothing.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// One of these types, whole or their end.
    pub types: Vec<String>,
    /// Published by one of these services, or failed in it.
    pub services: Vec<String>,
    /// Of this trace.
    pub trace: Option<String>,
    /// Of this aggregate.
    pub subject: Option<String>,
}

impl Filter {
    /// Whether a message is meant.
    #[must_use]
    pub fn takes(&self, seen: &Seen) -> bool {
        let ends = |wanted: &String, found: &str| {
            found
                .strip_suffix(wanted.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        let kind = seen.event_type.as_deref();
        let of_service = |service: &String| {
            let source = seen.source.as_deref().unwrap_or_default();
            let source = source.trim_start_matches('/');
            let consumer = topology::WORK_QUEUES
                .iter()
                .find(|queue| Some(queue.name) == seen.queue.as_deref());
            let names = [Some(source), consumer.and_then(|queue| queue.consumer)];
            names
                .into_iter()
                .flatten()
                .any(|name| name.strip_suffix("-service").unwrap_or(name) == service)
        };
        (self.types.is_empty()
            || kind.is_some_and(|kind| self.types.iter().any(|wanted| ends(wanted, kind))))
            && (self.services.is_empty() || self.services.iter().any(of_service))
            && (self.trace.is_none() || self.trace == seen.trace_id)
            && (self.subject.is_none() || self.subject == seen.subject)
    }
}

/// A look at what passes, by a queue of its own that goes with the connection.
#[derive(Debug)]
pub struct Tail {
    consumer: Consumer,
}

impl Tail {
    /// Begins to look at events with these binding keys, at all where there is none; at
    /// what fails of them, too.
    ///
    /// # Errors
    /// The broker is away, or refuses.
    pub async fn open(connection: &Connection, keys: &[String]) -> Result<Self, MessagingError> {
        let channel = connection.create_channel().await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length".into(), AMQPValue::LongInt(MOST));
        let options = QueueDeclareOptions {
            exclusive: true,
            ..QueueDeclareOptions::default()
        };
        let queue = channel.queue_declare("".into(), options, arguments).await?;
        let all = ["#".to_owned()];
        let events = if keys.is_empty() { &all[..] } else { keys };
        let bindings = events
            .iter()
            .map(|key| (topology::EVENTS, key.as_str()))
            .chain([(topology::RETRIES, "#"), (topology::DEAD_LETTERS, "#")]);
        for (exchange, key) in bindings {
            channel
                .queue_bind(
                    queue.name().clone(),
                    exchange.into(),
                    key.into(),
                    QueueBindOptions::default(),
                    FieldTable::default(),
                )
                .await?;
        }
        let options = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        let consumer = channel
            .basic_consume(
                queue.name().clone(),
                "".into(),
                options,
                FieldTable::default(),
            )
            .await?;
        Ok(Self { consumer })
    }

    /// The next message.
    ///
    /// # Errors
    /// The broker went away.
    pub async fn next(&mut self) -> Result<Option<Seen>, MessagingError> {
        let delivery = self.consumer.next().await.transpose()?;
        Ok(delivery.map(|delivery| seen(&delivery, Utc::now())))
    }
}

fn seen(delivery: &Delivery, at: DateTime<Utc>) -> Seen {
    #[derive(Default, serde::Deserialize)]
    struct Event {
        source: Option<String>,
        data: Option<Value>,
    }
    let exchange = delivery.exchange.as_str();
    let kind = match exchange {
        topology::RETRIES => Kind::Retried,
        topology::DEAD_LETTERS => Kind::Dead,
        _ => Kind::Published,
    };
    let event: Event = serde_json::from_slice(&delivery.data).unwrap_or_default();
    // What fails carries where it came from; what is published doesn't need to.
    let letter = DeadLetter::read("", 0, &delivery.properties, &delivery.data);
    let failed = kind != Kind::Published;
    let own_queue = || {
        let table = delivery.properties.headers().as_ref()?;
        header::text(table, headers::QUEUE)
    };
    let key = delivery.routing_key.to_string();
    Seen {
        at,
        kind,
        routing_key: if failed {
            letter.routing_key
        } else {
            Some(key.clone())
        },
        id: letter.id,
        event_type: letter.event_type,
        subject: letter.subject,
        source: event.source,
        trace_id: letter.trace_id,
        queue: failed.then(|| own_queue().unwrap_or(key)),
        reason: failed.then_some(letter.reason),
        error: letter.error,
        data: event.data,
    }
}

/// What the tests of other crates show.
#[cfg(any(test, feature = "examples"))]
#[allow(clippy::unwrap_used, missing_docs, reason = "tests alone use it")]
pub mod examples {
    use dm_contracts::time;

    use super::*;

    #[must_use]
    pub fn passed() -> Seen {
        Seen {
            at: time::parse("2026-02-03T10:00:00.123Z").unwrap(),
            kind: Kind::Published,
            routing_key: Some("order.created.v1".into()),
            id: Some("evt_1".into()),
            event_type: Some("com.dundermifflin.order.created.v1".into()),
            subject: Some("order/ord_9001".into()),
            source: Some("/order-service".into()),
            trace_id: Some("0af7651916cd43dd8448eb211c80319c".into()),
            queue: None,
            reason: None,
            error: None,
            data: Some(serde_json::json!({"orderId": "ord_9001"})),
        }
    }
}

#[cfg(test)]
mod tests {

    use super::examples::passed;
    use super::*;

    #[test]
    fn each_condition_counts() {
        let texts = |text: &str| vec!["x".to_owned(), text.to_owned()];
        let takes = |filter: Filter| filter.takes(&passed());
        assert!(takes(Filter::default()));
        for (types, services, takes_it) in [
            ("order.created.v1", "order", true),
            ("created.v2", "order", false),
            ("order.created.v1", "inventory", false),
        ] {
            let filter = Filter {
                types: texts(types),
                services: texts(services),
                ..Filter::default()
            };
            assert_eq!(takes(filter), takes_it, "{types} {services}");
        }
        let of = |trace: &str| Filter {
            trace: Some(trace.to_owned()),
            ..Filter::default()
        };
        assert!(takes(of("0af7651916cd43dd8448eb211c80319c")));
        assert!(!takes(of("0")));
    }

    #[test]
    fn a_failure_is_of_who_failed_too() {
        let dead = Seen {
            kind: Kind::Dead,
            queue: Some(topology::INVENTORY_QUEUE.into()),
            ..passed()
        };
        let filter = Filter {
            services: vec!["inventory".into()],
            ..Filter::default()
        };
        assert!(filter.takes(&dead));
    }
}
