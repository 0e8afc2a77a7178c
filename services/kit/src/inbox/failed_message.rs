//! Builds the copy of a failed message for a retry queue or the dead-letter queue.

use dm_amqp::{OriginalMessage, header_value};
use dm_contracts::{headers, time, topology};
use lapin::message::Delivery;
use lapin::types::AMQPValue;

use super::failure::FailureDisposition;
use super::failure_record::FailureRecord;
use super::incoming::IncomingMessage;
use crate::broker::{self, OutgoingMessage};

/// Builds the copy of a failed message, for a retry or as a dead letter. It keeps body, properties
/// and headers, and describes the failure in the project's headers. All copies are equal, except
/// for the generated id of a message that has none.
pub(super) fn build_message(
    delivery: &Delivery,
    incoming: &IncomingMessage,
    queue: &str,
    service: &str,
    record: &FailureRecord,
) -> OutgoingMessage {
    let (exchange, routing_key) = match record.disposition() {
        FailureDisposition::Retry(tier) => {
            (topology::RETRY_EXCHANGE, topology::retry_queue(queue, tier))
        }
        FailureDisposition::DeadLetter => (topology::DEAD_LETTER_EXCHANGE, queue.to_owned()),
    };
    let text = header_value::text_value;
    // A message from a retry queue has another routing key: the original one is kept in a
    // header from the first failure on.
    let original = |name, current: &str| {
        broker::header_text(incoming.properties(), name).unwrap_or_else(|| current.to_owned())
    };
    let mut failure_headers = vec![
        (headers::ATTEMPTS, AMQPValue::LongInt(record.attempts)),
        (headers::QUEUE, text(queue)),
        (headers::SERVICE, text(service)),
        (headers::REASON, text(&record.reason)),
        (headers::ERROR, text(&record.error)),
        (headers::MESSAGE_TRACE_ID, text(&record.trace_id)),
        (
            headers::EXCHANGE,
            text(&original(headers::EXCHANGE, delivery.exchange.as_str())),
        ),
        (
            headers::ROUTING_KEY,
            text(&original(
                headers::ROUTING_KEY,
                delivery.routing_key.as_str(),
            )),
        ),
        (headers::FAILED_AT, text(&time::format(record.failed_at))),
    ];
    if record.dead {
        failure_headers.push((headers::LETTER, text(&record.letter_id)));
    }
    let failed = OriginalMessage {
        properties: header_value::with_headers(incoming.properties(), failure_headers),
        ..OriginalMessage::default()
    };
    OutgoingMessage {
        exchange: exchange.to_owned(),
        routing_key,
        mandatory: true,
        // Properties that the broker would act on, such as expiration and user id, are moved to
        // a header.
        properties: failed.to_copy_properties(false),
        body: delivery.data.clone(),
    }
}

#[cfg(test)]
mod tests {
    use lapin::BasicProperties;
    use lapin::types::FieldTable;

    use super::super::failure::{ProcessingFailure, decide_disposition};
    use super::*;

    fn failure(transient: bool) -> ProcessingFailure {
        ProcessingFailure {
            reason: "database",
            error: "it went away".into(),
            transient,
        }
    }

    fn delivery(properties: BasicProperties) -> Delivery {
        let mut delivery = Delivery::mock(
            7,
            topology::EVENT_EXCHANGE.into(),
            "order.created.v1".into(),
            false,
            b"body".to_vec(),
        );
        delivery.properties = properties;
        delivery
    }

    fn fail(delivery: &Delivery, transient: bool) -> (OutgoingMessage, FailureRecord) {
        let queue = topology::INVENTORY_QUEUE;
        let incoming = IncomingMessage::from_delivery(queue, delivery);
        let record = FailureRecord::new(&incoming, &failure(transient), "trace");
        let message = build_message(delivery, &incoming, queue, "inventory-service", &record);
        (message, record)
    }

    #[test]
    fn second_failure_keeps_original_exchange_and_routing_key() {
        let properties = BasicProperties::default().with_message_id("evt_1".into());
        let (first, record) = fail(&delivery(properties), true);
        assert_eq!(first.exchange, topology::RETRY_EXCHANGE);
        assert_eq!(first.routing_key, "inventory.order-events.q.retry.1s");
        let mut retry = delivery(first.properties);
        retry.exchange = "".into();
        retry.routing_key = topology::INVENTORY_QUEUE.into();
        let (second, second_record) = fail(&retry, false);
        assert_eq!((second_record.attempts, second_record.dead), (2, true));
        assert_eq!(
            second_record.letter_id, record.letter_id,
            "another dead letter in the same round"
        );
        assert_eq!(broker::message_id(&second.properties), "evt_1");
        let header = |name| broker::header_text(&second.properties, name).unwrap();
        assert_eq!(header(headers::ROUTING_KEY), "order.created.v1");
        assert_eq!(header(headers::EXCHANGE), topology::EVENT_EXCHANGE);
        assert_eq!(header(headers::REASON), "database");
        assert_eq!(header(headers::LETTER), second_record.letter_id);
    }

    #[test]
    fn properties_that_the_broker_acts_on_are_moved_to_a_header() {
        let mut table = FieldTable::default();
        table.insert("CC".into(), AMQPValue::FieldArray(vec![].into()));
        table.insert("x-delivery-count".into(), AMQPValue::LongLongInt(3));
        let properties = BasicProperties::default()
            .with_user_id("dunder".into())
            .with_expiration("5".into())
            .with_headers(table);
        let (message, record) = fail(&delivery(properties), false);
        let copied = &message.properties;
        assert_eq!((copied.user_id(), copied.expiration()), (&None, &None));
        let headers = copied.headers().as_ref().unwrap();
        assert!(!headers.contains_key("CC") && !headers.contains_key("x-delivery-count"));
        let original = OriginalMessage::from_message("", "", copied).properties;
        assert_eq!(original.expiration().as_ref().unwrap().as_str(), "5");
        assert!(original.headers().as_ref().unwrap().contains_key("CC"));
        assert_eq!(original.message_id(), &None);
        let letter = dm_amqp::letter_id::LetterMessage {
            queue: topology::INVENTORY_QUEUE,
            properties: &original,
            body: b"body",
        };
        assert!(
            letter.matches_letter_id(&record.letter_id),
            "dm cannot match it with its record"
        );
    }

    #[test]
    fn event_with_wrong_routing_key_is_dead_lettered_and_processed_when_replayed() {
        let body = serde_json::json!({
            "specversion": "1.0", "id": "evt_1", "source": "/order-service", "data": {},
            "type": "com.dundermifflin.expense.decided.v1",
        });
        let mut delivery = delivery(BasicProperties::default());
        delivery.data = body.to_string().into_bytes();
        let receive =
            |delivery: &Delivery| IncomingMessage::from_delivery(topology::WUPHF_QUEUE, delivery);
        let incoming = receive(&delivery);
        assert_eq!(incoming.id.as_deref(), Some("evt_1"));
        let failure = ProcessingFailure::from_envelope_error(&incoming.event.unwrap_err());
        assert_eq!(failure.reason, "wrong-routing-key");
        assert_eq!(
            decide_disposition(&failure, 1),
            FailureDisposition::DeadLetter
        );
        assert!(
            failure.error.contains("order.created.v1"),
            "{}",
            failure.error
        );
        delivery.exchange = "".into();
        delivery.routing_key = topology::WUPHF_QUEUE.into();
        assert!(receive(&delivery).event.is_ok());
        delivery.exchange = topology::EVENT_EXCHANGE.into();
        delivery.routing_key = "finance.expense.decided.v1".into();
        assert!(receive(&delivery).event.is_ok());
    }
}
