//! Dead letters that are put away whole, in `dm_ops`, and put back.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use dm_contracts::topology::dead_letter_queue;
use lapin::Connection;
use serde::Serialize;
use sqlx::types::Json;
use sqlx::{FromRow, PgPool};

use super::copy::{self, Imported, Line};
use super::{DeadLetter, Filter};
use crate::messaging::MessagingError;
use crate::messaging::reader::Reader;

/// A letter that is parked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct Parked {
    /// Which letter it is.
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

/// Parks dead letters: they are written down first, and only then removed. Answers how
/// many these are.
///
/// # Errors
/// The broker or the database fails: what is parked may still be a dead letter, and
/// parking it again makes no second one.
pub async fn park(
    connection: &Connection,
    database: &PgPool,
    queues: &[&'static str],
    filter: &Filter,
    note: &str,
) -> Result<u64, MessagingError> {
    let mut parked = HashSet::new();
    for &queue in queues {
        let mut reader = Reader::open(connection, &dead_letter_queue(queue)).await?;
        while let Some((position, delivery)) = reader.next().await? {
            let letter = DeadLetter::read(queue, position, &delivery.properties, &delivery.data);
            if !filter.takes(&letter) {
                continue;
            }
            sqlx::query(
                "INSERT INTO dm_ops.parked_letters
                     (fingerprint, queue, event_id, event_type, reason, note, letter)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)
                 ON CONFLICT (fingerprint) DO NOTHING",
            )
            .bind(&letter.fingerprint)
            .bind(queue)
            .bind(&letter.id)
            .bind(&letter.event_type)
            .bind(&letter.reason)
            .bind(note)
            .bind(Json(Line::of(queue, &delivery.properties, &delivery.data)))
            .execute(database)
            .await?;
            parked.insert(letter.fingerprint);
        }
        reader.close().await?;
    }
    copy::remove(connection, queues, &parked).await
}

/// Those that are parked, the latest first.
///
/// # Errors
/// The database is away.
pub async fn list(database: &PgPool) -> Result<Vec<Parked>, MessagingError> {
    Ok(sqlx::query_as(
        "SELECT fingerprint, queue, event_id, event_type, reason, note, parked_at
           FROM dm_ops.parked_letters ORDER BY parked_at DESC, fingerprint",
    )
    .fetch_all(database)
    .await?)
}

/// Makes parked letters dead letters again: all of them, or those of these events or
/// fingerprints. They are removed here once all of them are there.
///
/// # Errors
/// The broker or the database fails: what is there may still be parked, and putting it
/// back again makes no second one.
pub async fn unpark(
    connection: &Connection,
    database: &PgPool,
    ids: &[String],
) -> Result<Imported, MessagingError> {
    let rows: Vec<(String, Json<Line>)> = sqlx::query_as(
        "SELECT fingerprint, letter FROM dm_ops.parked_letters
          WHERE $1 = '{}' OR event_id = ANY($1) OR fingerprint = ANY($1)
          ORDER BY parked_at, fingerprint",
    )
    .bind(ids)
    .fetch_all(database)
    .await?;
    let (fingerprints, lines): (Vec<String>, Vec<Line>) = rows
        .into_iter()
        .map(|(fingerprint, line)| (fingerprint, line.0))
        .unzip();
    let imported = copy::import(connection, &lines).await?;
    if imported.refused == 0 {
        sqlx::query("DELETE FROM dm_ops.parked_letters WHERE fingerprint = ANY($1)")
            .bind(&fingerprints)
            .execute(database)
            .await?;
    }
    Ok(imported)
}
