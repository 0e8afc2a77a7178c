//! Tests against a broker.

use dm_test_servers::VirtualHost;
use lapin::options::{BasicGetOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use lapin::{BasicProperties, Channel, Connection};

use crate::{OriginalMessage, OutgoingMessage, PublishOutcome, PublishTarget};

const QUEUE: &str = "letters";

/// Opens a channel in confirm mode of an empty virtual host.
async fn open_channel() -> (Connection, Channel) {
    let VirtualHost { port, name } =
        tokio::task::spawn_blocking(dm_test_servers::create_virtual_host)
            .await
            .unwrap();
    // As text, as `dm` passes it on.
    let uri = crate::build_uri("guest", "guest", "127.0.0.1", port, &name).to_string();
    let connection = crate::connect(&uri, "test").await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .unwrap();
    (connection, channel)
}

async fn declare_queue(channel: &Channel, arguments: FieldTable) {
    channel
        .queue_declare(QUEUE.into(), QueueDeclareOptions::durable(), arguments)
        .await
        .unwrap();
}

fn message(queue: &str, id: &str) -> OutgoingMessage {
    OutgoingMessage {
        exchange: String::new(),
        routing_key: queue.to_owned(),
        mandatory: true,
        properties: BasicProperties::default().with_message_id(id.into()),
        body: id.as_bytes().to_vec(),
    }
}

async fn publish(channel: &Channel, messages: &[OutgoingMessage]) -> Vec<PublishOutcome> {
    let confirms = crate::publish(channel, messages).await.unwrap();
    confirms.wait_for_confirms(channel).await.unwrap()
}

#[tokio::test]
async fn outcomes_are_in_the_order_of_the_messages() {
    let (_connection, channel) = open_channel().await;
    declare_queue(&channel, FieldTable::default()).await;
    let messages = [
        message("missing", "1"),
        message(QUEUE, "2"),
        message("missing", "3"),
        message(QUEUE, "4"),
        message("missing", "5"),
    ];
    assert_eq!(
        publish(&channel, &messages).await,
        [
            PublishOutcome::Returned,
            PublishOutcome::Confirmed,
            PublishOutcome::Returned,
            PublishOutcome::Confirmed,
            PublishOutcome::Returned,
        ]
    );
}

#[tokio::test]
async fn message_that_a_full_queue_refuses_is_nacked() {
    let (_connection, channel) = open_channel().await;
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(1));
    arguments.insert(
        "x-overflow".into(),
        AMQPValue::LongString("reject-publish".into()),
    );
    declare_queue(&channel, arguments).await;
    assert_eq!(
        publish(&channel, &[message(QUEUE, "1")]).await,
        [PublishOutcome::Confirmed]
    );
    assert_eq!(
        publish(&channel, &[message(QUEUE, "2")]).await,
        [PublishOutcome::Nacked]
    );
}

/// Returns one header of each type that the broker accepts.
fn headers() -> FieldTable {
    let mut nested = FieldTable::default();
    nested.insert("text".into(), AMQPValue::LongString("\u{20ac}".into()));
    let array = FieldArray::from(vec![
        AMQPValue::LongLongInt(i64::MIN),
        AMQPValue::FieldTable(nested.clone()),
        AMQPValue::Void,
    ]);
    let values = [
        ("boolean", AMQPValue::Boolean(true)),
        ("short-short", AMQPValue::ShortShortInt(-1)),
        ("short-short-unsigned", AMQPValue::ShortShortUInt(255)),
        ("short", AMQPValue::ShortInt(-300)),
        ("short-unsigned", AMQPValue::ShortUInt(65_535)),
        ("long", AMQPValue::LongInt(-70_000)),
        ("long-unsigned", AMQPValue::LongUInt(u32::MAX)),
        ("long-long", AMQPValue::LongLongInt(i64::MAX)),
        ("float", AMQPValue::Float(0.5)),
        ("double", AMQPValue::Double(-1e300)),
        ("timestamp", AMQPValue::Timestamp(1_796_000_000)),
        ("text", AMQPValue::LongString("a\u{0}b".into())),
        ("bytes", AMQPValue::ByteArray(vec![0, 255].into())),
        ("array", AMQPValue::FieldArray(array)),
        ("table", AMQPValue::FieldTable(nested)),
        ("void", AMQPValue::Void),
    ];
    let mut headers = FieldTable::default();
    for (name, value) in values {
        headers.insert(name.into(), value);
    }
    headers
}

#[tokio::test]
async fn copy_restores_all_properties_and_header_types_after_the_broker() {
    let (_connection, channel) = open_channel().await;
    declare_queue(&channel, FieldTable::default()).await;
    // `CC` would route the copy to another queue, `expiration` would remove it.
    let mut headers = headers();
    let copied = FieldArray::from(vec![AMQPValue::LongString("elsewhere".into())]);
    headers.insert("CC".into(), AMQPValue::FieldArray(copied));
    let original = OriginalMessage {
        target: PublishTarget {
            exchange: "events".into(),
            routing_key: "order.created".into(),
        },
        properties: BasicProperties::default()
            .with_headers(headers)
            .with_content_type("application/json".into())
            .with_content_encoding("gzip".into())
            .with_delivery_mode(1)
            .with_priority(7)
            .with_correlation_id("correlation".into())
            .with_reply_to("answers".into())
            .with_expiration("1".into())
            .with_message_id("message".into())
            .with_timestamp(1_796_000_000)
            .with_type("type".into())
            .with_user_id("another-user".into())
            .with_app_id("app".into()),
    };
    let copy = OutgoingMessage {
        properties: original.to_copy_properties(true),
        ..message(QUEUE, "copy")
    };
    assert_eq!(
        publish(&channel, &[copy]).await,
        [PublishOutcome::Confirmed]
    );
    let options = BasicGetOptions { no_ack: true };
    let received = channel.basic_get(QUEUE.into(), options).await.unwrap();
    let received = received.unwrap();
    let restored = OriginalMessage::from_message(
        received.exchange.as_str(),
        received.routing_key.as_str(),
        &received.properties,
    );
    assert_eq!(restored, original);
}
