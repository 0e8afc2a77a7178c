//! Rows that are old enough go, in small portions.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgPool;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How many rows go in one transaction: locks and the write-ahead log stay small.
const PORTION: i64 = 5_000;

/// How often to look.
const INTERVAL: Duration = Duration::from_secs(3600);

/// How soon after the start to look first.
const FIRST: Duration = Duration::from_secs(20);

/// Which rows of a table go, and when.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The table.
    pub table: &'static str,
    /// The column with the instant from which the time counts; rows where it is
    /// null stay.
    pub since: &'static str,
    /// How long they are kept after it.
    pub keep: Duration,
}

/// Applies the rules now and then until asked to stop.
pub(crate) async fn run(pool: PgPool, rules: Vec<Rule>, stop: CancellationToken) {
    let mut pause = FIRST;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        for rule in &rules {
            match rule.apply(&pool, &stop).await {
                Ok(0) => {}
                Ok(rows) => info!(table = rule.table, rows, "old rows removed"),
                Err(error) => warn!(table = rule.table, %error, "old rows stay for now"),
            }
        }
        pause = INTERVAL;
    }
}

impl Rule {
    /// Removes the rows that are due. Answers how many.
    ///
    /// # Errors
    /// Where the database refuses; what was removed before stays removed.
    pub async fn apply(&self, pool: &PgPool, stop: &CancellationToken) -> Result<u64, sqlx::Error> {
        let Self { table, since, .. } = self;
        // Both names are the service's own words.
        let statement = format!(
            "DELETE FROM {table} WHERE ctid = ANY(ARRAY(
                 SELECT ctid FROM {table}
                  WHERE {since} < now() - $1 * interval '1 second'
                  LIMIT $2))"
        );
        let mut removed = 0;
        while !stop.is_cancelled() {
            let rows = sqlx::query(AssertSqlSafe(statement.clone()))
                .bind(self.keep.as_secs_f64())
                .bind(PORTION)
                .execute(pool)
                .await?
                .rows_affected();
            removed += rows;
            if rows < PORTION.unsigned_abs() {
                break;
            }
        }
        Ok(removed)
    }
}
