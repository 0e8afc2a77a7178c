//! How the outboxes stand.

use std::time::Duration;

use chrono::{DateTime, Utc};
use dm_components::database_setup::service_role;
use dm_config::values::format_exact_duration;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use sqlx::{FromRow, PgPool, QueryBuilder};

use crate::MessagingError;
use crate::service_tables::ServiceTables;

/// How an outbox stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct OutboxDepth {
    /// The service.
    pub service: String,
    /// How many events wait for the relay.
    pub pending: i64,
    /// How many are kept back on purpose.
    pub held: i64,
    /// How many the broker refused.
    pub refused: i64,
    /// Since when the oldest of those waits that are not kept back.
    pub oldest: Option<DateTime<Utc>>,
    /// How many were published in the last minute.
    pub last_minute: i64,
    /// What the broker said of the last one that it refused.
    pub last_error: Option<String>,
    /// The session that holds the relay's lock without being its relay: no event is published
    /// while it does.
    pub blocked_by: Option<Json<RelayLockHolder>>,
}

/// A session with the database that holds a relay's lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayLockHolder {
    /// The process of its server.
    pub pid: i32,
    /// As whom it is signed in.
    pub role: Option<String>,
    /// What it calls itself.
    pub application: Option<String>,
}

impl OutboxDepth {
    /// That nothing is relayed, and who is why.
    #[must_use]
    pub fn describe_blocked_relay(&self) -> Option<String> {
        let Json(RelayLockHolder {
            pid,
            role,
            application,
        }) = self.blocked_by.as_ref()?;
        let told = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".into());
        Some(format!(
            "{}: the outbox is not relayed: a session that is not a relay holds the lock \
             (pid {pid}, role {}, application {}); pg_terminate_backend({pid}) ends it",
            self.service,
            told(role),
            told(application)
        ))
    }
}

/// What is still fine. What is missing is not looked at.
#[derive(Debug, Clone, Copy, Default)]
pub struct OutboxThresholds {
    /// So many that wait in one outbox.
    pub pending: Option<u64>,
    /// So many refused in one outbox.
    pub refused: Option<u64>,
    /// So long a wait.
    pub age: Option<Duration>,
}

impl OutboxDepth {
    /// What of it is beyond the limits, in words; a relay that is kept from its work always is.
    #[must_use]
    pub fn describe_exceeded(
        &self,
        thresholds: &OutboxThresholds,
        now: DateTime<Utc>,
    ) -> Vec<String> {
        let more =
            |count: i64, most: Option<u64>| most.is_some_and(|most| count.unsigned_abs() > most);
        let mut found: Vec<String> = self.describe_blocked_relay().into_iter().collect();
        if more(self.pending, thresholds.pending) {
            found.push(format!(
                "{}: {} events wait for the relay",
                self.service, self.pending
            ));
        }
        if more(self.refused, thresholds.refused) {
            found.push(format!(
                "{}: {} events were refused",
                self.service, self.refused
            ));
        }
        let age = self.oldest.and_then(|at| (now - at).to_std().ok());
        if let (Some(age), Some(most)) = (age, thresholds.age)
            && age > most
        {
            let age = format_exact_duration(Duration::from_secs(age.as_secs()));
            found.push(format!(
                "{}: the oldest event has waited for {age}",
                self.service
            ));
        }
        found
    }
}

/// How each outbox stands, from one snapshot.
///
/// # Errors
/// The database is away.
pub async fn load_depths(
    database: &PgPool,
    service_tables: &[ServiceTables],
) -> Result<Vec<OutboxDepth>, MessagingError> {
    let mut query = QueryBuilder::new("");
    for (at, store) in service_tables.iter().enumerate() {
        if at > 0 {
            query.push(" UNION ALL ");
        }
        let table = store.qualified_table("outbox_events");
        query.push(format!(
            "SELECT '{}' AS service, waiting.*,
                    (SELECT count(*) FROM {table}
                      WHERE published_at > now() - interval '1 minute') AS last_minute,
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
                                AS oldest
                       FROM (SELECT last_error, created_at,
                                    coalesce(not_before > now(), false) AS held
                               FROM {table} WHERE published_at IS NULL) AS event) AS waiting",
            store.service,
            schema = store.schema,
            role = service_role(&store.service),
        ));
    }
    Ok(query.build_query_as().fetch_all(database).await?)
}

/// What the tests of other crates show.
#[cfg(any(test, feature = "examples"))]
#[allow(clippy::unwrap_used, missing_docs, reason = "tests alone use it")]
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
            oldest: (pending + refused > 0)
                .then(|| time::parse("2026-02-03T10:00:00Z"))
                .flatten(),
            last_minute: 120,
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
    fn who_keeps_a_relay_from_its_work_is_always_told() {
        let now = time::parse("2026-02-03T10:02:00Z").unwrap();
        let told =
            blocked_outbox_depth("order").describe_exceeded(&OutboxThresholds::default(), now);
        assert_eq!(told.len(), 1, "{told:?}");
        for word in [
            "order: ",
            "pid 4711",
            "role sales_service",
            "application unknown",
        ] {
            assert!(told[0].contains(word), "{told:?}");
        }
    }

    #[test]
    fn only_what_is_beyond_a_limit_is_told() {
        let now = time::parse("2026-02-03T10:02:00Z").unwrap();
        let limits = |pending, refused, age| OutboxThresholds {
            pending,
            refused,
            age,
        };
        let told =
            |limits: OutboxThresholds| outbox_depth("order", 5, 2).describe_exceeded(&limits, now);
        assert!(told(OutboxThresholds::default()).is_empty());
        assert!(told(limits(Some(5), Some(2), Some(Duration::from_secs(120)))).is_empty());
        assert_eq!(
            told(limits(Some(4), Some(0), Some(Duration::from_secs(119)))),
            [
                "order: 5 events wait for the relay",
                "order: 2 events were refused",
                "order: the oldest event has waited for 2 min"
            ]
        );
    }
}
