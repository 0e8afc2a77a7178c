//! Dead letters: many of them listed, and some of them sent back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::Utc;
use dm_contracts::headers;
use dm_contracts::topology::{INVENTORY_QUEUE, READ_MODEL_QUEUE, dead_letter_queue};
use dm_core::error::Result;
use dm_messaging::MessagingError;
use dm_messaging::broker::{self, OutgoingMessage, publish_and_confirm};
use dm_messaging::dead_letters::DeadLetterFilter;
use dm_messaging::dead_letters::replay::{self, ReplayContext, ReplayLimits, ReplayRequest};
use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection};
use tokio_util::sync::CancellationToken;

use super::http_load::as_f64;
use super::{BenchStack, Metric, measured_command};

/// How many go back.
const REPLAYED_LETTERS: u32 = 10_000;
/// How many are listed.
const LISTED_LETTERS: u32 = 100_000;
/// How many are published and not yet acknowledged.
const IN_FLIGHT_LIMIT: u16 = 100;
/// How many are put into a queue at a time.
const PUBLISH_BATCH: usize = 1_000;
/// How long a body is, in bytes.
const BODY_BYTES: usize = 1_024;

/// The rate of a replay with its audit, and with the look that precedes it, as shares of
/// what a loop reaches that takes, publishes, waits for the confirm and acknowledges,
/// window by window.
pub(super) async fn measure_replay(stack: &BenchStack<'_>) -> Result<Vec<(Metric, f64)>> {
    let connection = broker::connect(&stack.broker_uri).await?;
    broker::acquire_dead_letter_lock(&connection).await?;
    let channel = connection
        .create_channel()
        .await
        .map_err(MessagingError::from)?;
    let dead = dead_letter_queue(READ_MODEL_QUEUE);
    for queue in [dead.as_str(), READ_MODEL_QUEUE] {
        purge_queue(&channel, queue).await?;
    }
    let scratch = declare_scratch_queue(&channel).await?;
    publish_dead_letters(&channel, &scratch, REPLAYED_LETTERS).await?;
    let bare = baseline_replay_rate(&connection, &scratch).await?;
    purge_queue(&channel, READ_MODEL_QUEUE).await?;

    publish_dead_letters(&channel, &dead, REPLAYED_LETTERS).await?;
    let request = ReplayRequest {
        queues: vec![READ_MODEL_QUEUE],
        filter: DeadLetterFilter::default(),
        limit: None,
        to_exchange: false,
        most_rounds: 5,
        inbox_retention: BTreeMap::new(),
    };
    let speed = ReplayLimits {
        max_per_second: None,
        max_in_flight: IN_FLIGHT_LIMIT,
    };
    let site = ReplayContext {
        connection: &connection,
        database: &stack.database,
        service_tables: &[],
        interrupt: &CancellationToken::new(),
        on_progress: &|_| {},
    };
    let began = Instant::now();
    let selection = replay::select_letters(&connection, &request, Utc::now()).await?;
    let planned = began.elapsed();
    let done = replay::run(&site, &request, selection, None, speed).await?;
    let whole = began.elapsed();
    let share = |time: Duration| as_f64(done.replayed as usize) / time.as_secs_f64() / bare;
    purge_queue(&channel, READ_MODEL_QUEUE).await?;
    close_connection(connection).await?;
    Ok(vec![
        (Metric::ReplayRate, share(whole - planned)),
        (Metric::ReplayWhole, share(whole)),
    ])
}

/// How long `dm dlq ls` takes over many letters: from their records, and where it has to
/// read them, also as a share of a bare look, and with the memory that it takes.
pub(super) async fn measure_listing(stack: &BenchStack<'_>) -> Result<Vec<(Metric, f64)>> {
    let connection = broker::connect(&stack.broker_uri).await?;
    let channel = connection
        .create_channel()
        .await
        .map_err(MessagingError::from)?;
    let dead = dead_letter_queue(INVENTORY_QUEUE);
    purge_queue(&channel, &dead).await?;
    publish_dead_letters(&channel, &dead, LISTED_LETTERS).await?;
    let bare = baseline_browse_seconds(&connection, &dead).await?;
    let read = measured_command::run_measured(stack, &["dlq", "ls", "--json"]).await?;
    insert_records(stack).await?;
    let recorded = measured_command::run_measured(stack, &["dlq", "ls", "--json"]).await?;
    purge_queue(&channel, &dead).await?;
    sqlx::query("DELETE FROM inventory.failed_events")
        .execute(&stack.database)
        .await
        .map_err(MessagingError::from)?;
    close_connection(connection).await?;
    Ok(vec![
        (Metric::LettersTime, recorded.duration.as_secs_f64()),
        (Metric::LettersRead, read.duration.as_secs_f64()),
        (Metric::LettersLook, read.duration.as_secs_f64() / bare),
        (Metric::LettersMemory, as_f64(read.peak_memory as usize)),
    ])
}

