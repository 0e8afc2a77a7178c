//! The relay.

use dm_contracts::DomainEvent;
use dm_contracts::topology::EVENT_EXCHANGE;
use lapin::options::QueueBindOptions;
use lapin::types::FieldTable;

use super::{QUEUE, SCHEMA, Servers, decided, submitted, wait_until};
use crate::outbox::{self, Relay};
use crate::trace::Trace;

impl Servers {
    fn start_relay(&mut self) {
        let relay = Relay {
            schema: SCHEMA,
            database: (*self.pool.connect_options()).clone(),
            broker: self.broker.clone(),
            indicator: self.indicator(),
            metrics: self.metrics.clone(),
            notifier: self.notifier.clone(),
        };
        tokio::spawn(relay.run(self.stop.clone()));
    }

    async fn bind(&self, key: &str) {
        let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
        self.channel
            .queue_bind(
                QUEUE.into(),
                EVENT_EXCHANGE.into(),
                key.into(),
                options,
                arguments,
            )
            .await
            .unwrap();
    }

    async fn unbind(&self, key: &str) {
        let arguments = FieldTable::default();
        self.channel
            .queue_unbind(QUEUE.into(), EVENT_EXCHANGE.into(), key.into(), arguments)
            .await
            .unwrap();
    }

    /// Writes an event and returns its id.
    async fn append<E: DomainEvent>(&self, event: &E) -> String {
        let mut transaction = self.database.begin().await.unwrap();
        let id = outbox::append(&mut transaction, event, &Trace::new_root()).await;
        transaction.commit().await.unwrap();
        id.unwrap()
    }

    /// Returns the ids of the events that are not marked as published, in order.
    async fn unpublished(&self) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT event_id FROM outbox_events WHERE published_at IS NULL ORDER BY sequence",
        )
        .fetch_all(&self.pool)
        .await
        .unwrap()
    }

    async fn wait_until_unpublished(&self, expected: &[String]) {
        wait_until(|| async { (self.unpublished().await == expected).then_some(()) }).await;
    }
}

#[tokio::test]
async fn events_are_published_in_order_byte_for_byte_and_marked() {
    let mut servers = Servers::start().await;
    let mut expected = Vec::new();
    for number in 0..20 {
        expected.push(servers.append(&submitted(number % 2)).await);
    }
    servers.start_relay();
    // Also an event of a later commit, of which the relay is notified.
    servers.wait_until_unpublished(&[]).await;
    expected.push(servers.append(&decided(0)).await);
    for id in expected {
        let (properties, body) = servers.next_message(QUEUE).await;
        assert_eq!(properties.message_id().as_ref().unwrap().as_str(), id);
        let stored: String =
            sqlx::query_scalar("SELECT payload::text FROM outbox_events WHERE event_id = $1")
                .bind(&id)
                .fetch_one(&servers.pool)
                .await
                .unwrap();
        assert_eq!(String::from_utf8(body).unwrap(), stored);
    }
    servers.wait_until_unpublished(&[]).await;
    assert_eq!(servers.depth(QUEUE).await, 0);
}

#[tokio::test]
async fn event_of_a_rolled_back_transaction_is_not_published() {
    let mut servers = Servers::start().await;
    servers.start_relay();
    let mut transaction = servers.database.begin().await.unwrap();
    outbox::append(&mut transaction, &submitted(1), &Trace::new_root())
        .await
        .unwrap();
    drop(transaction);
    let id = servers.append(&submitted(2)).await;
    let (properties, _) = servers.next_message(QUEUE).await;
    assert_eq!(properties.message_id().as_ref().unwrap().as_str(), id);
    servers.wait_until_unpublished(&[]).await;
    assert_eq!(servers.depth(QUEUE).await, 0);
}

#[tokio::test]
async fn unroutable_event_delays_only_later_events_of_its_aggregate() {
    let mut servers = Servers::start().await;
    servers.unbind("finance.#").await;
    servers.bind("finance.expense.decided.v1").await;
    let first = servers.append(&submitted(1)).await;
    let second = servers.append(&decided(1)).await;
    let other = servers.append(&decided(2)).await;
    servers.start_relay();

    let (properties, _) = servers.next_message(QUEUE).await;
    assert_eq!(properties.message_id().as_ref().unwrap().as_str(), other);
    servers
        .wait_until_unpublished(&[first.clone(), second.clone()])
        .await;
    assert_eq!(servers.depth(QUEUE).await, 0);

    servers.bind("finance.expense.submitted.v1").await;
    servers.wait_until_unpublished(&[]).await;
    for id in [first, second] {
        let (properties, _) = servers.next_message(QUEUE).await;
        assert_eq!(properties.message_id().as_ref().unwrap().as_str(), id);
    }
    assert_eq!(servers.depth(QUEUE).await, 0);
}
