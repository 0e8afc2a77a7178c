//! Parking: moves complete dead letters to `dm_ops`, and back.
//!
//! A letter is inserted before it is removed from the queue; on the way back it is published
//! before its row is deleted. Each row records its progress, so that an aborted call can be
//! continued, and letters with equal fingerprints are not confused with those of that call.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use lapin::Connection;
use serde::Serialize;
use sqlx::{FromRow, PgPool};

use super::browse::RequestedIds;
use super::import_export::{self, ImportSummary};
use super::json_line::DeadLetterLine;
use super::letter_reader::{LetterReader, UnackedLetter};
use super::{DeadLetter, DeadLetterFilter, to_postgres_text};
use crate::MessagingError;

/// A parked letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct ParkedLetter {
    /// The fingerprint of the letter. Equal messages have equal fingerprints.
    pub fingerprint: String,
    /// The work queue that it failed in.
    pub queue: String,
    /// The event's id.
    pub event_id: Option<String>,
    /// The event's type.
    pub event_type: Option<String>,
    /// The reason for which it was dead-lettered.
    pub reason: String,
    /// The note of the operator.
    pub note: String,
    /// The instant of parking.
    pub parked_at: DateTime<Utc>,
}

/// The result of parking.
#[derive(Debug, Default)]
pub struct ParkSummary {
    /// The parked letters.
    pub parked: Vec<DeadLetter>,
    /// The letters that stayed, with the reason.
    pub skipped: Vec<(DeadLetter, String)>,
}

