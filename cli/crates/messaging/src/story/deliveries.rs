//! How far each event is on its way to each queue.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use dm_contracts::topology;
use sqlx::QueryBuilder;

use super::{Delivery, Event, Fate, Site};
use crate::MessagingError;
use crate::dead::{self, DeadLetter, look, parked};
use crate::outbox::Row;

/// Adds how far each is on its way to each queue.
pub(super) async fn with_deliveries(
    site: Site<'_>,
    rows: Vec<Row>,
) -> Result<Vec<Event>, MessagingError> {
    let ids: Vec<String> = rows.iter().map(|row| row.event_id.clone()).collect();
    let mut query = QueryBuilder::new("");
    for (at, store) in site.stores.iter().enumerate() {
        if at > 0 {
            query.push(" UNION ALL ");
        }
        query
            .push(format!(
                "SELECT queue, event_id, processed_at FROM {} WHERE event_id = ANY(",
                store.table("inbox_events")
            ))
            .push_bind(ids.clone())
            .push(")");
    }
    let handled: Vec<(String, String, DateTime<Utc>)> =
        query.build_query_as().fetch_all(site.database).await?;
    let handled: HashMap<(String, String), DateTime<Utc>> = handled
        .into_iter()
        .map(|(queue, id, at)| ((queue, id), at))
        .collect();
    let mut events: Vec<Event> = rows
        .into_iter()
        .map(|row| Event {
            deliveries: topology::queues_for(&row.routing_key)
                .map(|queue| {
                    let key = (queue.name.to_owned(), row.event_id.clone());
                    let at = handled.get(&key).copied();
                    let fate = match (at, row.published_at, queue.consumer) {
                        (Some(_), ..) => Fate::Consumed,
                        (None, None, _) => Fate::Unpublished,
                        (None, Some(_), None) => Fate::HandedOver,
                        (None, Some(_), Some(_)) => Fate::Waiting,
                    };
                    Delivery {
                        queue: queue.name,
                        consumer: queue.consumer,
                        fate,
                        at,
                        reason: None,
                        error: None,
                        caused: Vec::new(),
                    }
                })
                .collect(),
            row,
        })
        .collect();
    set_aside(site, &mut events).await?;
    Ok(events)
}

/// Looks among the dead letters for those that nobody has handled.
async fn set_aside(site: Site<'_>, events: &mut [Event]) -> Result<(), MessagingError> {
    let open = |fate| matches!(fate, Fate::Waiting | Fate::HandedOver);
    let (mut ids, mut queues) = (HashSet::new(), BTreeSet::new());
    for event in events.iter() {
        for delivery in event.deliveries.iter().filter(|it| open(it.fate)) {
            ids.insert(event.row.event_id.clone());
            queues.insert(delivery.queue);
        }
    }
    if ids.is_empty() {
        return Ok(());
    }
    let queues: Vec<&'static str> = queues.into_iter().collect();
    let filter = dead::Filter {
        ids: ids.into_iter().collect(),
        ..dead::Filter::default()
    };
    let mut letters: HashMap<(String, String), DeadLetter> = HashMap::new();
    if let Some(connection) = site.connection {
        look::each(connection, &queues, &filter, |letter| {
            if let Some(id) = letter.id.clone() {
                letters.insert((letter.queue.clone(), id), letter);
            }
        })
        .await?;
    }
    let parked = parked::list(site.database).await?;
    for event in events {
        for delivery in event.deliveries.iter_mut().filter(|it| open(it.fate)) {
            let key = (delivery.queue.to_owned(), event.row.event_id.clone());
            if let Some(letter) = letters.remove(&key) {
                delivery.fate = Fate::Dead;
                delivery.at = letter.failed_at;
                delivery.reason = Some(letter.reason);
                delivery.error = letter.error;
            } else if let Some(letter) = parked.iter().find(|letter| {
                letter.queue == key.0 && letter.event_id.as_deref() == Some(key.1.as_str())
            }) {
                delivery.fate = Fate::Parked;
                delivery.at = Some(letter.parked_at);
                delivery.reason = Some(letter.reason.clone());
                delivery.error = Some(letter.note.clone());
            } else if site.connection.is_none() && delivery.fate == Fate::Waiting {
                delivery.fate = Fate::Unknown;
            }
        }
    }
    Ok(())
}
