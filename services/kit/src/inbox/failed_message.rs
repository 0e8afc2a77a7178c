//! The copy of a failed message that goes to a retry queue or to the dead letters.

use dm_amqp::{OriginalMessage, header};
use dm_contracts::{headers, time, topology};
use lapin::message::Delivery;
use lapin::types::AMQPValue;

use super::failure::FailureDisposition;
use super::failure_record::FailureRecord;
use super::incoming::IncomingMessage;
use crate::broker::{self, OutgoingMessage};

/// The message that takes a failed one to its fate. It keeps body, properties and
/// headers, and says in headers of ours what happened. Every copy of it is the same.
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
    let text = header::text_value;
    // On its way back from a retry queue it has that queue's key: the first one is
    // kept from the first failure on.
    let original = |name, now: &str| {
        broker::header_text(incoming.properties(), name).unwrap_or_else(|| now.to_owned())
    };
    let mut more = vec![
        (headers::ATTEMPTS, AMQPValue::LongInt(record.attempts)),
        (headers::QUEUE, text(queue)),
        (headers::SERVICE, text(service)),
        (headers::REASON, text(&record.reason)),
        (headers::ERROR, text(&record.error)),
        (headers::TRACE_ID, text(&record.trace_id)),
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
        more.push((headers::LETTER, text(&record.letter_id)));
    }
    let failed = OriginalMessage {
        properties: header::with_headers(incoming.properties(), more),
        ..OriginalMessage::default()
    };
    OutgoingMessage {
        exchange: exchange.to_owned(),
        routing_key,
        mandatory: true,
        // What the broker would act on, an expiration or a user's name, is moved.
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

    fn fails(delivery: &Delivery, transient: bool) -> (OutgoingMessage, FailureRecord) {
        let queue = topology::INVENTORY_QUEUE;
        let incoming = IncomingMessage::from_delivery(queue, delivery);
        let record = FailureRecord::new(&incoming, &failure(transient), "trace");
        let message = build_message(delivery, &incoming, queue, "inventory-service", &record);
        (message, record)
    }

    #[test]
    fn a_second_failure_remembers_the_first_key() {
        let properties = BasicProperties::default().with_message_id("evt_1".into());
        let (first, record) = fails(&delivery(properties), true);
        assert_eq!(first.exchange, topology::RETRY_EXCHANGE);
        assert_eq!(first.routing_key, "inventory.order-events.q.retry.1s");
        let mut back = delivery(first.properties);
        back.exchange = "".into();
        back.routing_key = topology::INVENTORY_QUEUE.into();
        let (second, again) = fails(&back, false);
        assert_eq!((again.attempts, again.dead), (2, true));
        assert_eq!(again.letter_id, record.letter_id, "one letter in a round");
        assert_eq!(broker::message_id(&second.properties), "evt_1");
        let header = |name| broker::header_text(&second.properties, name).unwrap();
        assert_eq!(header(headers::ROUTING_KEY), "order.created.v1");
        assert_eq!(header(headers::EXCHANGE), topology::EVENT_EXCHANGE);
        assert_eq!(header(headers::REASON), "database");
        assert_eq!(header(headers::LETTER), again.letter_id);
    }

    #[test]
    fn what_the_broker_would_act_on_does_not_travel_at_its_place() {
        let mut table = FieldTable::default();
        table.insert("CC".into(), AMQPValue::FieldArray(vec![].into()));
        table.insert("x-delivery-count".into(), AMQPValue::LongLongInt(3));
        let properties = BasicProperties::default()
            .with_user_id("dunder".into())
            .with_expiration("5".into())
            .with_headers(table);
        let (message, record) = fails(&delivery(properties), false);
        let sent = &message.properties;
        assert_eq!((sent.user_id(), sent.expiration()), (&None, &None));
        let headers = sent.headers().as_ref().unwrap();
        assert!(!headers.contains_key("CC") && !headers.contains_key("x-delivery-count"));
        let original = OriginalMessage::from_message("", "", sent).properties;
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
            "dm knows it by its record"
        );
    }

    #[test]
    fn what_came_by_the_key_of_another_type_is_dead_and_handled_when_it_is_replayed() {
        let body = serde_json::json!({
            "specversion": "1.0", "id": "evt_1", "source": "/order-service", "data": {},
            "type": "com.dundermifflin.expense.decided.v1",
        });
        let mut delivery = delivery(BasicProperties::default());
        delivery.data = body.to_string().into_bytes();
        let of =
            |delivery: &Delivery| IncomingMessage::from_delivery(topology::WUPHF_QUEUE, delivery);
        let incoming = of(&delivery);
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
        assert!(of(&delivery).event.is_ok());
        delivery.exchange = topology::EVENT_EXCHANGE.into();
        delivery.routing_key = "finance.expense.decided.v1".into();
        assert!(of(&delivery).event.is_ok());
    }
}
