//! Live events.

use chrono::{DateTime, Utc};
use dm_amqp::header_value;
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

/// The maximum length of the queue of a slow reader. Older messages are dropped.
const MAX_QUEUE_LENGTH: i32 = 20_000;

/// The kind of an observed event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObservedEventKind {
    /// A service published it, or it was replayed to the exchange.
    Published,
    /// A service could not process it and retries later.
    Retried,
    /// It was dead-lettered.
    DeadLettered,
}

/// An observed event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ObservedEvent {
    /// The instant of the observation.
    pub observed_at: DateTime<Utc>,
    /// The kind.
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
    /// The work queue in which it failed.
    pub queue: Option<String>,
    /// The reason of the failure.
    pub reason: Option<String>,
    /// The error of the failure.
    pub error: Option<String>,
    /// The event's data, if it is JSON.
    pub data: Option<Value>,
}

/// The conditions that an event must meet. An empty field is no condition.
#[derive(Debug, Clone, Default)]
pub struct TailFilter {
    /// The accepted types or their suffixes.
    pub types: Vec<String>,
    /// The services that published the event or failed to process it.
    pub services: Vec<String>,
    /// The trace id.
    pub trace_id: Option<String>,
    /// The aggregate.
    pub subject: Option<String>,
}

impl TailFilter {
    /// Returns whether an event meets the conditions.
    #[must_use]
    pub fn matches(&self, event: &ObservedEvent) -> bool {
        let has_suffix = |event_type: &str, suffix: &String| {
            event_type
                .strip_suffix(suffix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        let event_type = event.event_type.as_deref();
        let is_of_service = |service: &String| {
            let source = event.source.as_deref().unwrap_or_default();
            let source = source.trim_start_matches('/');
            let consumer = topology::EVENT_QUEUES
                .iter()
                .find(|queue| Some(queue.name) == event.queue.as_deref());
            let names = [Some(source), consumer.and_then(|queue| queue.consumer)];
            names
                .into_iter()
                .flatten()
                .any(|name| name.strip_suffix("-service").unwrap_or(name) == service)
        };
        (self.types.is_empty()
            || event_type.is_some_and(|event_type| {
                self.types
                    .iter()
                    .any(|suffix| has_suffix(event_type, suffix))
            }))
            && (self.services.is_empty() || self.services.iter().any(is_of_service))
            && (self.trace_id.is_none() || self.trace_id == event.trace_id)
            && (self.subject.is_none() || self.subject == event.subject)
    }
}

/// A subscription to live events, by an exclusive queue of its connection.
#[derive(Debug)]
pub struct EventTail {
    consumer: Consumer,
}

impl EventTail {
    /// Subscribes to events with these binding keys, or to all if there is none, and to
    /// retried and dead-lettered events.
    ///
    /// # Errors
    /// Returns [`MessagingError`] if the broker cannot be reached or returns an error.
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
        let keys = if keys.is_empty() { &all[..] } else { keys };
        let bindings = keys
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

    /// Waits for the next event. Returns `None` if the subscription has ended.
    ///
    /// # Errors
    /// Returns [`MessagingError`] if the connection breaks.
    pub async fn next(&mut self) -> Result<Option<ObservedEvent>, MessagingError> {
        let delivery = self.consumer.next().await.transpose()?;
        Ok(delivery.map(|delivery| to_observed_event(&delivery, Utc::now())))
    }
}

fn to_observed_event(delivery: &Delivery, observed_at: DateTime<Utc>) -> ObservedEvent {
    #[derive(Default, serde::Deserialize)]
    struct EnvelopeFields {
        source: Option<String>,
        data: Option<Value>,
    }
    let exchange = delivery.exchange.as_str();
    let kind = match exchange {
        topology::RETRY_EXCHANGE => ObservedEventKind::Retried,
        topology::DEAD_LETTER_EXCHANGE => ObservedEventKind::DeadLettered,
        _ => ObservedEventKind::Published,
    };
    let event: EnvelopeFields = serde_json::from_slice(&delivery.data).unwrap_or_default();
    // Failed messages have headers with their origin; published ones do not need them.
    let letter = DeadLetter::from_message("", 0, &delivery.properties, &delivery.data);
    let failed = kind != ObservedEventKind::Published;
    let queue_header = || {
        let table = delivery.properties.headers().as_ref()?;
        header_value::get_text(table, headers::QUEUE)
    };
    let key = delivery.routing_key.to_string();
    ObservedEvent {
        observed_at,
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
        queue: failed.then(|| queue_header().unwrap_or(key)),
        reason: failed.then_some(letter.reason),
        error: letter.error,
        data: event.data,
    }
}

/// Examples for the tests of other crates.
#[cfg(any(test, feature = "examples"))]
#[allow(clippy::unwrap_used, missing_docs, reason = "only tests use it")]
pub mod examples {
    use dm_contracts::time;

    use super::*;

    #[must_use]
    pub fn published_event() -> ObservedEvent {
        ObservedEvent {
            observed_at: time::parse("2026-02-03T10:00:00.123Z").unwrap(),
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
    fn filter_requires_every_condition() {
        let texts = |text: &str| vec!["x".to_owned(), text.to_owned()];
        let matches = |filter: TailFilter| filter.matches(&published_event());
        assert!(matches(TailFilter::default()));
        for (types, services, expected) in [
            ("order.created.v1", "order", true),
            ("created.v2", "order", false),
            ("order.created.v1", "inventory", false),
        ] {
            let filter = TailFilter {
                types: texts(types),
                services: texts(services),
                ..TailFilter::default()
            };
            assert_eq!(matches(filter), expected, "{types} {services}");
        }
        let with_trace = |trace: &str| TailFilter {
            trace_id: Some(trace.to_owned()),
            ..TailFilter::default()
        };
        assert!(matches(with_trace("0af7651916cd43dd8448eb211c80319c")));
        assert!(!matches(with_trace("0")));
    }

    #[test]
    fn service_filter_matches_the_consumer_of_a_dead_letter() {
        let dead_lettered = ObservedEvent {
            kind: ObservedEventKind::DeadLettered,
            queue: Some(topology::INVENTORY_QUEUE.into()),
            ..published_event()
        };
        let filter = TailFilter {
            services: vec!["inventory".into()],
            ..TailFilter::default()
        };
        assert!(filter.matches(&dead_lettered));
    }
}
