//! Removes expired rows, in small batches.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgPool;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::database::sql_state;

/// Maximum number of rows per transaction, which keeps locks and write-ahead log small.
const BATCH_SIZE: i64 = 5_000;

/// Interval between two runs.
const INTERVAL: Duration = Duration::from_secs(3600);

/// Delay of the first run after the start.
const INITIAL_DELAY: Duration = Duration::from_secs(20);

/// Retention of the rows of a table.
#[derive(Debug, Clone)]
pub struct RetentionRule {
    /// The table.
    pub table: &'static str,
    /// The column with the time at which retention begins. Rows with null are kept.
    pub timestamp_column: &'static str,
    /// The retention period.
    pub retention: Duration,
    /// The tombstone that replaces a removed row.
    pub tombstone: Option<Tombstone>,
}

/// The tombstone of a removed row: the value of one column, in a table whose key is a column
/// with the same name.
#[derive(Debug, Clone, Copy)]
pub struct Tombstone {
    /// The table of the tombstones.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
}

/// Applies the rules periodically until the service stops.
pub async fn run(pool: PgPool, rules: Vec<RetentionRule>, stop: CancellationToken) {
    let mut pause = INITIAL_DELAY;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        for rule in &rules {
            match rule.apply(&pool, &stop).await {
                Ok(0) => {}
                Ok(rows) => info!(
                    db.collection.name = rule.table,
                    deleted_rows = rows,
                    "expired rows removed"
                ),
                Err(error) => warn!(
                    db.collection.name = rule.table,
                    db.response.status_code = sql_state(&error).as_deref(),
                    error.message = %error,
                    "could not remove expired rows"
                ),
            }
        }
        pause = INTERVAL;
    }
}

impl RetentionRule {
    /// Removes the expired rows and returns their number.
    ///
    /// # Errors
    /// Returns [`sqlx::Error`] if a statement fails. Batches that were removed before stay removed.
    pub(crate) async fn apply(
        &self,
        pool: &PgPool,
        stop: &CancellationToken,
    ) -> Result<u64, sqlx::Error> {
        let statement = self.delete_statement();
        let mut removed = 0;
        while !stop.is_cancelled() {
            let rows: i64 = sqlx::query_scalar(AssertSqlSafe(statement.clone()))
                .bind(self.retention.as_secs_f64())
                .bind(BATCH_SIZE)
                .fetch_one(pool)
                .await?;
            removed += rows.unsigned_abs();
            if rows < BATCH_SIZE {
                break;
            }
        }
        Ok(removed)
    }

    /// Returns the statement that removes a batch and returns its number of rows. The same
    /// statement writes the tombstones, so that both become visible together.
    fn delete_statement(&self) -> String {
        // All names are constants of the service.
        let Self {
            table,
            timestamp_column,
            ..
        } = self;
        let column = self.tombstone.map_or("1", |tombstone| tombstone.column);
        let insert = self.tombstone.map_or_else(String::new, |tombstone| {
            let Tombstone { table, column } = tombstone;
            format!(
                ", kept AS (INSERT INTO {table} ({column}) SELECT {column} FROM gone
                            ON CONFLICT DO NOTHING)"
            )
        });
        format!(
            "WITH gone AS (
                 DELETE FROM {table} WHERE ctid = ANY(ARRAY(
                     SELECT ctid FROM {table}
                      WHERE {timestamp_column} < now() - $1 * interval '1 second'
                      LIMIT $2))
                 RETURNING {column}){insert}
             SELECT count(*) FROM gone"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tombstone_is_inserted_by_the_deleting_statement() {
        let rule = |tombstone| RetentionRule {
            table: "outbox_events",
            timestamp_column: "published_at",
            retention: Duration::from_secs(1),
            tombstone,
        };
        let plain = rule(None).delete_statement();
        assert!(plain.contains("RETURNING 1)"), "{plain}");
        assert!(!plain.contains("INSERT"), "{plain}");
        let tombstone = Tombstone {
            table: "forgotten_events",
            column: "event_id",
        };
        let both = rule(Some(tombstone)).delete_statement();
        assert!(both.contains("DELETE FROM outbox_events"), "{both}");
        let insert = "INSERT INTO forgotten_events (event_id) SELECT event_id FROM gone";
        assert!(both.contains(insert), "{both}");
    }
}
