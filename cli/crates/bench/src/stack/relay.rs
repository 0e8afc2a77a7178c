//! Measures the relay from commit to broker: that of wuphf, whose events go to a queue that no
//! service consumes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use dm_contracts::topology::{EVENT_EXCHANGE, READ_MODEL_QUEUE};
use futures_util::StreamExt as _;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions,
    QueueDeclareOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection};

use super::http_load::as_f64;
use super::{BenchStack, Metric, percentile};
use crate::error::BenchError;

/// The routing key of the events, to which the queue of the read model is bound.
const ROUTING_KEY: &str = "notification.created.v1";
/// The rate of events for the measurement of the latency, per second.
const EVENTS_PER_SECOND: u32 = 200;
/// The number of events for the measurement of the latency.
const LATENCY_EVENTS: u32 = 800;
/// The number of events for the measurement of the rate.
const THROUGHPUT_EVENTS: u16 = 20_000;
/// The size of a body, in bytes.
const BODY_BYTES: usize = 1_024;
/// The interval between queries of the outbox. A measurement of seconds needs no finer interval,
/// and each query loads the same processors.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// The timeout of a measurement.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The delivery mode of persistent messages in AMQP.
const PERSISTENT_DELIVERY: u8 = 2;

/// Inserts outbox rows, each of a separate aggregate, and notifies the relay.
const INSERT_OUTBOX: &str = "WITH written AS (
         INSERT INTO notifications.outbox_events
             (event_id, event_type, routing_key, subject, payload)
         SELECT $1 || '-' || number, 'notification.created', $2,
                'bench/' || $1 || '-' || number,
                json_build_object('data', repeat('x', $3))
           FROM generate_series(1, $4) AS number
     )
     SELECT pg_notify('outbox.notifications', '')";

