//! Rows that are old enough go, in small portions.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgPool;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How many rows go in one transaction: locks and the write-ahead log stay small.
const BATCH_SIZE: i64 = 5_000;

/// How often to look.
const INTERVAL: Duration = Duration::from_secs(3600);

/// How soon after the start to look first.
const INITIAL_DELAY: Duration = Duration::from_secs(20);

/// Which rows of a table go, and when.
#[derive(Debug, Clone)]
pub struct RetentionRule {
    /// The table.
    pub table: &'static str,
    /// The column with the instant from which the time counts; rows where it is
    /// null stay.
    pub timestamp_column: &'static str,
    /// How long they are kept after it.
    pub retention: Duration,
    /// What stays of them.
    pub tombstone: Option<Tombstone>,
}

/// What stays of rows that go: the value of one column, in a table with a column of the same
/// name that is its key.
#[derive(Debug, Clone, Copy)]
pub struct Tombstone {
    /// The table that it stays in.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
}

/// Applies the rules now and then until asked to stop.
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
                Ok(rows) => info!(table = rule.table, rows, "old rows removed"),
                Err(error) => warn!(table = rule.table, %error, "could not remove old rows"),
            }
        }
        pause = INTERVAL;
    }
}

impl RetentionRule {
    /// Removes the rows that are due. Answers how many.
    ///
    /// # Errors
    /// Where the database refuses; what was removed before stays removed.
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

    /// Removes a portion and answers how many rows it had. What stays of them is written by
    /// the same statement: nobody sees the one without the other.
    fn delete_statement(&self) -> String {
        // All names are the service's own words.
        let Self {
            table,
            timestamp_column: since,
            ..
        } = self;
        let column = self.tombstone.map_or("1", |rest| rest.column);
        let rest = self.tombstone.map_or_else(String::new, |rest| {
            let Tombstone { table, column } = rest;
            format!(
                ", kept AS (INSERT INTO {table} ({column}) SELECT {column} FROM gone
                            ON CONFLICT DO NOTHING)"
            )
        });
        format!(
            "WITH gone AS (
                 DELETE FROM {table} WHERE ctid = ANY(ARRAY(
                     SELECT ctid FROM {table}
                      WHERE {since} < now() - $1 * interval '1 second'
                      LIMIT $2))
                 RETURNING {column}){rest}
             SELECT count(*) FROM gone"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_is_written_by_the_statement_that_removes() {
        let rule = |rest| RetentionRule {
            table: "outbox_events",
            timestamp_column: "published_at",
            retention: Duration::from_secs(1),
            tombstone: rest,
        };
        let plain = rule(None).delete_statement();
        assert!(plain.contains("RETURNING 1)"), "{plain}");
        assert!(!plain.contains("INSERT"), "{plain}");
        let rest = Tombstone {
            table: "forgotten_events",
            column: "event_id",
        };
        let both = rule(Some(rest)).delete_statement();
        assert!(both.contains("DELETE FROM outbox_events"), "{both}");
        let kept = "INSERT INTO forgotten_events (event_id) SELECT event_id FROM gone";
        assert!(both.contains(kept), "{both}");
    }
}
