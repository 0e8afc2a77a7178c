//! How each work queue stands, with the pace of its consumer.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use dm_contracts::topology::WorkQueue;
use lapin::Connection;
use serde::Serialize;
use sqlx::{FromRow, PgPool, QueryBuilder};

use crate::MessagingError;
use crate::queues::{self, QueueDepth};
use crate::service_tables::ServiceTables;

/// How a work queue stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InboxStats {
    /// What the broker tells.
    #[serde(flatten)]
    pub depth: QueueDepth,
    /// How many events of it were handled in the last minute; of nobody's queue that is
    /// not known.
    pub last_minute: Option<i64>,
    /// When the last one was.
    pub latest: Option<DateTime<Utc>>,
}

/// What is still fine. What is missing is not looked at.
#[derive(Debug, Clone, Copy, Default)]
pub struct InboxThresholds {
    /// So many that wait in one queue.
    pub ready: Option<u32>,
    /// So many that are to be tried again.
    pub retrying: Option<u32>,
    /// So many that were set aside.
    pub dead: Option<u32>,
}

impl InboxStats {
    /// What of it is beyond the limits, in words.
    #[must_use]
    pub fn describe_exceeded(&self, thresholds: &InboxThresholds) -> Vec<String> {
        let QueueDepth {
            queue,
            ready,
            retrying,
            dead,
            ..
        } = self.depth;
        [
            (ready, thresholds.ready, "ready"),
            (retrying, thresholds.retrying, "waiting for a retry"),
            (dead, thresholds.dead, "dead-lettered"),
        ]
        .into_iter()
        .filter(|(count, most, _)| most.is_some_and(|most| *count > most))
        .map(|(count, _, what)| format!("{queue}: {count} {what}"))
        .collect()
    }
}

/// How each of these queues stands.
///
/// # Errors
/// The broker or the database is away.
pub async fn load_stats(
    connection: &Connection,
    database: &PgPool,
    service_tables: &[ServiceTables],
    queues: &[WorkQueue],
) -> Result<Vec<InboxStats>, MessagingError> {
    #[derive(FromRow)]
    struct ProcessingRate {
        queue: String,
        last_minute: i64,
        latest: Option<DateTime<Utc>>,
    }
    let mut query = QueryBuilder::new("");
    let consumed = service_tables
        .iter()
        .filter(|store| store.work_queue.is_some());
    for (at, store) in consumed.enumerate() {
        if at > 0 {
            query.push(" UNION ALL ");
        }
        let table = store.qualified_table("inbox_events");
        query.push(format!(
            "SELECT '{}' AS queue,
                    (SELECT count(*) FROM {table}
                      WHERE processed_at > now() - interval '1 minute') AS last_minute,
                    (SELECT max(processed_at) FROM {table}) AS latest",
            store.work_queue.unwrap_or_default()
        ));
    }
    let paces: Vec<ProcessingRate> = query.build_query_as().fetch_all(database).await?;
    let mut paces: BTreeMap<String, ProcessingRate> = paces
        .into_iter()
        .map(|pace| (pace.queue.clone(), pace))
        .collect();
    let depths = queues::load_depths(connection, queues).await?;
    Ok(depths
        .into_iter()
        .map(|depth| {
            let pace = paces.remove(depth.queue);
            InboxStats {
                last_minute: pace.as_ref().map(|pace| pace.last_minute),
                latest: pace.and_then(|pace| pace.latest),
                depth,
            }
        })
        .collect())
}

/// What the tests of other crates show.
#[cfg(any(test, feature = "examples"))]
#[allow(clippy::unwrap_used, missing_docs, reason = "tests alone use it")]
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
                dead: 1,
            },
            last_minute: Some(120),
            latest: dm_contracts::time::parse("2026-02-03T10:00:00Z"),
        }
    }
}

#[cfg(test)]
mod tests {

    use super::examples::inbox_stats;
    use super::*;

    #[test]
    fn only_what_is_beyond_a_limit_is_told() {
        let told = |ready, retrying, dead| {
            inbox_stats().describe_exceeded(&InboxThresholds {
                ready,
                retrying,
                dead,
            })
        };
        assert!(told(None, None, None).is_empty());
        assert!(told(Some(3), Some(2), Some(1)).is_empty());
        assert_eq!(
            told(Some(2), None, Some(0)),
            [
                "inventory.order-events.q: 3 ready",
                "inventory.order-events.q: 1 dead-lettered"
            ]
        );
    }
}
