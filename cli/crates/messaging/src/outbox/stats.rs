//! Backlog, age and publish rate of the outboxes.

use std::time::Duration;

use chrono::{DateTime, Utc};
use dm_components::database_setup::service_role;
use dm_config::values::format_exact_duration;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use sqlx::{FromRow, PgPool, QueryBuilder};

use crate::MessagingError;
use crate::service_tables::ServiceTables;

/// Backlog, age and publish rate of an outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct OutboxDepth {
    /// The service.
    pub service: String,
    /// The number of events that wait for the relay.
    pub pending: i64,
    /// The number of events that are held on purpose.
    pub held: i64,
    /// The number of events that the broker refused.
    pub refused: i64,
    /// The instant at which the oldest unpublished event was written that is not held.
    pub oldest_created_at: Option<DateTime<Utc>>,
    /// The number of events that were published in the last minute.
    pub published_last_minute: i64,
    /// The error of the last event that the broker refused.
    pub last_error: Option<String>,
    /// The session that holds the lock of the relay without being a relay. No event is published
    /// meanwhile.
    pub blocked_by: Option<Json<RelayLockHolder>>,
}

/// A database session that holds the lock of a relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayLockHolder {
    /// The server process id of the session.
    pub pid: i32,
    /// The role of the session.
    pub role: Option<String>,
    /// The application name of the session.
    pub application: Option<String>,
}

impl OutboxDepth {
    /// Describes the session that blocks the relay, if there is one.
    #[must_use]
    pub fn describe_blocked_relay(&self) -> Option<String> {
        let Json(RelayLockHolder {
            pid,
            role,
            application,
        }) = self.blocked_by.as_ref()?;
        let or_unknown = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".into());
        Some(format!(
            "{}: the outbox is not relayed: a session that is not a relay holds the lock \
             (pid {pid}, role {}, application {}); pg_terminate_backend({pid}) ends it",
            self.service,
            or_unknown(role),
            or_unknown(application)
        ))
    }
}

/// The maximum values of an outbox. `None` is not checked.
#[derive(Debug, Clone, Copy, Default)]
pub struct OutboxThresholds {
    /// The maximum number of pending events in one outbox.
    pub pending: Option<u64>,
    /// The maximum number of refused events in one outbox.
    pub refused: Option<u64>,
    /// The maximum age of the oldest unpublished event.
    pub age: Option<Duration>,
}

impl OutboxDepth {
    /// Returns a description of each exceeded threshold. A blocked relay is always described.
    #[must_use]
    pub fn describe_exceeded(
        &self,
        thresholds: &OutboxThresholds,
        now: DateTime<Utc>,
    ) -> Vec<String> {
        let exceeds =
            |count: i64, max: Option<u64>| max.is_some_and(|max| count.unsigned_abs() > max);
        let mut exceeded: Vec<String> = self.describe_blocked_relay().into_iter().collect();
        if exceeds(self.pending, thresholds.pending) {
            exceeded.push(format!(
                "{}: {} events wait for the relay",
                self.service, self.pending
            ));
        }
        if exceeds(self.refused, thresholds.refused) {
            exceeded.push(format!(
                "{}: {} events were refused",
                self.service, self.refused
            ));
        }
        let age = self
            .oldest_created_at
            .and_then(|created_at| (now - created_at).to_std().ok());
        if let (Some(age), Some(max)) = (age, thresholds.age)
            && age > max
        {
            let age = format_exact_duration(Duration::from_secs(age.as_secs()));
            exceeded.push(format!(
                "{}: the oldest event has waited for {age}",
                self.service
            ));
        }
        exceeded
    }
}