/// Measures the median and the 99th percentile of the time from the response to a commit until a
/// consumer receives the event.
pub(super) async fn measure_latency(
    stack: &BenchStack<'_>,
) -> Result<Vec<(Metric, f64)>, BenchError> {
    let (connection, channel) = open_channel(stack).await?;
    let queue = channel
        .queue_declare(
            "".into(),
            QueueDeclareOptions {
                exclusive: true,
                ..QueueDeclareOptions::default()
            },
            FieldTable::default(),
        )
        .await?;
    let name = queue.name().clone();
    channel
        .queue_bind(
            name.clone(),
            EVENT_EXCHANGE.into(),
            ROUTING_KEY.into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await?;
    let mut consumer = channel
        .basic_consume(
            name,
            "".into(),
            BasicConsumeOptions {
                no_ack: true,
                ..BasicConsumeOptions::default()
            },
            FieldTable::default(),
        )
        .await?;
    let run_id = uuid::Uuid::new_v4().simple().to_string();
    let receive = async {
        let mut received = HashMap::new();
        while received.len() < LATENCY_EVENTS as usize {
            let delivery = tokio::time::timeout(TIMEOUT, consumer.next()).await;
            let Ok(Some(delivery)) = delivery else {
                return Err(BenchError::Timeout {
                    reason: format!("{} of {LATENCY_EVENTS} events arrived", received.len()),
                    timeout: TIMEOUT,
                });
            };
            let delivery = delivery?;
            let received_at = Instant::now();
            if let Some(id) = delivery.properties.message_id() {
                received.insert(id.to_string(), received_at);
            }
        }
        Ok(received)
    };
    let began = tokio::time::Instant::now();
    let write = async |number: u32| {
        tokio::time::sleep_until(began + Duration::from_secs(1) * number / EVENTS_PER_SECOND).await;
        let id = format!("{run_id}-{number}");
        insert_events(stack, &id, 1).await?;
        Ok::<_, BenchError>((format!("{id}-1"), Instant::now()))
    };
    let write_all = futures_util::future::try_join_all((0..LATENCY_EVENTS).map(write));
    let (written, received) = tokio::try_join!(write_all, receive)?;
    connection.close(200, "done".into()).await?;
    let mut latencies: Vec<f64> = written
        .iter()
        .filter_map(|(id, written_at)| {
            let received_at = received.get(id)?;
            Some(
                received_at
                    .saturating_duration_since(*written_at)
                    .as_secs_f64(),
            )
        })
        .collect();
    Ok(vec![
        (Metric::RelayLatencyP50, percentile(&mut latencies, 50.0)),
        (Metric::RelayLatencyP99, percentile(&mut latencies, 99.0)),
    ])
}

/// Measures the ratio of the rate of the relay to that of a publisher that neither reads nor
/// updates an outbox.
pub(super) async fn measure_throughput(
    stack: &BenchStack<'_>,
) -> Result<Vec<(Metric, f64)>, BenchError> {
    let (connection, channel) = open_channel(stack).await?;
    let purge = async || {
        let options = QueuePurgeOptions::default();
        channel.queue_purge(READ_MODEL_QUEUE.into(), options).await
    };
    // No pending writes or dead rows of earlier rounds influence this one.
    sqlx::query("DELETE FROM notifications.outbox_events WHERE subject LIKE 'bench/%'")
        .execute(&stack.database)
        .await?;
    stack
        .vacuum_and_checkpoint("notifications.outbox_events")
        .await?;
    purge().await?;
    let baseline = baseline_publish_rate(&channel).await?;
    purge().await?;
    let rate = outbox_drain_rate(stack).await?;
    purge().await?;
    connection.close(200, "done".into()).await?;
    Ok(vec![(Metric::RelayThroughputRatio, rate / baseline)])
}

/// Returns the rate of the relay with the current rows of its table, in events per second.
pub(super) async fn measure_rate(stack: &BenchStack<'_>) -> Result<f64, BenchError> {
    let (connection, channel) = open_channel(stack).await?;
    let rate = outbox_drain_rate(stack).await?;
    let options = QueuePurgeOptions::default();
    channel
        .queue_purge(READ_MODEL_QUEUE.into(), options)
        .await?;
    connection.close(200, "done".into()).await?;
    Ok(rate)
}

/// Returns the rate of a publisher that sends all messages and then awaits the confirms, in events
/// per second.
async fn baseline_publish_rate(channel: &Channel) -> Result<f64, BenchError> {
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let body = vec![b'x'; BODY_BYTES];
    let began = Instant::now();
    let mut confirms = Vec::new();
    for number in 0..THROUGHPUT_EVENTS {
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let properties = BasicProperties::default()
            .with_message_id(format!("bare-{number}").into())
            .with_delivery_mode(PERSISTENT_DELIVERY);
        let confirm = channel
            .basic_publish(
                EVENT_EXCHANGE.into(),
                ROUTING_KEY.into(),
                options,
                &body,
                properties,
            )
            .await?;
        confirms.push(confirm);
    }
    for confirm in confirms {
        let confirmation = confirm.await?;
        if !confirmation.is_ack() || confirmation.take_message().is_some() {
            return Err(BenchError::RequestFailed {
                request: format!("publishing to {EVENT_EXCHANGE}"),
                reason: "RabbitMQ did not confirm the message".into(),
            });
        }
    }
    Ok(f64::from(THROUGHPUT_EVENTS) / began.elapsed().as_secs_f64())
}

/// Returns the rate from one commit until the last event is marked as published, in events per
/// second.
async fn outbox_drain_rate(stack: &BenchStack<'_>) -> Result<f64, BenchError> {
    let run_id = uuid::Uuid::new_v4().simple().to_string();
    insert_events(stack, &run_id, THROUGHPUT_EVENTS.into()).await?;
    let began = Instant::now();
    let last_event_id = format!("{run_id}-{THROUGHPUT_EVENTS}");
    loop {
        // One row by its key: counting all pending rows would take a large part of the
        // processors, which the baseline publisher has for itself.
        let published: bool = sqlx::query_scalar(
            "SELECT published_at IS NOT NULL AND NOT EXISTS (
                        SELECT FROM notifications.outbox_events WHERE published_at IS NULL)
               FROM notifications.outbox_events WHERE event_id = $1",
        )
        .bind(&last_event_id)
        .fetch_one(&stack.database)
        .await?;
        let elapsed = began.elapsed();
        if published {
            return Ok(as_f64(THROUGHPUT_EVENTS.into()) / elapsed.as_secs_f64());
        }
        if elapsed > TIMEOUT {
            return Err(BenchError::Timeout {
                reason: format!("not all of {THROUGHPUT_EVENTS} events left the outbox"),
                timeout: TIMEOUT,
            });
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

async fn insert_events(stack: &BenchStack<'_>, id: &str, events: i32) -> Result<(), BenchError> {
    sqlx::query(INSERT_OUTBOX)
        .bind(id)
        .bind(ROUTING_KEY)
        .bind(i32::try_from(BODY_BYTES).unwrap_or(i32::MAX))
        .bind(events)
        .execute(&stack.database)
        .await?;
    Ok(())
}

async fn open_channel(stack: &BenchStack<'_>) -> Result<(Connection, Channel), BenchError> {
    let connection = dm_amqp::connect(&stack.broker_uri, "dm bench").await?;
    let channel = connection.create_channel().await?;
    Ok((connection, channel))
}
