//! Records of failures in the table `failed_events`.
//!
//! A failure is recorded before its message is published, so that a message that is delivered
//! again is not processed again: if its failure is recorded and not confirmed, it is published
//! again with the same letter id; otherwise it is only acknowledged.

use chrono::{DateTime, Utc};
use dm_contracts::time;
use sqlx::{FromRow, PgConnection, PgPool};

use super::failure::{self, FailureDisposition, ProcessingFailure};
use super::incoming::IncomingMessage;
use crate::database::Database;

/// The record of a failure.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(super) struct FailureRecord {
    /// Letter id.
    pub(super) letter_id: String,
    /// Number of failed attempts in its round, including this one.
    pub(super) attempts: i32,
    /// Whether it is dead-lettered; otherwise it is retried.
    pub(super) dead: bool,
    /// Stable code of the failure.
    pub(super) reason: String,
    /// Error text.
    pub(super) error: String,
    /// Trace id.
    pub(super) trace_id: String,
    /// Time of the failure.
    pub(super) failed_at: DateTime<Utc>,
    /// Time of the broker's confirm.
    pub(super) published_at: Option<DateTime<Utc>>,
}

/// Result of recording a failure.
#[derive(Debug)]
pub(super) enum RecordResult {
    /// The failure is recorded, with this record.
    Recorded(FailureRecord),
    /// The event was processed in the meantime.
    AlreadyProcessed,
}

impl FailureRecord {
    pub(super) fn new(
        incoming: &IncomingMessage,
        failure: &ProcessingFailure,
        trace_id: &str,
    ) -> Self {
        let attempts = incoming.attempts.saturating_add(1);
        let failures = u32::try_from(attempts).unwrap_or(u32::MAX);
        // In the precision of the header, so that all copies are equal.
        let now = time::now();
        Self {
            letter_id: incoming.letter_id_or_new(),
            attempts,
            dead: failure::decide_disposition(failure, failures) == FailureDisposition::DeadLetter,
            reason: failure.reason.to_owned(),
            error: failure::truncate_error(&failure.error),
            trace_id: trace_id.to_owned(),
            failed_at: time::parse(&time::format(now)).unwrap_or(now),
            published_at: None,
        }
    }

    /// Returns the destination of the failed message.
    pub(super) fn disposition(&self) -> FailureDisposition {
        if self.dead {
            FailureDisposition::DeadLetter
        } else {
            FailureDisposition::retry_after(u32::try_from(self.attempts).unwrap_or_default())
        }
    }

    /// Returns whether the record is of this delivery, and not of a later attempt of a copy.
    pub(super) const fn is_for_delivery(&self, incoming: &IncomingMessage) -> bool {
        self.attempts == incoming.attempts.saturating_add(1)
    }
}

/// The columns of a failure record.
macro_rules! record_columns {
    () => {
        "letter_id, attempts, dead, reason, error, trace_id, failed_at, published_at"
    };
}

/// Returns the record of a message whose attempt was made before: it is dead-lettered, or waits
/// for a retry. A message that was purged, or that disappeared, is processed like a new one.
pub(super) async fn find_by_attempt(
    session: &mut PgConnection,
    letter_id: &str,
    attempts: i32,
) -> Result<Option<FailureRecord>, sqlx::Error> {
    sqlx::query_as(concat!(
        "SELECT ",
        record_columns!(),
        " FROM failed_events
          WHERE letter_id = $1 AND (dead OR attempts > $2)
            AND (resolution IS NULL OR resolution NOT IN ('purged', 'gone'))"
    ))
    .bind(letter_id)
    .bind(attempts)
    .fetch_optional(session)
    .await
}

/// Returns the record of a message without any id whose acknowledgement is not recorded.
pub(super) async fn find_unacknowledged(
    database: &PgPool,
    queue: &str,
    content_digest: &str,
) -> Result<Option<FailureRecord>, sqlx::Error> {
    sqlx::query_as(concat!(
        "SELECT ",
        record_columns!(),
        " FROM failed_events
          WHERE queue = $1 AND content = $2 AND settled_at IS NULL
          ORDER BY recorded_at, letter_id LIMIT 1"
    ))
    .bind(queue)
    .bind(content_digest)
    .fetch_optional(database)
    .await
}

/// Records a failure, unless the event was processed or the failure was recorded before.
pub(super) async fn record_failure(
    database: &Database,
    queue: &str,
    incoming: &IncomingMessage,
    record: &FailureRecord,
) -> Result<RecordResult, sqlx::Error> {
    let mut transaction = database.begin().await?;
    // If another process is processing the event, its transaction locks the inbox row, and this
    // insert waits for its outcome. A process that receives it later finds the record.
    let event = incoming.event.as_ref().ok();
    let event = event.filter(|event| !event.id.contains('\0'));
    if let Some(event) = event {
        let inserted = sqlx::query(
            "INSERT INTO inbox_events (queue, event_id, event_type) VALUES ($1, $2, $3)
             ON CONFLICT DO NOTHING",
        )
        .bind(queue)
        .bind(&event.id)
        .bind(replace_nul(&event.event_type))
        .execute(&mut *transaction)
        .await?;
        if inserted.rows_affected() == 0 {
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
    .bind(
        incoming
            .letter_id
            .is_none()
            .then(|| incoming.content_digest()),
    )
    .execute(&mut *transaction)
    .await?;
    if let Some(event) = event {
        sqlx::query("DELETE FROM inbox_events WHERE queue = $1 AND event_id = $2")
            .bind(queue)
            .bind(&event.id)
            .execute(&mut *transaction)
            .await?;
    }
    let mut current = record.clone();
    if written.rows_affected() == 0 {
        // Another process recorded it first.
        let letter_id = &record.letter_id;
        let recorded = find_by_attempt(&mut transaction, letter_id, incoming.attempts).await?;
        current = recorded.unwrap_or(current);
    }
    transaction.commit().await?;
    Ok(RecordResult::Recorded(current))
}

/// Marks that the broker has confirmed the message of a record.
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

/// Marks that the delivery of a message without any id was acknowledged.
pub(super) async fn mark_acknowledged(
    database: &PgPool,
    letter_id: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE failed_events SET settled_at = clock_timestamp() WHERE letter_id = $1")
        .bind(letter_id)
        .execute(database)
        .await?;
    Ok(())
}

/// Deletes the failed attempts of an event that was processed after retries.
pub(super) async fn delete_retries(
    session: &mut PgConnection,
    letter_id: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM failed_events WHERE letter_id = $1 AND NOT dead")
        .bind(letter_id)
        .execute(session)
        .await?;
    Ok(())
}

/// Replaces U+0000, which a text in PostgreSQL cannot contain.
fn replace_nul(text: &str) -> String {
    text.replace('\0', "\u{2400}")
}
