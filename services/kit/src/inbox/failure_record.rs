//! What could not be handled, as the database knows it.
//!
//! A failure is recorded before it is published to where failures go, so that a message
//! that is delivered again is not handled again: what is recorded and not confirmed is
//! published once more under the same identity, and the rest is acknowledged.

use chrono::{DateTime, Utc};
use dm_contracts::time;
use sqlx::{FromRow, PgConnection, PgPool};

use super::failure::{self, FailureDisposition, ProcessingFailure};
use super::incoming::IncomingMessage;
use crate::database::Database;

/// A failure that is recorded.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(super) struct FailureRecord {
    /// Which letter it is.
    pub(super) letter_id: String,
    /// How often it failed in its round, this time included.
    pub(super) attempts: i32,
    /// Whether it is a dead letter; otherwise it is tried again.
    pub(super) dead: bool,
    /// A stable word for it.
    pub(super) reason: String,
    /// What went wrong.
    pub(super) error: String,
    /// The trace that it belongs to.
    pub(super) trace_id: String,
    /// When it failed.
    pub(super) failed_at: DateTime<Utc>,
    /// When the broker confirmed that it has it.
    pub(super) published_at: Option<DateTime<Utc>>,
}

/// What recording came to.
#[derive(Debug)]
pub(super) enum RecordResult {
    /// This is what is recorded now.
    Recorded(FailureRecord),
    /// The event was applied meanwhile, and is no failure.
    AlreadyProcessed,
}

impl FailureRecord {
    pub(super) fn new(
        incoming: &IncomingMessage,
        failure: &ProcessingFailure,
        trace_id: &str,
    ) -> Self {
        let attempts = incoming.attempts.saturating_add(1);
        let tried = u32::try_from(attempts).unwrap_or(u32::MAX);
        // As precise as a header says it, so that every copy says the same.
        let now = time::now();
        Self {
            letter_id: incoming.letter_id_or_new(),
            attempts,
            dead: failure::decide_disposition(failure, tried) == FailureDisposition::DeadLetter,
            reason: failure.reason.to_owned(),
            error: failure::truncate_error(&failure.error),
            trace_id: trace_id.to_owned(),
            failed_at: time::parse(&time::format(now)).unwrap_or(now),
            published_at: None,
        }
    }

    /// Where it goes.
    pub(super) fn disposition(&self) -> FailureDisposition {
        if self.dead {
            FailureDisposition::DeadLetter
        } else {
            FailureDisposition::retry_after(u32::try_from(self.attempts).unwrap_or_default())
        }
    }

    /// Whether it is of this very delivery, and not of a later attempt that a copy made.
    pub(super) const fn is_for_delivery(&self, incoming: &IncomingMessage) -> bool {
        self.attempts == incoming.attempts.saturating_add(1)
    }
}

/// The columns of a record.
macro_rules! record_columns {
    () => {
        "letter_id, attempts, dead, reason, error, trace_id, failed_at, published_at"
    };
}

/// The record that says that this attempt was made before: it is a dead letter, or waits
/// to be tried again. What was purged, or went without a trace, is handled as if new.
pub(super) async fn find_by_attempt(
    session: &mut PgConnection,
    letter: &str,
    attempts: i32,
) -> Result<Option<FailureRecord>, sqlx::Error> {
    sqlx::query_as(concat!(
        "SELECT ",
        record_columns!(),
        " FROM failed_events
          WHERE letter_id = $1 AND (dead OR attempts > $2)
            AND (resolution IS NULL OR resolution NOT IN ('purged', 'gone'))"
    ))
    .bind(letter)
    .bind(attempts)
    .fetch_optional(session)
    .await
}

/// The record of a message without any id that was not acknowledged, as far as is known.
pub(super) async fn find_unacknowledged(
    database: &PgPool,
    queue: &str,
    content: &str,
) -> Result<Option<FailureRecord>, sqlx::Error> {
    sqlx::query_as(concat!(
        "SELECT ",
        record_columns!(),
        " FROM failed_events
          WHERE queue = $1 AND content = $2 AND settled_at IS NULL
          ORDER BY recorded_at, letter_id LIMIT 1"
    ))
    .bind(queue)
    .bind(content)
    .fetch_optional(database)
    .await
}

