//! The depth and the processing rate of each event queue.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use dm_contracts::topology::EventQueue;
use lapin::Connection;
use serde::Serialize;
use sqlx::{FromRow, PgPool, QueryBuilder};

use crate::MessagingError;
use crate::queues::{self, QueueDepth};
use crate::service_tables::ServiceTables;

/// The depth and the processing rate of an event queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InboxStats {
    /// The depth, from the broker.
    #[serde(flatten)]
    pub depth: QueueDepth,
    /// The number of events that were processed in the last minute. `None` if no service
    /// consumes the queue.
    pub processed_last_minute: Option<i64>,
    /// The instant at which the last event was processed.
    pub last_processed_at: Option<DateTime<Utc>>,
}

/// The maximum values of an event queue. `None` is not checked.
#[derive(Debug, Clone, Copy, Default)]
pub struct InboxThresholds {
    /// The maximum number of ready messages in one queue.
    pub ready: Option<u32>,
    /// The maximum number of messages that wait for a retry.
    pub retrying: Option<u32>,
    /// The maximum number of dead-lettered messages.
    pub dead_lettered: Option<u32>,
}

impl InboxStats {
    /// Returns a description of each exceeded threshold.
    #[must_use]
    pub fn describe_exceeded(&self, thresholds: &InboxThresholds) -> Vec<String> {
        let QueueDepth {
            queue,
            ready,
            retrying,
            dead_lettered,
            ..
        } = self.depth;
        [
            (ready, thresholds.ready, "ready"),
            (retrying, thresholds.retrying, "waiting for a retry"),
            (dead_lettered, thresholds.dead_lettered, "dead-lettered"),
        ]
        .into_iter()
        .filter(|(count, max, _)| max.is_some_and(|max| *count > max))
        .map(|(count, _, label)| format!("{queue}: {count} {label}"))
        .collect()
    }
}

/// Returns the depth and the processing rate of each of these queues.
///
/// # Errors
/// Returns [`MessagingError`] if the broker or the database cannot be reached.
pub async fn load_stats(
    connection: &Connection,
    database: &PgPool,
    service_tables: &[ServiceTables],
    queues: &[EventQueue],
) -> Result<Vec<InboxStats>, MessagingError> {
    #[derive(FromRow)]
    struct ProcessingRate {
        queue: String,
        processed_last_minute: i64,
        last_processed_at: Option<DateTime<Utc>>,
    }
    let mut query = QueryBuilder::new("");
    let consumers = service_tables
        .iter()
        .filter(|tables| tables.work_queue.is_some());
    for (index, tables) in consumers.enumerate() {
        if index > 0 {
            query.push(" UNION ALL ");
        }
        let table = tables.qualified_table("inbox_events");
        query.push(format!(
            "SELECT '{}' AS queue,
                    (SELECT count(*) FROM {table}
                      WHERE processed_at > now() - interval '1 minute') AS processed_last_minute,
                    (SELECT max(processed_at) FROM {table}) AS last_processed_at",
            tables.work_queue.unwrap_or_default()
        ));
    }
    let rates: Vec<ProcessingRate> = query.build_query_as().fetch_all(database).await?;
    let mut rates: BTreeMap<String, ProcessingRate> = rates
        .into_iter()
        .map(|rate| (rate.queue.clone(), rate))
        .collect();
    let depths = queues::load_depths(connection, queues).await?;
    Ok(depths
        .into_iter()
        .map(|depth| {
            let rate = rates.remove(depth.queue);
            InboxStats {
                processed_last_minute: rate.as_ref().map(|rate| rate.processed_last_minute),
                last_processed_at: rate.and_then(|rate| rate.last_processed_at),
                depth,
            }
        })
        .collect())
}

/// Examples for the tests of other crates.
#[cfg(any(test, feature = "examples"))]
#[allow(clippy::unwrap_used, missing_docs, reason = "only tests use it")]
pub mod examples {
    use dm_contracts::topology::INVENTORY_QUEUE;

    use super::*;

    #[must_use]
    pub fn inbox_stats() -> InboxStats {
        InboxStats {
            depth: QueueDepth {
                queue: INVENTORY_QUEUE,
                consumer: Some("inventory-service"),
                consumers: 1,
                ready: 3,
                retrying: 2,
                dead_lettered: 1,
            },
            processed_last_minute: Some(120),
            last_processed_at: dm_contracts::time::parse("2026-02-03T10:00:00Z"),
        }
    }
}

#[cfg(test)]
mod tests {

    use super::examples::inbox_stats;
    use super::*;

    #[test]
    fn describe_exceeded_names_only_exceeded_thresholds() {
        let exceeded = |ready, retrying, dead_lettered| {
            inbox_stats().describe_exceeded(&InboxThresholds {
                ready,
                retrying,
                dead_lettered,
            })
        };
        assert!(exceeded(None, None, None).is_empty());
        assert!(exceeded(Some(3), Some(2), Some(1)).is_empty());
        assert_eq!(
            exceeded(Some(2), None, Some(0)),
            [
                "inventory.order-events.q: 3 ready",
                "inventory.order-events.q: 1 dead-lettered"
            ]
        );
    }
}
