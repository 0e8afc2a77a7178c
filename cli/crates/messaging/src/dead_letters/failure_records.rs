//! What consumers recorded of their dead letters, and what became of these since.
//!
//! A record is written by the consumer before its letter is published. `dm` notes in it
//! what takes the letter away, or brings it back, so that the records of a queue tell what
//! is in it without reading it.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, FromRow, PgPool, Postgres, QueryBuilder};

use super::group::DeadLetterGroup;
use super::{DeadLetter, DeadLetterFilter, to_postgres_text};
use crate::MessagingError;
use crate::service_tables::ServiceTables;

/// What took a letter away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// It went back to its queue.
    Replayed,
    /// It is parked.
    Parked,
    /// It was removed, with a copy in a file.
    Purged,
    /// It was no longer in its queue.
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
    /// The table with the records of a queue; nothing for a queue without a consumer.
    fn table(&self, queue: &str) -> Option<String> {
        let store = self
            .service_tables
            .iter()
            .find(|store| store.work_queue == Some(queue));
        store.map(|store| store.qualified_table("failed_events"))
    }

    /// How many letters of a queue there are; nothing is known of a queue without a
    /// consumer.
    ///
    /// # Errors
    /// The database is away.
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

    /// How many letters of a queue there are of each kind.
    ///
    /// # Errors
    /// The database is away.
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

    /// Notes what took these letters away.
    ///
    /// # Errors
    /// The database is away.
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
            let prints: Vec<&str> = letters.iter().map(|it| it.fingerprint.as_str()).collect();
            sqlx::query(AssertSqlSafe(statement))
                .bind(queue)
                .bind(prints)
                .bind(resolution.as_str())
                .execute(self.database)
                .await?;
        }
        Ok(())
    }

    /// Notes that these letters are among the dead, whatever was known of them.
    ///
    /// # Errors
    /// The database is away.
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
            let filled = |text: fn(&DeadLetter) -> Option<&str>| -> Vec<String> {
                let texts = texts(text).into_iter();
                texts.map(Option::unwrap_or_default).collect()
            };
            let rounds = letters.iter().map(|it| i64::try_from(it.replays));
            let attempts = letters.iter().map(|it| i32::try_from(it.attempts));
            sqlx::query(AssertSqlSafe(statement))
                .bind(queue)
                .bind(filled(|it| Some(&it.fingerprint)))
                .bind(texts(|it| it.id.as_deref()))
                .bind(rounds.map(|it| it.unwrap_or(i64::MAX)).collect::<Vec<_>>())
                .bind(
                    attempts
                        .map(|it| it.unwrap_or(i32::MAX))
                        .collect::<Vec<_>>(),
                )
                .bind(texts(|it| it.event_type.as_deref()))
                .bind(filled(|it| Some(&it.reason)))
                .bind(filled(|it| it.error.as_deref()))
                .bind(filled(|it| it.trace_id.as_deref()))
                .bind(letters.iter().map(|it| it.failed_at).collect::<Vec<_>>())
                .execute(self.database)
                .await?;
        }
        Ok(())
    }

    /// What the records say before a queue is read.
    pub(super) async fn take_snapshot(
        &self,
        queue: &str,
    ) -> Result<RecordSnapshot, MessagingError> {
        // By the database's clock, as records are written.
        let since = sqlx::query_scalar("SELECT clock_timestamp()")
            .fetch_one(self.database)
            .await?;
        let mut open = HashSet::new();
        if let Some(table) = self.table(queue) {
            let statement = format!(
                "SELECT letter_id FROM {table}
                  WHERE queue = $1 AND dead AND resolved_at IS NULL AND published_at IS NOT NULL"
            );
            let found: Vec<String> = sqlx::query_scalar(AssertSqlSafe(statement))
                .bind(queue)
                .fetch_all(self.database)
                .await?;
            open.extend(found);
        }
        Ok(RecordSnapshot {
            taken_at: since,
            expected: open,
            unexpected: Vec::new(),
        })
    }

    /// Has the records say what was read of a queue, from its beginning to its end.
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

    /// The round in which an event is new to the consumer of a queue; nothing where the
    /// consumer has no record of it. In a round that it knows it would not handle it.
    ///
    /// # Errors
    /// The database is away.
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

/// What the records say of a queue, while it is read.
pub(super) struct RecordSnapshot {
    taken_at: DateTime<Utc>,
    /// The letters that should be there, and were not met so far.
    expected: HashSet<String>,
    /// Those that were met, and should not be there.
    unexpected: Vec<DeadLetter>,
}

impl RecordSnapshot {
    pub(super) fn observe(&mut self, letter: DeadLetter) {
        if letter.has_record && !self.expected.remove(&letter.fingerprint) {
            self.unexpected.push(letter);
        }
    }
}

/// Those of which a consumer has a record, by queue.
fn group_by_queue<'l>(
    letters: impl IntoIterator<Item = &'l DeadLetter>,
) -> BTreeMap<&'l str, Vec<&'l DeadLetter>> {
    let mut queues: BTreeMap<&str, Vec<&DeadLetter>> = BTreeMap::new();
    for letter in letters.into_iter().filter(|letter| letter.has_record) {
        queues.entry(&letter.queue).or_default().push(letter);
    }
    queues
}
