//! A message that no consumer can process, for demonstrations and tests.

use dm_contracts::events::{NotificationCreated, OrderCreated, StockReserved};
use dm_contracts::{DomainEvent as _, Envelope, envelope, time, topology};
use lapin::{BasicProperties, Connection};
use serde_json::json;
use uuid::Uuid;

use super::MessagingError;
use super::broker::{OutgoingMessage, publish_and_confirm};

/// Publishes a poison message to an event queue: a valid envelope of a type that the queue
/// receives, without the required data. Returns the id of the message.
///
/// # Errors
/// Returns [`MessagingError::UnknownQueue`] if there is no such queue, or the error of the
/// broker.
pub async fn publish_poison_message(
    connection: &Connection,
    queue: &str,
) -> Result<String, MessagingError> {
    let known = topology::EVENT_QUEUES
        .iter()
        .find(|known| known.name == queue);
    let Some(queue) = known else {
        return Err(MessagingError::UnknownQueue {
            name: queue.to_owned(),
        });
    };
    let event_type = match queue.name {
        topology::ORDER_QUEUE => StockReserved::TYPE,
        topology::READ_MODEL_QUEUE => NotificationCreated::TYPE,
        _ => OrderCreated::TYPE,
    };
    let id = format!("evt_{}", Uuid::new_v4().simple());
    let event = Envelope {
        specversion: envelope::SPEC_VERSION.into(),
        id: id.clone(),
        event_type: event_type.into(),
        source: "/dm-chaos".into(),
        subject: format!("poison/{id}"),
        time: time::format(time::now()),
        datacontenttype: "application/json".into(),
        data: json!({"note": "put here by dm chaos poison"}),
    };
    let message = OutgoingMessage {
        exchange: String::new(),
        routing_key: queue.name.to_owned(),
        mandatory: true,
        properties: BasicProperties::default()
            .with_message_id(id.as_str().into())
            .with_content_type(envelope::CONTENT_TYPE.into())
            .with_type(event_type.into())
            .with_delivery_mode(2),
        body: serde_json::to_vec(&event).unwrap_or_default(),
    };
    let channel = connection.create_channel().await?;
    if publish_and_confirm(&channel, &[message]).await? == [true] {
        Ok(id)
    } else {
        // The topology contains the queue, but the broker does not.
        Err(MessagingError::UnknownQueue {
            name: queue.name.to_owned(),
        })
    }
}
