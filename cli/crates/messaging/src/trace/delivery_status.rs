//! The delivery status of each event in each queue.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use dm_contracts::topology;
use sqlx::QueryBuilder;

use super::{DeliveryStatus, EventDelivery, TraceContext, TracedEvent};
use crate::MessagingError;
use crate::dead_letters::{self, DeadLetter, browse, parking};
use crate::outbox::OutboxRow;

/// Loads the deliveries of each event to each queue.
pub(super) async fn load_deliveries(
    context: TraceContext<'_>,
    rows: Vec<OutboxRow>,
) -> Result<Vec<TracedEvent>, MessagingError> {
    let ids: Vec<String> = rows.iter().map(|row| row.event_id.clone()).collect();
    let mut query = QueryBuilder::new("");
    for (index, tables) in context.service_tables.iter().enumerate() {
        if index > 0 {
            query.push(" UNION ALL ");
        }
        query
            .push(format!(
                "SELECT queue, event_id, processed_at FROM {} WHERE event_id = ANY(",
                tables.qualified_table("inbox_events")
            ))
            .push_bind(ids.clone())
            .push(")");
    }
    let processed: Vec<(String, String, DateTime<Utc>)> =
        query.build_query_as().fetch_all(context.database).await?;
    let processed: HashMap<(String, String), DateTime<Utc>> = processed
        .into_iter()
        .map(|(queue, id, processed_at)| ((queue, id), processed_at))
        .collect();
    let mut events: Vec<TracedEvent> = rows
        .into_iter()
        .map(|row| TracedEvent {
            deliveries: topology::queues_for(&row.routing_key)
                .map(|queue| {
                    let key = (queue.name.to_owned(), row.event_id.clone());
                    let processed_at = processed.get(&key).copied();
                    let status = match (processed_at, row.published_at, queue.consumer) {
                        (Some(_), ..) => DeliveryStatus::Processed,
                        (None, None, _) => DeliveryStatus::Unpublished,
                        (None, Some(_), None) => DeliveryStatus::HandedOver,
                        (None, Some(_), Some(_)) => DeliveryStatus::Waiting,
                    };
                    EventDelivery {
                        queue: queue.name,
                        consumer: queue.consumer,
                        status,
                        status_at: processed_at,
                        reason: None,
                        error: None,
                        caused: Vec::new(),
                    }
                })
                .collect(),
            row,
        })
        .collect();
    mark_dead_letters(context, &mut events).await?;
    Ok(events)
}

/// Marks unprocessed events that are dead-lettered or parked.
async fn mark_dead_letters(
    context: TraceContext<'_>,
    events: &mut [TracedEvent],
) -> Result<(), MessagingError> {
    let is_unprocessed =
        |status| matches!(status, DeliveryStatus::Waiting | DeliveryStatus::HandedOver);
    let (mut ids, mut queues) = (HashSet::new(), BTreeSet::new());
    for event in events.iter() {
        let deliveries = event.deliveries.iter();
        for delivery in deliveries.filter(|delivery| is_unprocessed(delivery.status)) {
            ids.insert(event.row.event_id.clone());
            queues.insert(delivery.queue);
        }
    }
    if ids.is_empty() {
        return Ok(());
    }
    let queues: Vec<&'static str> = queues.into_iter().collect();
    let filter = dead_letters::DeadLetterFilter {
        ids: ids.into_iter().collect(),
        ..dead_letters::DeadLetterFilter::default()
    };
    let mut letters: HashMap<(String, String), DeadLetter> = HashMap::new();
    if let Some(connection) = context.connection {
        browse::for_each_letter(connection, &queues, &filter, |letter| {
            if let Some(id) = letter.id.clone() {
                letters.insert((letter.queue.clone(), id), letter);
            }
        })
        .await?;
    }
    let parked = parking::list(context.database).await?;
    for event in events {
        let deliveries = event.deliveries.iter_mut();
        for delivery in deliveries.filter(|delivery| is_unprocessed(delivery.status)) {
            let key = (delivery.queue.to_owned(), event.row.event_id.clone());
            if let Some(letter) = letters.remove(&key) {
                delivery.status = DeliveryStatus::DeadLettered;
                delivery.status_at = letter.failed_at;
                delivery.reason = Some(letter.reason);
                delivery.error = letter.error;
            } else if let Some(letter) = parked.iter().find(|letter| {
                letter.queue == key.0 && letter.event_id.as_deref() == Some(key.1.as_str())
            }) {
                delivery.status = DeliveryStatus::Parked;
                delivery.status_at = Some(letter.parked_at);
                delivery.reason = Some(letter.reason.clone());
                delivery.error = Some(letter.note.clone());
            } else if context.connection.is_none() && delivery.status == DeliveryStatus::Waiting {
                delivery.status = DeliveryStatus::Unknown;
            }
        }
    }
    Ok(())
}
