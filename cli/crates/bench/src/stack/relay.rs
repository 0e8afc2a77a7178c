//! From a commit to the broker: wuphf's relay, whose events go to a queue that no
//! service consumes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use dm_contracts::topology::{EVENTS, READ_MODEL_QUEUE};
use futures_util::StreamExt as _;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions,
    QueueDeclareOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection};

use super::load::count;
use super::{Figure, Stack, percentile};
use crate::error::BenchError;

/// What is published: the read model's queue is bound to it.
const ROUTING_KEY: &str = "notification.created.v1";
/// Events a second where the delay is measured.
const RATE: u32 = 200;
/// How many of them.
const EVENTS_AT_RATE: u32 = 800;
/// How many events where the rate is measured.
const EVENTS_AT_ONCE: u16 = 20_000;
/// How long a body is, in bytes.
const BODY: usize = 1_024;
/// How often the outbox is looked at: what takes seconds needs no finer measure, and
/// each look is work for the same processors.
const LOOK: Duration = Duration::from_millis(20);
/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// As AMQP counts: it survives a restart.
const PERSISTENT: u8 = 2;

/// A row of the outbox of its own aggregate, with what wakes the relay.
const INSERT: &str = "WITH written AS (
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
pub(super) async fn lag(stack: &Stack<'_>) -> Result<Vec<(Figure, f64)>, BenchError> {
    let (connection, channel) = channel(stack).await?;
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
            EVENTS.into(),
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
        while seen.len() < EVENTS_AT_RATE as usize {
            let delivery = tokio::time::timeout(PATIENCE, consumer.next()).await;
            let Ok(Some(delivery)) = delivery else {
                return Err(BenchError::Missing {
                    what: format!("{} of {EVENTS_AT_RATE} events arrived", seen.len()),
                    patience: PATIENCE,
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
        tokio::time::sleep_until(began + Duration::from_secs(1) * number / RATE).await;
        let id = format!("{run}-{number}");
        insert(stack, &id, 1).await?;
        Ok::<_, BenchError>((format!("{id}-1"), Instant::now()))
    };
    let writing = futures_util::future::try_join_all((0..EVENTS_AT_RATE).map(write));
    let (written, seen) = tokio::try_join!(writing, receive)?;
    connection.close(200, "done".into()).await?;
    let mut took: Vec<f64> = written
        .iter()
        .filter_map(|(id, at)| Some(seen.get(id)?.saturating_duration_since(*at).as_secs_f64()))
        .collect();
    Ok(vec![
        (Figure::RelayMedian, percentile(&mut took, 50.0)),
        (Figure::RelaySlowest, percentile(&mut took, 99.0)),
    ])
}

/// The rate of the relay, as a share of what a publisher reaches that has nothing to
/// read and nothing to mark.
pub(super) async fn throughput(stack: &Stack<'_>) -> Result<Vec<(Figure, f64)>, BenchError> {
    let (connection, channel) = channel(stack).await?;
    let purge = async || {
        let options = QueuePurgeOptions::default();
        channel.queue_purge(READ_MODEL_QUEUE.into(), options).await
    };
    // Of earlier rounds nothing is left to be written or cleaned while this one lasts.
    sqlx::query("DELETE FROM notifications.outbox_events WHERE subject LIKE 'bench/%'")
        .execute(&stack.database)
        .await?;
    stack.vacuum("notifications.outbox_events").await?;
    purge().await?;
    let bare = bare(&channel).await?;
    purge().await?;
    let relayed = relayed(stack).await?;
    purge().await?;
    connection.close(200, "done".into()).await?;
    Ok(vec![(Figure::RelayRate, relayed / bare)])
}

/// The rate of the relay by itself, with what is in its table.
pub(super) async fn rate(stack: &Stack<'_>) -> Result<f64, BenchError> {
    let (connection, channel) = channel(stack).await?;
    let relayed = relayed(stack).await?;
    let options = QueuePurgeOptions::default();
    channel
        .queue_purge(READ_MODEL_QUEUE.into(), options)
        .await?;
    connection.close(200, "done".into()).await?;
    Ok(relayed)
}

/// Events a second by a publisher that sends all of them and then takes the confirms.
async fn bare(channel: &Channel) -> Result<f64, BenchError> {
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let body = vec![b'x'; BODY];
    let began = Instant::now();
    let mut confirms = Vec::new();
    for number in 0..EVENTS_AT_ONCE {
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let properties = BasicProperties::default()
            .with_message_id(format!("bare-{number}").into())
            .with_delivery_mode(PERSISTENT);
        let confirm = channel
            .basic_publish(
                EVENTS.into(),
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
            return Err(BenchError::Request {
                request: format!("publishing to {EVENTS}"),
                what: "RabbitMQ did not confirm the message".into(),
            });
        }
    }
    Ok(f64::from(EVENTS_AT_ONCE) / began.elapsed().as_secs_f64())
}

/// Events a second from one commit until the outbox has marked the last of them.
async fn relayed(stack: &Stack<'_>) -> Result<f64, BenchError> {
    let run = uuid::Uuid::new_v4().simple().to_string();
    insert(stack, &run, EVENTS_AT_ONCE.into()).await?;
    let began = Instant::now();
    let last = format!("{run}-{EVENTS_AT_ONCE}");
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
            return Ok(count(EVENTS_AT_ONCE.into()) / took.as_secs_f64());
        }
        if took > PATIENCE {
            return Err(BenchError::Missing {
                what: format!("not all of {EVENTS_AT_ONCE} events left the outbox"),
                patience: PATIENCE,
            });
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn insert(stack: &Stack<'_>, id: &str, events: i32) -> Result<(), BenchError> {
    sqlx::query(INSERT)
        .bind(id)
        .bind(ROUTING_KEY)
        .bind(i32::try_from(BODY).unwrap_or(i32::MAX))
        .bind(events)
        .execute(&stack.database)
        .await?;
    Ok(())
}

async fn channel(stack: &Stack<'_>) -> Result<(Connection, Channel), BenchError> {
    let connection = dm_amqp::connect(&stack.broker, "dm bench").await?;
    let channel = connection.create_channel().await?;
    Ok((connection, channel))
}