/// Records the letters that are listed, as their consumer would.
async fn insert_records(stack: &BenchStack<'_>) -> Result<()> {
    sqlx::query(
        "INSERT INTO inventory.failed_events
             (letter_id, queue, event_id, round, attempts, dead, event_type, reason, error,
              trace_id, failed_at, published_at)
         SELECT md5(number::text), $1, 'evt_bench_' || number, 0, 1, true,
                'com.dundermifflin.order.created.v1', 'invalid-data',
                'missing field `orderId`', '', now(), now()
           FROM generate_series(1, $2) AS number",
    )
    .bind(INVENTORY_QUEUE)
    .bind(i64::from(LISTED_LETTERS))
    .execute(&stack.database)
    .await
    .map_err(MessagingError::from)?;
    stack
        .vacuum_and_checkpoint("inventory.failed_events")
        .await?;
    Ok(())
}

/// Messages a second of the loop that nobody can do without.
async fn baseline_replay_rate(connection: &Connection, queue: &str) -> Result<f64> {
    let began = Instant::now();
    let looped = async {
        let channel = connection.create_channel().await?;
        let out = connection.create_channel().await?;
        channel
            .basic_qos(2 * IN_FLIGHT_LIMIT, BasicQosOptions::default())
            .await?;
        let mut consumer = channel
            .basic_consume(
                queue.into(),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await?;
        let mut left = REPLAYED_LETTERS;
        while left > 0 {
            let mut window: Vec<Delivery> = Vec::new();
            while window.len() < usize::from(IN_FLIGHT_LIMIT).min(left as usize) {
                let Some(delivery) = consumer.next().await else {
                    break;
                };
                window.push(delivery?);
            }
            let messages: Vec<OutgoingMessage> = window
                .iter()
                .map(|delivery| OutgoingMessage {
                    exchange: String::new(),
                    routing_key: READ_MODEL_QUEUE.to_owned(),
                    mandatory: true,
                    properties: delivery.properties.clone(),
                    body: delivery.data.clone(),
                })
                .collect();
            publish_and_confirm(&out, &messages).await?;
            for delivery in &window {
                delivery.ack(BasicAckOptions::default()).await?;
            }
            left -= u32::try_from(window.len()).unwrap_or(left);
        }
        channel.close(200, "done".into()).await?;
        Ok::<_, MessagingError>(())
    };
    looped.await?;
    Ok(f64::from(REPLAYED_LETTERS) / began.elapsed().as_secs_f64())
}

/// Seconds that it takes to be given every message of a queue once, nothing being done
/// with it, and to give it back.
async fn baseline_browse_seconds(connection: &Connection, queue: &str) -> Result<f64> {
    let began = Instant::now();
    let looked = async {
        let channel = connection.create_channel().await?;
        let mut consumer = channel
            .basic_consume(
                queue.into(),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await?;
        for _ in 0..LISTED_LETTERS {
            if let Some(delivery) = consumer.next().await {
                delivery?;
            }
        }
        channel.close(200, "done".into()).await?;
        Ok::<_, MessagingError>(())
    };
    looked.await?;
    Ok(began.elapsed().as_secs_f64())
}

/// A queue like those of dead letters, that goes with the connection.
async fn declare_scratch_queue(channel: &Channel) -> Result<String> {
    let options = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    let queue = channel
        .queue_declare("".into(), options, FieldTable::default())
        .await
        .map_err(MessagingError::from)?;
    Ok(queue.name().to_string())
}

/// Puts so many letters into a queue, as a service would set them aside.
async fn publish_dead_letters(channel: &Channel, queue: &str, letters: u32) -> Result<()> {
    let body = serde_json::json!({"data": "x".repeat(BODY_BYTES)}).to_string();
    let numbers: Vec<u32> = (0..letters).collect();
    for portion in numbers.chunks(PUBLISH_BATCH) {
        let messages: Vec<OutgoingMessage> = portion
            .iter()
            .map(|number| {
                let mut table = FieldTable::default();
                for (name, value) in [
                    (headers::REASON, "invalid-data"),
                    (headers::ERROR, "missing field `orderId`"),
                    (headers::SERVICE, "bench"),
                    (headers::FAILED_AT, "2026-02-03T10:00:00Z"),
                ] {
                    table.insert(name.into(), AMQPValue::LongString(value.into()));
                }
                OutgoingMessage {
                    exchange: String::new(),
                    routing_key: queue.to_owned(),
                    mandatory: true,
                    properties: BasicProperties::default()
                        .with_message_id(format!("evt_bench_{number}").into())
                        .with_type("com.dundermifflin.notification.created.v1".into())
                        .with_delivery_mode(2)
                        .with_headers(table),
                    body: body.clone().into_bytes(),
                }
            })
            .collect();
        publish_and_confirm(channel, &messages).await?;
    }
    Ok(())
}

async fn purge_queue(channel: &Channel, queue: &str) -> Result<()> {
    channel
        .queue_purge(queue.into(), QueuePurgeOptions::default())
        .await
        .map_err(MessagingError::from)?;
    Ok(())
}

async fn close_connection(connection: Connection) -> Result<()> {
    connection
        .close(200, "done".into())
        .await
        .map_err(MessagingError::from)?;
    Ok(())
}