/// Parks dead letters: inserts them into the database, and then removes them from the queue. A
/// letter that cannot be inserted stays in the queue.
///
/// # Errors
/// Returns [`MessagingError`] if the broker or the database returns an error. A parked letter may
/// still be in the queue; parking it again creates no second row. Returns
/// [`MessagingError::DeadLetterNotFound`] if an id has no letter.
pub async fn park(
    connection: &Connection,
    database: &PgPool,
    queues: &[&'static str],
    filter: &DeadLetterFilter,
    note: &str,
) -> Result<ParkSummary, MessagingError> {
    let mut summary = ParkSummary::default();
    let mut requested = RequestedIds::from_filter(filter);
    for &queue in queues {
        let mut unremoved = load_unremoved(database, queue).await?;
        let mut row_ids: Vec<i64> = unremoved.values().flatten().copied().collect();
        let mut reader = LetterReader::open(connection, queue).await?;
        while let Some(unacked) = reader.next().await? {
            let rows = unremoved.get_mut(&unacked.letter.fingerprint);
            if rows.and_then(Vec::pop).is_none() {
                if !filter.matches(&unacked.letter) {
                    continue;
                }
                requested.mark_found(&unacked.letter);
                match insert_letter(database, queue, &unacked, note).await {
                    Ok(row_id) => row_ids.push(row_id),
                    Err(sqlx::Error::Database(error)) => {
                        summary.skipped.push((unacked.letter, error.to_string()));
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            requested.mark_found(&unacked.letter);
            reader.ack(&unacked).await?;
            summary.parked.push(unacked.letter);
        }
        // The broker has received the acknowledgements when the channel is closed.
        reader.requeue_and_close().await?;
        sqlx::query(
            "UPDATE dm_ops.parked_letters SET removed_at = clock_timestamp()
              WHERE parked_id = ANY($1)",
        )
        .bind(&row_ids)
        .execute(database)
        .await?;
    }
    requested.ensure_all_found()?;
    Ok(summary)
}

/// Loads the rows, by fingerprint, whose letters an aborted call may not have removed.
async fn load_unremoved(
    database: &PgPool,
    queue: &str,
) -> Result<HashMap<String, Vec<i64>>, MessagingError> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT fingerprint, parked_id FROM dm_ops.parked_letters
          WHERE queue = $1 AND removed_at IS NULL",
    )
    .bind(queue)
    .fetch_all(database)
    .await?;
    let mut unremoved: HashMap<String, Vec<i64>> = HashMap::new();
    for (fingerprint, row_id) in rows {
        unremoved.entry(fingerprint).or_default().push(row_id);
    }
    Ok(unremoved)
}

async fn insert_letter(
    database: &PgPool,
    queue: &str,
    unacked: &UnackedLetter,
    note: &str,
) -> Result<i64, sqlx::Error> {
    let line = DeadLetterLine::from_original(queue, &unacked.original(), &unacked.delivery.data);
    let text = serde_json::to_string(&line).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let letter = &unacked.letter;
    sqlx::query_scalar(
        "INSERT INTO dm_ops.parked_letters
             (fingerprint, queue, event_id, event_type, reason, note, letter)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         RETURNING parked_id",
    )
    .bind(&letter.fingerprint)
    .bind(queue)
    .bind(letter.id.as_deref().map(to_postgres_text))
    .bind(letter.event_type.as_deref().map(to_postgres_text))
    .bind(to_postgres_text(&letter.reason))
    .bind(to_postgres_text(note))
    .bind(text)
    .fetch_one(database)
    .await
}

/// Returns the parked letters, latest first.
///
/// # Errors
/// Returns [`MessagingError`] if the database cannot be reached.
pub async fn list(database: &PgPool) -> Result<Vec<ParkedLetter>, MessagingError> {
    Ok(sqlx::query_as(
        "SELECT fingerprint, queue, event_id, event_type, reason, note, parked_at
           FROM dm_ops.parked_letters ORDER BY parked_at DESC, parked_id DESC",
    )
    .fetch_all(database)
    .await?)
}

/// Returns parked letters to their dead-letter queues: all of them, or those with these event ids
/// or fingerprints. A row is deleted after its letter was published.
///
/// # Errors
/// Returns [`MessagingError`] if the broker or the database returns an error. A published letter
/// may still be parked; unparking it again publishes no second one. Returns
/// [`MessagingError::ParkedLetterNotFound`], without any change, if an id has no parked letter.
pub async fn unpark(
    connection: &Connection,
    database: &PgPool,
    ids: &[String],
) -> Result<ImportSummary, MessagingError> {
    #[derive(FromRow)]
    struct Row {
        parked_id: i64,
        fingerprint: String,
        event_id: Option<String>,
        letter: String,
        may_be_present: bool,
    }
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT parked_id, fingerprint, event_id, letter,
                removed_at IS NULL OR leaving_at IS NOT NULL AS may_be_present
           FROM dm_ops.parked_letters
          WHERE $1 = '{}' OR event_id = ANY($1) OR fingerprint = ANY($1)
          ORDER BY parked_id",
    )
    .bind(ids)
    .fetch_all(database)
    .await?;
    let events = rows.iter().filter_map(|row| row.event_id.as_deref());
    let fingerprints = rows.iter().map(|row| row.fingerprint.as_str());
    let known: HashSet<&str> = events.chain(fingerprints).collect();
    if let Some(id) = ids.iter().find(|id| !known.contains(id.as_str())) {
        return Err(MessagingError::ParkedLetterNotFound(id.clone()));
    }
    let mut lines = Vec::new();
    for row in &rows {
        let line: DeadLetterLine =
            serde_json::from_str(&row.letter).map_err(std::io::Error::from)?;
        lines.push((line, row.may_be_present));
    }
    let row_ids: Vec<i64> = rows.iter().map(|row| row.parked_id).collect();
    sqlx::query(
        "UPDATE dm_ops.parked_letters SET leaving_at = clock_timestamp()
          WHERE parked_id = ANY($1) AND leaving_at IS NULL",
    )
    .bind(&row_ids)
    .execute(database)
    .await?;
    let lines: Vec<_> = lines
        .iter()
        .map(|(line, may_be_present)| (line, *may_be_present))
        .collect();
    let summary = import_export::publish_letters(connection, &lines).await?;
    if summary.refused == 0 {
        sqlx::query("DELETE FROM dm_ops.parked_letters WHERE parked_id = ANY($1)")
            .bind(&row_ids)
            .execute(database)
            .await?;
    }
    Ok(summary)
}
