//! Measures the listing and the replay of dead letters.

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

/// The number of replayed letters.
const REPLAYED_LETTERS: u32 = 10_000;
/// The number of listed letters.
const LISTED_LETTERS: u32 = 100_000;
/// The maximum number of unconfirmed messages.
const IN_FLIGHT_LIMIT: u16 = 100;
/// The number of messages that are published to a queue at a time.
const PUBLISH_BATCH: usize = 1_000;
/// The size of a body, in bytes.
const BODY_BYTES: usize = 1_024;

/// Measures the rate of a replay with its audit, without and with the selection of the letters,
/// as ratios to a loop that consumes, publishes, waits for the confirms and acknowledges, window
/// by window.
pub(super) async fn measure_replay(stack: &BenchStack<'_>) -> Result<Vec<(Metric, f64)>> {
    let connection = broker::connect(&stack.broker_uri).await?;
    broker::acquire_dead_letter_lock(&connection).await?;
    let channel = connection
        .create_channel()
        .await
        .map_err(MessagingError::from)?;
    let dlq = dead_letter_queue(READ_MODEL_QUEUE);
    for queue in [dlq.as_str(), READ_MODEL_QUEUE] {
        purge_queue(&channel, queue).await?;
    }
    let scratch = declare_scratch_queue(&channel).await?;
    publish_dead_letters(&channel, &scratch, REPLAYED_LETTERS).await?;
    let baseline = baseline_replay_rate(&connection, &scratch).await?;
    purge_queue(&channel, READ_MODEL_QUEUE).await?;

    publish_dead_letters(&channel, &dlq, REPLAYED_LETTERS).await?;
    let request = ReplayRequest {
        queues: vec![READ_MODEL_QUEUE],
        filter: DeadLetterFilter::default(),
        limit: None,
        to_exchange: false,
        max_rounds: 5,
        inbox_retention: BTreeMap::new(),
    };
    let limits = ReplayLimits {
        max_per_second: None,
        max_in_flight: IN_FLIGHT_LIMIT,
    };
    let context = ReplayContext {
        connection: &connection,
        database: &stack.database,
        service_tables: &[],
        interrupt: &CancellationToken::new(),
        on_progress: &|_| {},
    };
    let began = Instant::now();
    let selection = replay::select_letters(&connection, &request, Utc::now()).await?;
    let selection_time = began.elapsed();
    let summary = replay::run(&context, &request, selection, None, limits).await?;
    let total_time = began.elapsed();
    let ratio = |time: Duration| as_f64(summary.replayed as usize) / time.as_secs_f64() / baseline;
    purge_queue(&channel, READ_MODEL_QUEUE).await?;
    close_connection(connection).await?;
    Ok(vec![
        (
            Metric::ReplayThroughputRatio,
            ratio(total_time - selection_time),
        ),
        (Metric::ReplayWithSelectionRatio, ratio(total_time)),
    ])
}

/// Measures `dm dlq ls` of many letters: from their records, and by reading the queue. Of the
/// latter also the ratio to a bare consumer, and the peak memory.
pub(super) async fn measure_listing(stack: &BenchStack<'_>) -> Result<Vec<(Metric, f64)>> {
    let connection = broker::connect(&stack.broker_uri).await?;
    let channel = connection
        .create_channel()
        .await
        .map_err(MessagingError::from)?;
    let dlq = dead_letter_queue(INVENTORY_QUEUE);
    purge_queue(&channel, &dlq).await?;
    publish_dead_letters(&channel, &dlq, LISTED_LETTERS).await?;
    let baseline = baseline_browse_seconds(&connection, &dlq).await?;
    let read = measured_command::run_measured(stack, &["dlq", "ls", "--json"]).await?;
    insert_records(stack).await?;
    let from_records = measured_command::run_measured(stack, &["dlq", "ls", "--json"]).await?;
    purge_queue(&channel, &dlq).await?;
    sqlx::query("DELETE FROM inventory.failed_events")
        .execute(&stack.database)
        .await
        .map_err(MessagingError::from)?;
    close_connection(connection).await?;
    Ok(vec![
        (
            Metric::DeadLettersFromRecords,
            from_records.duration.as_secs_f64(),
        ),
        (Metric::DeadLettersRead, read.duration.as_secs_f64()),
        (
            Metric::DeadLettersReadRatio,
            read.duration.as_secs_f64() / baseline,
        ),
        (Metric::DeadLettersMemory, as_f64(read.peak_memory as usize)),
    ])
}

/// Inserts the records of the listed letters, as their consumer would.
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

/// Returns the rate of the minimal replay loop, in messages per second.
async fn baseline_replay_rate(connection: &Connection, queue: &str) -> Result<f64> {
    let began = Instant::now();
    let replay = async {
        let channel = connection.create_channel().await?;
        let publish_channel = connection.create_channel().await?;
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
        let mut remaining = REPLAYED_LETTERS;
        while remaining > 0 {
            let mut window: Vec<Delivery> = Vec::new();
            while window.len() < usize::from(IN_FLIGHT_LIMIT).min(remaining as usize) {
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
            publish_and_confirm(&publish_channel, &messages).await?;
            for delivery in &window {
                delivery.ack(BasicAckOptions::default()).await?;
            }
            remaining -= u32::try_from(window.len()).unwrap_or(remaining);
        }
        channel.close(200, "done".into()).await?;
        Ok::<_, MessagingError>(())
    };
    replay.await?;
    Ok(f64::from(REPLAYED_LETTERS) / began.elapsed().as_secs_f64())
}

/// Returns the seconds in which every message of a queue is delivered once, without processing,
/// and requeued.
async fn baseline_browse_seconds(connection: &Connection, queue: &str) -> Result<f64> {
    let began = Instant::now();
    let browse = async {
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
    browse.await?;
    Ok(began.elapsed().as_secs_f64())
}

/// Declares an exclusive queue, which is deleted with the connection.
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

/// Publishes dead letters to a queue, as a service would dead-letter them.
async fn publish_dead_letters(channel: &Channel, queue: &str, letters: u32) -> Result<()> {
    let body = serde_json::json!({"data": "x".repeat(BODY_BYTES)}).to_string();
    let numbers: Vec<u32> = (0..letters).collect();
    for batch in numbers.chunks(PUBLISH_BATCH) {
        let messages: Vec<OutgoingMessage> = batch
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