/// Records a failure, unless the event was applied or the failure recorded before.
pub(super) async fn record_failure(
    database: &Database,
    queue: &str,
    incoming: &IncomingMessage,
    record: &FailureRecord,
) -> Result<RecordResult, sqlx::Error> {
    let mut transaction = database.begin().await?;
    // An event that is applied at this moment, by another instance, holds its row of the
    // inbox: this waits for the outcome. One that comes later finds the record.
    let event = incoming.event.as_ref().ok();
    let event = event.filter(|event| !event.id.contains('\0'));
    if let Some(event) = event {
        let free = sqlx::query(
            "INSERT INTO inbox_events (queue, event_id, event_type) VALUES ($1, $2, $3)
             ON CONFLICT DO NOTHING",
        )
        .bind(queue)
        .bind(&event.id)
        .bind(replace_nul(&event.event_type))
        .execute(&mut *transaction)
        .await?;
        if free.rows_affected() == 0 {
            return Ok(RecordResult::AlreadyProcessed);
        }
    }
    let written = sqlx::query(
        "INSERT INTO failed_events AS known
             (letter_id, queue, event_id, round, attempts, dead, event_type, reason, error,
              trace_id, failed_at, content)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         ON CONFLICT (letter_id) DO UPDATE
            SET attempts = excluded.attempts, dead = excluded.dead,
                reason = excluded.reason, error = excluded.error,
                trace_id = excluded.trace_id, failed_at = excluded.failed_at,
                recorded_at = clock_timestamp(), published_at = NULL, settled_at = NULL,
                resolved_at = NULL, resolution = NULL
          WHERE known.resolution IN ('purged', 'gone')
             OR NOT known.dead AND known.attempts < excluded.attempts",
    )
    .bind(&record.letter_id)
    .bind(queue)
    .bind(incoming.id.as_deref().map(replace_nul))
    .bind(incoming.round)
    .bind(record.attempts)
    .bind(record.dead)
    .bind(incoming.event_type.as_deref().map(replace_nul))
    .bind(&record.reason)
    .bind(replace_nul(&record.error))
    .bind(&record.trace_id)
    .bind(record.failed_at)
    .bind(incoming.letter_id.is_none().then(|| incoming.fingerprint()))
    .execute(&mut *transaction)
    .await?;
    if let Some(event) = event {
        sqlx::query("DELETE FROM inbox_events WHERE queue = $1 AND event_id = $2")
            .bind(queue)
            .bind(&event.id)
            .execute(&mut *transaction)
            .await?;
    }
    let mut noted = record.clone();
    if written.rows_affected() == 0 {
        // Another instance was faster.
        let letter = &record.letter_id;
        let before = find_by_attempt(&mut transaction, letter, incoming.attempts).await?;
        noted = before.unwrap_or(noted);
    }
    transaction.commit().await?;
    Ok(RecordResult::Recorded(noted))
}

/// Notes that the broker has what was recorded.
pub(super) async fn mark_published(
    database: &PgPool,
    record: &FailureRecord,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE failed_events SET published_at = clock_timestamp()
          WHERE letter_id = $1 AND attempts = $2 AND published_at IS NULL",
    )
    .bind(&record.letter_id)
    .bind(record.attempts)
    .execute(database)
    .await?;
    Ok(())
}

/// Notes that the delivery of a message without any id was acknowledged.
pub(super) async fn mark_acknowledged(database: &PgPool, letter: &str) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE failed_events SET settled_at = clock_timestamp() WHERE letter_id = $1")
        .bind(letter)
        .execute(database)
        .await?;
    Ok(())
}

/// Forgets the failed attempts of an event that was applied in the end.
pub(super) async fn delete_retries(
    session: &mut PgConnection,
    letter: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM failed_events WHERE letter_id = $1 AND NOT dead")
        .bind(letter)
        .execute(session)
        .await?;
    Ok(())
}

/// A text as PostgreSQL takes it: no text there holds U+0000.
fn replace_nul(text: &str) -> String {
    text.replace('\0', "\u{2400}")
}
