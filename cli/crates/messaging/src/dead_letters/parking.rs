//! Dead letters that are put away whole, in `dm_ops`, and put back.
//!
//! A letter is written down first and removed then; on the way back it is published first
//! and deleted then. Each row says how far it is, so that a call that was cut short is
//! carried on with, and letters that are alike are told from those that were met before.

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

/// A letter that is parked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct ParkedLetter {
    /// Which letter it is. Letters that are alike have the same.
    pub fingerprint: String,
    /// The work queue that it failed in.
    pub queue: String,
    /// The event's id.
    pub event_id: Option<String>,
    /// The event's type.
    pub event_type: Option<String>,
    /// Why it was set aside.
    pub reason: String,
    /// Why it was parked.
    pub note: String,
    /// When.
    pub parked_at: DateTime<Utc>,
}

/// What became of letters that were to be parked.
#[derive(Debug, Default)]
pub struct ParkSummary {
    /// Those that are parked.
    pub parked: Vec<DeadLetter>,
    /// Those that stayed, and why.
    pub skipped: Vec<(DeadLetter, String)>,
}

/// Parks dead letters: they are written down first, and only then removed. One that can't
/// be written down stays where it is.
///
/// # Errors
/// The broker or the database fails: what is parked may still be a dead letter, and
/// parking it again makes no second one. [`MessagingError::NotFound`] where an id is no
/// letter's.
pub async fn park(
    connection: &Connection,
    database: &PgPool,
    queues: &[&'static str],
    filter: &DeadLetterFilter,
    note: &str,
) -> Result<ParkSummary, MessagingError> {
    let mut parking = ParkSummary::default();
    let mut named = RequestedIds::from_filter(filter);
    for &queue in queues {
        let mut begun = load_unremoved(database, queue).await?;
        let mut written: Vec<i64> = begun.values().flatten().copied().collect();
        let mut pass = LetterReader::open(connection, queue).await?;
        while let Some(found) = pass.next().await? {
            let alike = begun.get_mut(&found.letter.fingerprint);
            if alike.and_then(Vec::pop).is_none() {
                if !filter.matches(&found.letter) {
                    continue;
                }
                named.mark_found(&found.letter);
                match insert_letter(database, queue, &found, note).await {
                    Ok(row) => written.push(row),
                    Err(sqlx::Error::Database(error)) => {
                        parking.skipped.push((found.letter, error.to_string()));
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            named.mark_found(&found.letter);
            pass.ack(&found).await?;
            parking.parked.push(found.letter);
        }
        // The broker has the acknowledgements once it has closed the channel.
        pass.requeue_and_close().await?;
        sqlx::query(
            "UPDATE dm_ops.parked_letters SET removed_at = clock_timestamp()
              WHERE parked_id = ANY($1)",
        )
        .bind(&written)
        .execute(database)
        .await?;
    }
    named.ensure_all_found()?;
    Ok(parking)
}

/// What an earlier call wrote down, and perhaps did not remove: rows by fingerprint.
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
    let mut begun: HashMap<String, Vec<i64>> = HashMap::new();
    for (fingerprint, row) in rows {
        begun.entry(fingerprint).or_default().push(row);
    }
    Ok(begun)
}

async fn insert_letter(
    database: &PgPool,
    queue: &str,
    found: &UnackedLetter,
    note: &str,
) -> Result<i64, sqlx::Error> {
    let line = DeadLetterLine::from_original(queue, &found.original(), &found.delivery.data);
    let text = serde_json::to_string(&line).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let letter = &found.letter;
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

/// Those that are parked, the latest first.
///
/// # Errors
/// The database is away.
pub async fn list(database: &PgPool) -> Result<Vec<ParkedLetter>, MessagingError> {
    Ok(sqlx::query_as(
        "SELECT fingerprint, queue, event_id, event_type, reason, note, parked_at
           FROM dm_ops.parked_letters ORDER BY parked_at DESC, parked_id DESC",
    )
    .fetch_all(database)
    .await?)
}

/// Makes parked letters dead letters again: all of them, or those of these events or
/// fingerprints. Each is removed here once it is there.
///
/// # Errors
/// The broker or the database fails: what is there may still be parked, and putting it
/// back again makes no second one. [`MessagingError::NotParked`] where an id is that of no
/// parked letter: then nothing is done.
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
        may_be_there: bool,
    }
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT parked_id, fingerprint, event_id, letter,
                removed_at IS NULL OR leaving_at IS NOT NULL AS may_be_there
           FROM dm_ops.parked_letters
          WHERE $1 = '{}' OR event_id = ANY($1) OR fingerprint = ANY($1)
          ORDER BY parked_id",
    )
    .bind(ids)
    .fetch_all(database)
    .await?;
    let events = rows.iter().filter_map(|row| row.event_id.as_deref());
    let prints = rows.iter().map(|row| row.fingerprint.as_str());
    let known: HashSet<&str> = events.chain(prints).collect();
    if let Some(id) = ids.iter().find(|id| !known.contains(id.as_str())) {
        return Err(MessagingError::ParkedLetterNotFound(id.clone()));
    }
    let mut lines = Vec::new();
    for row in &rows {
        let line: DeadLetterLine =
            serde_json::from_str(&row.letter).map_err(std::io::Error::from)?;
        lines.push((line, row.may_be_there));
    }
    let numbers: Vec<i64> = rows.iter().map(|row| row.parked_id).collect();
    sqlx::query(
        "UPDATE dm_ops.parked_letters SET leaving_at = clock_timestamp()
          WHERE parked_id = ANY($1) AND leaving_at IS NULL",
    )
    .bind(&numbers)
    .execute(database)
    .await?;
    let lines: Vec<_> = lines.iter().map(|(line, there)| (line, *there)).collect();
    let imported = import_export::publish_letters(connection, &lines).await?;
    if imported.refused == 0 {
        sqlx::query("DELETE FROM dm_ops.parked_letters WHERE parked_id = ANY($1)")
            .bind(&numbers)
            .execute(database)
            .await?;
    }
    Ok(imported)
}
