//! The consumer.

use dm_contracts::envelope::DomainEvent;
use dm_contracts::events::{ExpenseDecided, ExpenseSubmitted};
use dm_contracts::topology::{EVENT_EXCHANGE, RetryTier, dead_letter_queue, retry_queue};
use dm_contracts::{Envelope, headers};
use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;

use super::{QUEUE, Servers, decided, submitted, wait_until};
use crate::database::Transaction;
use crate::inbox::{Consumer, ConsumerContext, EventHandler, HandlerError};
use crate::trace::Trace;

/// Writes a row for each event, and then fails for some.
struct Recorder;

impl EventHandler for Recorder {
    async fn handle(
        &self,
        transaction: &mut Transaction,
        event: &Envelope,
        _trace: &Trace,
    ) -> Result<(), HandlerError> {
        sqlx::query("INSERT INTO effects (subject) VALUES ($1)")
            .bind(&event.subject)
            .execute(&mut **transaction)
            .await?;
        match event.subject.as_str() {
            "expense/exp_400" => Err(HandlerError::invalid_data("the amount is missing")),
            "expense/exp_500" => Err(HandlerError::Transient("try again".into())),
            _ => Ok(()),
        }
    }
}

impl Servers {
    async fn start_consumer(&mut self) {
        sqlx::query("CREATE TABLE effects (subject text NOT NULL)")
            .execute(&self.pool)
            .await
            .unwrap();
        let context = ConsumerContext {
            service: "finance-service",
            database: self.database.clone(),
            broker: self.broker.clone(),
            metrics: self.metrics.clone(),
        };
        let consumer = Consumer::new(context, QUEUE.to_owned(), self.indicator(), Recorder);
        tokio::spawn(consumer.run(self.stop.clone()));
    }

    async fn publish(&self, routing_key: &str, body: &[u8]) {
        let options = BasicPublishOptions::default();
        self.channel
            .basic_publish(
                EVENT_EXCHANGE.into(),
                routing_key.into(),
                options,
                body,
                BasicProperties::default(),
            )
            .await
            .unwrap();
    }

    async fn publish_event<E: DomainEvent>(&self, event: &Envelope) {
        let body = serde_json::to_vec(event).unwrap();
        self.publish(E::ROUTING_KEY, &body).await;
    }

    async fn publish_event_of_submission(&self, event: &Envelope) {
        self.publish_event::<ExpenseSubmitted>(event).await;
    }

    async fn publish_event_of_decision(&self, number: u32) {
        let event = Envelope::new(&decided(number));
        self.publish_event::<ExpenseDecided>(&event).await;
    }

    async fn effects(&self) -> Vec<String> {
        sqlx::query_scalar("SELECT subject FROM effects ORDER BY subject")
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }

    async fn wait_until_effects(&self, expected: &[&str]) {
        wait_until(|| async { (self.effects().await == expected).then_some(()) }).await;
    }
}

#[tokio::test]
async fn event_that_is_delivered_twice_has_one_effect() {
    let mut servers = Servers::start().await;
    let event = Envelope::new(&submitted(1));
    servers.publish_event_of_submission(&event).await;
    servers.start_consumer().await;
    servers.publish_event_of_submission(&event).await;
    servers.publish_event_of_decision(2).await;
    servers
        .wait_until_effects(&["expense/exp_1", "expense/exp_2"])
        .await;
    let processed: i64 = sqlx::query_scalar("SELECT count(*) FROM inbox_events")
        .fetch_one(&servers.pool)
        .await
        .unwrap();
    assert_eq!(processed, 2);
}

#[tokio::test]
async fn event_that_can_never_be_processed_is_dead_lettered_without_effect() {
    let mut servers = Servers::start().await;
    servers.start_consumer().await;
    let event = Envelope::new(&submitted(400));
    servers.publish_event_of_submission(&event).await;
    let (properties, body) = servers.next_message(&dead_letter_queue(QUEUE)).await;
    assert_eq!(body, serde_json::to_vec(&event).unwrap());
    let table = properties.headers().as_ref().unwrap();
    let reason = table.inner().get(headers::REASON).unwrap();
    assert_eq!(reason.as_long_string().unwrap().as_bytes(), b"invalid-data");

    let (id, dead): (String, bool) = sqlx::query_as("SELECT event_id, dead FROM failed_events")
        .fetch_one(&servers.pool)
        .await
        .unwrap();
    assert_eq!((id, dead), (event.id, true));
    assert_eq!(servers.effects().await, Vec::<String>::new());
}

#[tokio::test]
async fn event_that_fails_for_now_is_retried_later() {
    let mut servers = Servers::start().await;
    servers.start_consumer().await;
    let event = Envelope::new(&submitted(500));
    servers.publish_event_of_submission(&event).await;
    let first = RetryTier::after_failures(1);
    let (_, body) = servers.next_message(&retry_queue(QUEUE, first)).await;
    assert_eq!(body, serde_json::to_vec(&event).unwrap());
    let dead: bool = sqlx::query_scalar("SELECT dead FROM failed_events")
        .fetch_one(&servers.pool)
        .await
        .unwrap();
    assert!(!dead);
    assert_eq!(servers.effects().await, Vec::<String>::new());
    assert_eq!(servers.depth(&dead_letter_queue(QUEUE)).await, 0);
}

#[tokio::test]
async fn message_that_is_no_event_does_not_block_the_next_one() {
    let mut servers = Servers::start().await;
    servers.start_consumer().await;
    servers
        .publish("finance.expense.decided.v1", b"{not json")
        .await;
    servers.publish_event_of_decision(1).await;
    servers.wait_until_effects(&["expense/exp_1"]).await;
    let (_, body) = servers.next_message(&dead_letter_queue(QUEUE)).await;
    assert_eq!(body, b"{not json");
}
