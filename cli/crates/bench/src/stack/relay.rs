//! From a commit to the broker: wuphf's relay, whose events go to a queue that no
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

/// What is published: the read model's queue is bound to it.
const ROUTING_KEY: &str = "notification.created.v1";
/// Events a second where the delay is measured.
const EVENTS_PER_SECOND: u32 = 200;
/// How many of them.
const LATENCY_EVENTS: u32 = 800;
/// How many events where the rate is measured.
const THROUGHPUT_EVENTS: u16 = 20_000;
/// How long a body is, in bytes.
const BODY_BYTES: usize = 1_024;
/// How often the outbox is looked at: what takes seconds needs no finer measure, and
/// each look is work for the same processors.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How long all of it may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// As AMQP counts: it survives a restart.
const PERSISTENT_DELIVERY: u8 = 2;

/// A row of the outbox of its own aggregate, with what wakes the relay.
const INSERT_OUTBOX: &str = "WITH written AS (
         INSERT INTO notifications.outbox_events
             (event_id, event_type, routing_key, subject, payload)
         SELECT $1 || '-' || number, 'notification.created', $2,
                'bench/' || $1 || '-' || number,
                json_build_object('data', repeat('x', $3))
           FROM generate_series(1, $4) AS number
     )
     SELECT pg_notify('outbox.notifications', '')";

/// The median and the 99th percentile from the answer to a commit until a consumer has
/// the event.
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
    let run = uuid::Uuid::new_v4().simple().to_string();
    let receive = async {
        let mut seen = HashMap::new();
        while seen.len() < LATENCY_EVENTS as usize {
            let delivery = tokio::time::timeout(TIMEOUT, consumer.next()).await;
            let Ok(Some(delivery)) = delivery else {
                return Err(BenchError::Timeout {
                    reason: format!("{} of {LATENCY_EVENTS} events arrived", seen.len()),
                    timeout: TIMEOUT,
                });
            };
            let delivery = delivery?;
            let at = Instant::now();
            if let Some(id) = delivery.properties.message_id() {
                seen.insert(id.to_string(), at);
            }
        }
        Ok(seen)
    };
    let began = tokio::time::Instant::now();
    let write = async |number: u32| {
        tokio::time::sleep_until(began + Duration::from_secs(1) * number / EVENTS_PER_SECOND).await;
        let id = format!("{run}-{number}");
        insert_events(stack, &id, 1).await?;
        Ok::<_, BenchError>((format!("{id}-1"), Instant::now()))
    };
    let writing = futures_util::future::try_join_all((0..LATENCY_EVENTS).map(write));
    let (written, seen) = tokio::try_join!(writing, receive)?;
    connection.close(200, "done".into()).await?;
    let mut took: Vec<f64> = written
        .iter()
        .filter_map(|(id, at)| Some(seen.get(id)?.saturating_duration_since(*at).as_secs_f64()))
        .collect();
    Ok(vec![
        (Metric::RelayMedian, percentile(&mut took, 50.0)),
        (Metric::RelaySlowest, percentile(&mut took, 99.0)),
    ])
}

/// The rate of the relay, as a share of what a publisher reaches that has nothing to
/// read and nothing to mark.
pub(super) async fn measure_throughput(
    stack: &BenchStack<'_>,
) -> Result<Vec<(Metric, f64)>, BenchError> {
    let (connection, channel) = open_channel(stack).await?;
    let purge = async || {
        let options = QueuePurgeOptions::default();
        channel.queue_purge(READ_MODEL_QUEUE.into(), options).await
    };
    // Of earlier rounds nothing is left to be written or cleaned while this one lasts.
    sqlx::query("DELETE FROM notifications.outbox_events WHERE subject LIKE 'bench/%'")
        .execute(&stack.database)
        .await?;
    stack
        .vacuum_and_checkpoint("notifications.outbox_events")
        .await?;
    purge().await?;
    let bare = baseline_publish_rate(&channel).await?;
    purge().await?;
    let relayed = outbox_drain_rate(stack).await?;
    purge().await?;
    connection.close(200, "done".into()).await?;
    Ok(vec![(Metric::RelayRate, relayed / bare)])
}

/// The rate of the relay by itself, with what is in its table.
pub(super) async fn measure_rate(stack: &BenchStack<'_>) -> Result<f64, BenchError> {
    let (connection, channel) = open_channel(stack).await?;
    let relayed = outbox_drain_rate(stack).await?;
    let options = QueuePurgeOptions::default();
    channel
        .queue_purge(READ_MODEL_QUEUE.into(), options)
        .await?;
    connection.close(200, "done".into()).await?;
    Ok(relayed)
}

/// Events a second by a publisher that sends all of them and then takes the confirms.
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

/// Events a second from one commit until the outbox has marked the last of them.
async fn outbox_drain_rate(stack: &BenchStack<'_>) -> Result<f64, BenchError> {
    let run = uuid::Uuid::new_v4().simple().to_string();
    insert_events(stack, &run, THROUGHPUT_EVENTS.into()).await?;
    let began = Instant::now();
    let last = format!("{run}-{THROUGHPUT_EVENTS}");
    loop {
        // One row by its key, and not all that are pending: to count them took a good
        // part of what there is of processors, which the bare publisher has to itself.
        let published: bool = sqlx::query_scalar(
            "SELECT published_at IS NOT NULL AND NOT EXISTS (
                        SELECT FROM notifications.outbox_events WHERE published_at IS NULL)
               FROM notifications.outbox_events WHERE event_id = $1",
        )
        .bind(&last)
        .fetch_one(&stack.database)
        .await?;
        let took = began.elapsed();
        if published {
            return Ok(as_f64(THROUGHPUT_EVENTS.into()) / took.as_secs_f64());
        }
        if took > TIMEOUT {
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
