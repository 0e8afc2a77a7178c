//! Tests of outbox and inbox against a database and a broker.

mod consumer;
mod relay;

use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, Utc};
use dm_contracts::events::{ExpenseDecided, ExpenseSubmitted};
use dm_contracts::topology::{
    DEAD_LETTER_EXCHANGE, EVENT_EXCHANGE, RETRY_EXCHANGE, RetryTier, dead_letter_queue, retry_queue,
};
use dm_test_servers::VirtualHost;
use lapin::options::{
    BasicGetOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ExchangeKind};
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use tokio_util::sync::CancellationToken;

use crate::broker::BrokerConnector;
use crate::database::{Database, Lists};
use crate::http::{HealthIndicator, ServiceHealth};
use crate::relay_notifier::RelayNotifier;
use crate::telemetry::Metrics;

const SCHEMA: &str = "finance";
const QUEUE: &str = "wuphf.domain-events.q";

/// The kit has no tables besides those of outbox and inbox.
static NO_MIGRATIONS: Migrator = Migrator::DEFAULT;

/// A database with outbox and inbox, and a broker with the queues of one consumer.
struct Servers {
    pool: PgPool,
    database: Database,
    notifier: RelayNotifier,
    broker: BrokerConnector,
    /// Connection and channel of the test itself.
    _connection: Connection,
    channel: Channel,
    health: ServiceHealth,
    metrics: Metrics,
    stop: CancellationToken,
}

impl Servers {
    async fn start() -> Self {
        let pool = dm_test_servers::create_database(SCHEMA, &NO_MIGRATIONS).await;
        let VirtualHost { port, name } =
            tokio::task::spawn_blocking(dm_test_servers::create_virtual_host)
                .await
                .unwrap();
        let mut environment = [
            ("RABBITMQ_HOST", "127.0.0.1"),
            ("RABBITMQ_AMQP_PORT", &port.to_string()),
            ("RABBITMQ_VHOST", &name),
            ("RABBITMQ_DEFAULT_USER", "guest"),
            ("RABBITMQ_DEFAULT_PASS", "guest"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into_iter()
        .collect();
        let broker = BrokerConnector::from_env(&mut environment, "finance-service");
        let connection = broker.connect("test").await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        declare_queues(&channel).await.unwrap();
        let notifier = RelayNotifier::default();
        let lists = Lists::new(pool.clone(), Lists::DEFAULT_MAX_ROWS);
        Self {
            database: Database::new(pool.clone(), notifier.clone(), lists),
            pool,
            notifier,
            broker,
            _connection: connection,
            channel,
            health: ServiceHealth::default(),
            metrics: Metrics::default(),
            stop: CancellationToken::new(),
        }
    }

    fn indicator(&mut self) -> HealthIndicator {
        self.health.indicator("rabbit")
    }

    /// Waits for the next message of a queue and removes it.
    async fn next_message(&self, queue: &str) -> (BasicProperties, Vec<u8>) {
        wait_until(|| async move {
            let options = BasicGetOptions { no_ack: true };
            let message = self.channel.basic_get(queue.into(), options).await.unwrap();
            message.map(|message| (message.properties.clone(), message.data.clone()))
        })
        .await
    }

    /// Returns the number of ready messages of a queue.
    async fn depth(&self, queue: &str) -> u32 {
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let declared = self
            .channel
            .queue_declare(queue.into(), options, FieldTable::default());
        declared.await.unwrap().message_count()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Declares the exchanges, and the queues of one consumer.
async fn declare_queues(channel: &Channel) -> Result<(), lapin::Error> {
    for exchange in [EVENT_EXCHANGE, RETRY_EXCHANGE, DEAD_LETTER_EXCHANGE] {
        let kind = ExchangeKind::Topic;
        let options = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        channel
            .exchange_declare(exchange.into(), kind, options, FieldTable::default())
            .await?;
    }
    let retry = RetryTier::ALL.map(|tier| retry_queue(QUEUE, tier));
    let retry = retry
        .iter()
        .map(|queue| (RETRY_EXCHANGE, queue.as_str(), queue.as_str()));
    let dead_letters = dead_letter_queue(QUEUE);
    let queues = [
        (EVENT_EXCHANGE, QUEUE, "finance.#"),
        (DEAD_LETTER_EXCHANGE, dead_letters.as_str(), QUEUE),
    ];
    for (exchange, queue, key) in queues.into_iter().chain(retry) {
        let options = QueueDeclareOptions::durable();
        channel
            .queue_declare(queue.into(), options, FieldTable::default())
            .await?;
        let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
        channel
            .queue_bind(
                queue.into(),
                exchange.into(),
                key.into(),
                options,
                arguments,
            )
            .await?;
    }
    Ok(())
}

/// Repeats an operation until it returns a value.
///
/// # Panics
/// Panics after a minute: far more than any of the operations takes on a busy machine.
async fn wait_until<T, F: Future<Output = Option<T>>>(mut operation: impl FnMut() -> F) -> T {
    let repeat = async {
        loop {
            if let Some(value) = operation().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), repeat)
        .await
        .unwrap()
}

fn time() -> DateTime<Utc> {
    DateTime::from_timestamp(1_796_000_000, 0).unwrap()
}

fn submitted(number: u32) -> ExpenseSubmitted {
    ExpenseSubmitted {
        expense_id: format!("exp_{number}"),
        submitter_user_id: "jhalpert".into(),
        amount: "12.50".parse().unwrap(),
        currency: "USD".into(),
        submitted_at: time(),
    }
}

fn decided(number: u32) -> ExpenseDecided {
    ExpenseDecided {
        expense_id: format!("exp_{number}"),
        submitter_user_id: "jhalpert".into(),
        decision: "APPROVED".into(),
        decided_by: "mscott".into(),
        comment: String::new(),
        decided_at: time(),
    }
}
