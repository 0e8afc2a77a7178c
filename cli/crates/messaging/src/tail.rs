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
use super::dead_letters::DeadLetter;

/// How many messages wait for a slow reader; older ones go.
const MAX_QUEUE_LENGTH: i32 = 20_000;

/// What passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObservedEventKind {
    /// A service published it, or it was replayed to the exchange.
    Published,
    /// A service could not handle it, and tries again later.
    Retried,
    /// It was set aside.
    Dead,
}

/// A message that passed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ObservedEvent {
    /// When it was seen.
    pub at: DateTime<Utc>,
    /// What happened.
    pub kind: ObservedEventKind,
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
pub struct TailFilter {
    /// One of these types, whole or their end.
    pub types: Vec<String>,
    /// Published by one of these services, or failed in it.
    pub services: Vec<String>,
    /// Of this trace.
    pub trace_id: Option<String>,
    /// Of this aggregate.
    pub subject: Option<String>,
}

impl TailFilter {
    /// Whether a message is meant.
    #[must_use]
    pub fn matches(&self, seen: &ObservedEvent) -> bool {
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
            && (self.trace_id.is_none() || self.trace_id == seen.trace_id)
            && (self.subject.is_none() || self.subject == seen.subject)
    }
}

/// A look at what passes, by a queue of its own that goes with the connection.
#[derive(Debug)]
pub struct EventTail {
    consumer: Consumer,
}

impl EventTail {
    /// Begins to look at events with these binding keys, at all where there is none; at
    /// what fails of them, too.
    ///
    /// # Errors
    /// The broker is away, or refuses.
    pub async fn open(connection: &Connection, keys: &[String]) -> Result<Self, MessagingError> {
        let channel = connection.create_channel().await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length".into(), AMQPValue::LongInt(MAX_QUEUE_LENGTH));
        let options = QueueDeclareOptions {
            exclusive: true,
            ..QueueDeclareOptions::default()
        };
        let queue = channel.queue_declare("".into(), options, arguments).await?;
        let all = ["#".to_owned()];
        let events = if keys.is_empty() { &all[..] } else { keys };
        let bindings = events
            .iter()
            .map(|key| (topology::EVENT_EXCHANGE, key.as_str()))
            .chain([
                (topology::RETRY_EXCHANGE, "#"),
                (topology::DEAD_LETTER_EXCHANGE, "#"),
            ]);
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
    pub async fn next(&mut self) -> Result<Option<ObservedEvent>, MessagingError> {
        let delivery = self.consumer.next().await.transpose()?;
        Ok(delivery.map(|delivery| to_observed_event(&delivery, Utc::now())))
    }
}

fn to_observed_event(delivery: &Delivery, at: DateTime<Utc>) -> ObservedEvent {
    #[derive(Default, serde::Deserialize)]
    struct EnvelopeFields {
        source: Option<String>,
        data: Option<Value>,
    }
    let exchange = delivery.exchange.as_str();
    let kind = match exchange {
        topology::RETRY_EXCHANGE => ObservedEventKind::Retried,
        topology::DEAD_LETTER_EXCHANGE => ObservedEventKind::Dead,
        _ => ObservedEventKind::Published,
    };
    let event: EnvelopeFields = serde_json::from_slice(&delivery.data).unwrap_or_default();
    // What fails carries where it came from; what is published doesn't need to.
    let letter = DeadLetter::from_message("", 0, &delivery.properties, &delivery.data);
    let failed = kind != ObservedEventKind::Published;
    let own_queue = || {
        let table = delivery.properties.headers().as_ref()?;
        header::get_text(table, headers::QUEUE)
    };
    let key = delivery.routing_key.to_string();
    ObservedEvent {
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
    pub fn published_event() -> ObservedEvent {
        ObservedEvent {
            at: time::parse("2026-02-03T10:00:00.123Z").unwrap(),
            kind: ObservedEventKind::Published,
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

    use super::examples::published_event;
    use super::*;

    #[test]
    fn each_condition_counts() {
        let texts = |text: &str| vec!["x".to_owned(), text.to_owned()];
        let takes = |filter: TailFilter| filter.matches(&published_event());
        assert!(takes(TailFilter::default()));
        for (types, services, takes_it) in [
            ("order.created.v1", "order", true),
            ("created.v2", "order", false),
            ("order.created.v1", "inventory", false),
        ] {
            let filter = TailFilter {
                types: texts(types),
                services: texts(services),
                ..TailFilter::default()
            };
            assert_eq!(takes(filter), takes_it, "{types} {services}");
        }
        let of = |trace: &str| TailFilter {
            trace_id: Some(trace.to_owned()),
            ..TailFilter::default()
        };
        assert!(takes(of("0af7651916cd43dd8448eb211c80319c")));
        assert!(!takes(of("0")));
    }

    #[test]
    fn a_failure_is_of_who_failed_too() {
        let dead = ObservedEvent {
            kind: ObservedEventKind::Dead,
            queue: Some(topology::INVENTORY_QUEUE.into()),
            ..published_event()
        };
        let filter = TailFilter {
            services: vec!["inventory".into()],
            ..TailFilter::default()
        };
        assert!(filter.matches(&dead));
    }
}
