//! The consumers' records of their dead letters, and the resolutions of the letters.
//!
//! A consumer writes a record before it publishes the letter. `dm` records when a letter is
//! removed from the queue or returned to it, so that the records describe the contents of a
//! queue without reading it.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, FromRow, PgPool, Postgres, QueryBuilder};

use super::group::DeadLetterGroup;
use super::{DeadLetter, DeadLetterFilter, to_postgres_text};
use crate::MessagingError;
use crate::service_tables::ServiceTables;

/// The way in which a letter left its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// It was replayed.
    Replayed,
    /// It was parked.
    Parked,
    /// It was removed after an export to a file.
    Purged,
    /// It was not found in its queue.
    Gone,
}

impl Resolution {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Replayed => "replayed",
            Self::Parked => "parked",
            Self::Purged => "purged",
            Self::Gone => "gone",
        }
    }
}

/// The records of all consumers.
#[derive(Debug, Clone, Copy)]
pub struct FailureRecords<'a> {
    /// The database.
    pub database: &'a PgPool,
    /// The services' tables.
    pub service_tables: &'a [ServiceTables],
}

impl FailureRecords<'_> {
    /// Returns the table with the records of a queue. `None` for a queue without a consumer.
    fn table(&self, queue: &str) -> Option<String> {
        let tables = self
            .service_tables
            .iter()
            .find(|tables| tables.work_queue == Some(queue));
        tables.map(|tables| tables.qualified_table("failed_events"))
    }

    /// Returns the number of open records of a queue. `None` for a queue without a consumer.
    ///
    /// # Errors
    /// Returns [`MessagingError`] if the database cannot be reached.
    pub(crate) async fn count_open(&self, queue: &str) -> Result<Option<i64>, MessagingError> {
        let Some(table) = self.table(queue) else {
            return Ok(None);
        };
        let statement = format!(
            "SELECT count(*) FROM {table}
              WHERE queue = $1 AND dead AND resolved_at IS NULL AND published_at IS NOT NULL"
        );
        let count = sqlx::query_scalar(AssertSqlSafe(statement))
            .bind(queue)
            .fetch_one(self.database)
            .await?;
        Ok(Some(count))
    }

    /// Groups the open records of a queue by reason and type.
    ///
    /// # Errors
    /// Returns [`MessagingError`] if the database cannot be reached.
    pub(super) async fn group_open(
        &self,
        queue: &str,
        filter: &DeadLetterFilter,
    ) -> Result<Vec<DeadLetterGroup>, MessagingError> {
        #[derive(FromRow)]
        struct Row {
            reason: String,
            event_type: Option<String>,
            count: i64,
            oldest: DateTime<Utc>,
            latest: DateTime<Utc>,
        }
        let Some(table) = self.table(queue) else {
            return Ok(Vec::new());
        };
        let mut query = QueryBuilder::<Postgres>::new(format!(
            "SELECT reason, event_type, count(*), min(failed_at) AS oldest,
                    max(failed_at) AS latest
               FROM {table}
              WHERE dead AND resolved_at IS NULL AND published_at IS NOT NULL AND queue = "
        ));
        query.push_bind(queue.to_owned());
        if !filter.reasons.is_empty() {
            query.push(" AND reason = ANY(").push_bind(&filter.reasons);
            query.push(")");
        }
        if !filter.ids.is_empty() {
            query.push(" AND (event_id = ANY(").push_bind(&filter.ids);
            query.push(") OR letter_id = ANY(").push_bind(&filter.ids);
            query.push("))");
        }
        if let Some(since) = filter.since {
            query.push(" AND failed_at >= ").push_bind(since);
        }
        if let Some(until) = filter.until {
            query.push(" AND failed_at < ").push_bind(until);
        }
        query.push(" GROUP BY reason, event_type");
        let rows: Vec<Row> = query.build_query_as().fetch_all(self.database).await?;
        let groups = rows.into_iter().map(|row| DeadLetterGroup {
            queue: queue.to_owned(),
            reason: row.reason,
            event_type: row.event_type,
            count: row.count.unsigned_abs(),
            oldest: Some(row.oldest),
            latest: Some(row.latest),
        });
        Ok(groups
            .filter(|group| filter.matches_type(group.event_type.as_deref()))
            .collect())
    }

    /// Records the resolution of these letters.
    ///
    /// # Errors
    /// Returns [`MessagingError`] if the database cannot be reached.
    pub async fn resolve<'l>(
        &self,
        letters: impl IntoIterator<Item = &'l DeadLetter>,
        resolution: Resolution,
    ) -> Result<(), MessagingError> {
        for (queue, letters) in group_by_queue(letters) {
            let Some(table) = self.table(queue) else {
                continue;
            };
            let statement = format!(
                "UPDATE {table} SET resolved_at = clock_timestamp(), resolution = $3
                  WHERE queue = $1 AND letter_id = ANY($2) AND dead"
            );
            let fingerprints: Vec<&str> = letters
                .iter()
                .map(|letter| letter.fingerprint.as_str())
                .collect();
            sqlx::query(AssertSqlSafe(statement))
                .bind(queue)
                .bind(fingerprints)
                .bind(resolution.as_str())
                .execute(self.database)
                .await?;
        }
        Ok(())
    }

    /// Records that these letters are in their dead-letter queues, and creates missing records.
    ///
    /// # Errors
    /// Returns [`MessagingError`] if the database cannot be reached.
    pub async fn reopen<'l>(
        &self,
        letters: impl IntoIterator<Item = &'l DeadLetter>,
    ) -> Result<(), MessagingError> {
        for (queue, letters) in group_by_queue(letters) {
            let Some(table) = self.table(queue) else {
                continue;
            };
            let statement = format!(
                "INSERT INTO {table} AS known
                     (letter_id, queue, event_id, round, attempts, dead, event_type, reason,
                      error, trace_id, failed_at, published_at, settled_at)
                 SELECT letter_id, $1, event_id, round, attempts, true, event_type, reason,
                        error, trace_id, coalesce(failed_at, now()), now(), now()
                   FROM unnest($2::text[], $3::text[], $4::bigint[], $5::integer[], $6::text[],
                               $7::text[], $8::text[], $9::text[], $10::timestamptz[])
                        AS letter (letter_id, event_id, round, attempts, event_type, reason,
                                   error, trace_id, failed_at)
                 ON CONFLICT (letter_id) DO UPDATE
                    SET dead = true, resolved_at = NULL, resolution = NULL,
                        published_at = coalesce(known.published_at, excluded.published_at)
                  WHERE known.resolved_at IS NOT NULL OR known.published_at IS NULL"
            );
            let texts = |text: fn(&DeadLetter) -> Option<&str>| -> Vec<Option<String>> {
                let texts = letters.iter().map(|letter| text(letter));
                texts.map(|text| text.map(to_postgres_text)).collect()
            };
            let non_null = |text: fn(&DeadLetter) -> Option<&str>| -> Vec<String> {
                let texts = texts(text).into_iter();
                texts.map(Option::unwrap_or_default).collect()
            };
            let rounds = letters.iter().map(|letter| i64::try_from(letter.replays));
            let attempts = letters.iter().map(|letter| i32::try_from(letter.attempts));
            sqlx::query(AssertSqlSafe(statement))
                .bind(queue)
                .bind(non_null(|letter| Some(&letter.fingerprint)))
                .bind(texts(|letter| letter.id.as_deref()))
                .bind(
                    rounds
                        .map(|round| round.unwrap_or(i64::MAX))
                        .collect::<Vec<_>>(),
                )
                .bind(
                    attempts
                        .map(|attempts| attempts.unwrap_or(i32::MAX))
                        .collect::<Vec<_>>(),
                )
                .bind(texts(|letter| letter.event_type.as_deref()))
                .bind(non_null(|letter| Some(&letter.reason)))
                .bind(non_null(|letter| letter.error.as_deref()))
                .bind(non_null(|letter| letter.trace_id.as_deref()))
                .bind(
                    letters
                        .iter()
                        .map(|letter| letter.failed_at)
                        .collect::<Vec<_>>(),
                )
                .execute(self.database)
                .await?;
        }
        Ok(())
    }

    /// Loads the open records of a queue before the queue is read.
    pub(super) async fn take_snapshot(
        &self,
        queue: &str,
    ) -> Result<RecordSnapshot, MessagingError> {
        // By the clock of the database, like the records.
        let taken_at = sqlx::query_scalar("SELECT clock_timestamp()")
            .fetch_one(self.database)
            .await?;
        let mut expected = HashSet::new();
        if let Some(table) = self.table(queue) {
            let statement = format!(
                "SELECT letter_id FROM {table}
                  WHERE queue = $1 AND dead AND resolved_at IS NULL AND published_at IS NOT NULL"
            );
            let letter_ids: Vec<String> = sqlx::query_scalar(AssertSqlSafe(statement))
                .bind(queue)
                .fetch_all(self.database)
                .await?;
            expected.extend(letter_ids);
        }
        Ok(RecordSnapshot {
            taken_at,
            expected,
            unexpected: Vec::new(),
        })
    }

    /// Corrects the records of a queue after the whole queue was read.
    pub(super) async fn correct_records(
        &self,
        queue: &str,
        snapshot: RecordSnapshot,
    ) -> Result<(), MessagingError> {
        self.reopen(&snapshot.unexpected).await?;
        let Some(table) = self.table(queue) else {
            return Ok(());
        };
        let statement = format!(
            "UPDATE {table} SET resolved_at = clock_timestamp(), resolution = $4
              WHERE queue = $1 AND letter_id = ANY($2) AND published_at < $3
                AND dead AND resolved_at IS NULL"
        );
        sqlx::query(AssertSqlSafe(statement))
            .bind(queue)
            .bind(snapshot.expected.into_iter().collect::<Vec<_>>())
            .bind(snapshot.taken_at)
            .bind(Resolution::Gone.as_str())
            .execute(self.database)
            .await?;
        Ok(())
    }

    /// Returns the next round of an event for the consumer of a queue. `None` if the consumer has
    /// no record of it. The consumer ignores an event in a recorded round.
    ///
    /// # Errors
    /// Returns [`MessagingError`] if the database cannot be reached.
    pub(crate) async fn next_round(
        &self,
        queue: &str,
        event_id: &str,
    ) -> Result<Option<i64>, MessagingError> {
        let Some(table) = self.table(queue) else {
            return Ok(None);
        };
        let statement =
            format!("SELECT max(round) + 1 FROM {table} WHERE queue = $1 AND event_id = $2");
        Ok(sqlx::query_scalar(AssertSqlSafe(statement))
            .bind(queue)
            .bind(event_id)
            .fetch_one(self.database)
            .await?)
    }
}

/// The records of a queue while the queue is read.
pub(super) struct RecordSnapshot {
    taken_at: DateTime<Utc>,
    /// The recorded letters that were not found yet.
    expected: HashSet<String>,
    /// The letters that were found without an open record.
    unexpected: Vec<DeadLetter>,
}

impl RecordSnapshot {
    pub(super) fn observe(&mut self, letter: DeadLetter) {
        if letter.has_record && !self.expected.remove(&letter.fingerprint) {
            self.unexpected.push(letter);
        }
    }
}

/// Groups the letters that have a record by queue.
fn group_by_queue<'l>(
    letters: impl IntoIterator<Item = &'l DeadLetter>,
) -> BTreeMap<&'l str, Vec<&'l DeadLetter>> {
    let mut queues: BTreeMap<&str, Vec<&DeadLetter>> = BTreeMap::new();
    for letter in letters.into_iter().filter(|letter| letter.has_record) {
        queues.entry(&letter.queue).or_default().push(letter);
    }
    queues
}