/// Returns the depth of each outbox, from one snapshot of the database.
///
/// # Errors
/// Returns [`MessagingError`] if the database cannot be reached.
pub async fn load_depths(
    database: &PgPool,
    service_tables: &[ServiceTables],
) -> Result<Vec<OutboxDepth>, MessagingError> {
    let mut query = QueryBuilder::new("");
    for (index, tables) in service_tables.iter().enumerate() {
        if index > 0 {
            query.push(" UNION ALL ");
        }
        let table = tables.qualified_table("outbox_events");
        query.push(format!(
            "SELECT '{}' AS service, waiting.*,
                    (SELECT count(*) FROM {table}
                      WHERE published_at > now() - interval '1 minute') AS published_last_minute,
                    (SELECT last_error FROM {table}
                      WHERE published_at IS NULL AND last_error IS NOT NULL
                      ORDER BY sequence DESC LIMIT 1) AS last_error,
                    (SELECT jsonb_build_object('pid', lock.pid, 'role', activity.usename,
                                               'application', activity.application_name)
                       FROM pg_locks AS lock LEFT JOIN pg_stat_activity AS activity USING (pid)
                      WHERE lock.locktype = 'advisory' AND lock.granted AND lock.objsubid = 2
                        AND lock.classid = hashtext('outbox')::oid
                        AND lock.objid = hashtext('{schema}')::oid
                        AND lock.database = (SELECT oid FROM pg_database
                                              WHERE datname = current_database())
                        AND activity.usename IS DISTINCT FROM '{role}'
                      LIMIT 1) AS blocked_by
               FROM (SELECT count(*) FILTER (WHERE last_error IS NULL AND NOT held) AS pending,
                            count(*) FILTER (WHERE last_error IS NULL AND held) AS held,
                            count(*) FILTER (WHERE last_error IS NOT NULL) AS refused,
                            min(created_at) FILTER (WHERE last_error IS NOT NULL OR NOT held)
                                AS oldest_created_at
                       FROM (SELECT last_error, created_at,
                                    coalesce(not_before > now(), false) AS held
                               FROM {table} WHERE published_at IS NULL) AS event) AS waiting",
            tables.service,
            schema = tables.schema,
            role = service_role(&tables.service),
        ));
    }
    Ok(query.build_query_as().fetch_all(database).await?)
}

/// Examples for the tests of other crates.
#[cfg(any(test, feature = "examples"))]
#[allow(clippy::unwrap_used, missing_docs, reason = "only tests use it")]
pub mod examples {
    use dm_contracts::time;

    use super::*;

    #[must_use]
    pub fn outbox_depth(service: &str, pending: i64, refused: i64) -> OutboxDepth {
        OutboxDepth {
            service: service.into(),
            pending,
            held: 1,
            refused,
            oldest_created_at: (pending + refused > 0)
                .then(|| time::parse("2026-02-03T10:00:00Z"))
                .flatten(),
            published_last_minute: 120,
            last_error: (refused > 0).then(|| "no queue is bound to its routing key".into()),
            blocked_by: None,
        }
    }

    #[must_use]
    pub fn blocked_outbox_depth(service: &str) -> OutboxDepth {
        OutboxDepth {
            blocked_by: Some(Json(RelayLockHolder {
                pid: 4711,
                role: Some("sales_service".into()),
                application: None,
            })),
            ..outbox_depth(service, 5, 0)
        }
    }
}

#[cfg(test)]
mod tests {
    use dm_contracts::time;

    use super::examples::{blocked_outbox_depth, outbox_depth};
    use super::*;

    #[test]
    fn describe_exceeded_always_names_the_session_that_blocks_the_relay() {
        let now = time::parse("2026-02-03T10:02:00Z").unwrap();
        let exceeded =
            blocked_outbox_depth("order").describe_exceeded(&OutboxThresholds::default(), now);
        assert_eq!(exceeded.len(), 1, "{exceeded:?}");
        for part in [
            "order: ",
            "pid 4711",
            "role sales_service",
            "application unknown",
        ] {
            assert!(exceeded[0].contains(part), "{exceeded:?}");
        }
    }

    #[test]
    fn describe_exceeded_names_only_exceeded_thresholds() {
        let now = time::parse("2026-02-03T10:02:00Z").unwrap();
        let thresholds = |pending, refused, age| OutboxThresholds {
            pending,
            refused,
            age,
        };
        let exceeded = |thresholds: OutboxThresholds| {
            outbox_depth("order", 5, 2).describe_exceeded(&thresholds, now)
        };
        assert!(exceeded(OutboxThresholds::default()).is_empty());
        assert!(exceeded(thresholds(Some(5), Some(2), Some(Duration::from_secs(120)))).is_empty());
        assert_eq!(
            exceeded(thresholds(Some(4), Some(0), Some(Duration::from_secs(119)))),
            [
                "order: 5 events wait for the relay",
                "order: 2 events were refused",
                "order: the oldest event has waited for 2 min"
            ]
        );
    }
}
