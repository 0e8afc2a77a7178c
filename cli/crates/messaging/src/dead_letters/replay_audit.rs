//! What was replayed: the tables of `dm_ops`.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgPool;
use sqlx::types::Json;

use super::{DeadLetter, to_postgres_text};
use crate::MessagingError;

/// What became of a message of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReplayOutcome {
    /// It is back in its queue.
    Replayed,
    /// The broker had no queue for it: it stays a dead letter.
    Returned,
    /// It is no longer among the dead letters: somebody else took it.
    Missing,
}

impl ReplayOutcome {
    const ALL: [Self; 3] = [Self::Replayed, Self::Returned, Self::Missing];

    /// Its word.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Replayed => "replayed",
            Self::Returned => "returned",
            Self::Missing => "missing",
        }
    }
}

/// A message of a run's set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReplayEntry {
    /// Its place in the set.
    pub number: i64,
    /// The work queue.
    pub queue: String,
    /// Which letter it is.
    pub fingerprint: String,
    /// The event's id.
    pub event_id: Option<String>,
    /// What became of it so far.
    pub outcome: Option<ReplayOutcome>,
    /// What it goes back as, where somebody changed it.
    pub replacement: Option<EditedEvent>,
}

/// An event that somebody changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EditedEvent {
    /// Its new id.
    pub id: String,
    /// Its body, with that id in it.
    pub body: String,
}

/// A run, in the list of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct ReplayRun {
    /// Its id.
    pub run_id: String,
    /// When it began.
    pub began_at: DateTime<Utc>,
    /// When it ended; missing where it was cut short.
    pub ended_at: Option<DateTime<Utc>>,
    /// The digest of its set.
    pub digest: String,
    /// Whether it went to the exchange.
    pub to_exchange: bool,
    /// How many it is about.
    pub messages: i64,
    /// How many are back in their queues.
    pub replayed: i64,
    /// How many stayed dead letters or were gone.
    pub others: i64,
}

/// Writes a run with its set, before anything of it is done.
pub(super) async fn record_run(
    database: &PgPool,
    run: &str,
    digest: &str,
    to_exchange: bool,
    selection: &Value,
    letters: &[DeadLetter],
    edited: Option<&EditedEvent>,
) -> Result<(), MessagingError> {
    let mut transaction = database.begin().await?;
    sqlx::query(
        "INSERT INTO dm_ops.replay_runs (run_id, digest, to_exchange, selection)
         VALUES ($1, $2, $3, $4)",
    )
    .bind(run)
    .bind(digest)
    .bind(to_exchange)
    .bind(Json(selection))
    .execute(&mut *transaction)
    .await?;
    let column = |value: fn(&DeadLetter) -> Option<&str>| -> Vec<Option<String>> {
        let values = letters.iter().map(value);
        values.map(|value| value.map(to_postgres_text)).collect()
    };
    sqlx::query(
        "INSERT INTO dm_ops.replay_messages
             (run_id, number, queue, fingerprint, event_id, event_type, reason, edited_as,
              edited_body)
         SELECT $1, letter.number, letter.queue, letter.fingerprint, letter.event_id,
                letter.event_type, letter.reason, $7, $8
           FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
                WITH ORDINALITY
                AS letter (queue, fingerprint, event_id, event_type, reason, number)",
    )
    .bind(run)
    .bind(column(|letter| Some(&letter.queue)))
    .bind(column(|letter| Some(&letter.fingerprint)))
    .bind(column(|letter| letter.id.as_deref()))
    .bind(column(|letter| letter.event_type.as_deref()))
    .bind(column(|letter| Some(&letter.reason)))
    // Only ever with a single letter.
    .bind(edited.map(|edited| &edited.id))
    .bind(edited.map(|edited| &edited.body))
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(())
}

/// A run's set, and where it goes.
pub(super) async fn load_entries(
    database: &PgPool,
    run: &str,
) -> Result<(bool, Vec<ReplayEntry>), MessagingError> {
    let to_exchange: Option<bool> =
        sqlx::query_scalar("SELECT to_exchange FROM dm_ops.replay_runs WHERE run_id = $1")
            .bind(run)
            .fetch_optional(database)
            .await?;
    let Some(to_exchange) = to_exchange else {
        return Err(MessagingError::ReplayRunNotFound(run.to_owned()));
    };
    #[derive(sqlx::FromRow)]
    struct Row {
        number: i64,
        queue: String,
        fingerprint: String,
        event_id: Option<String>,
        outcome: Option<String>,
        edited_as: Option<String>,
        edited_body: Option<String>,
    }
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT number, queue, fingerprint, event_id, outcome, edited_as, edited_body
           FROM dm_ops.replay_messages WHERE run_id = $1 ORDER BY number",
    )
    .bind(run)
    .fetch_all(database)
    .await?;
    let entries = rows
        .into_iter()
        .map(|row| ReplayEntry {
            number: row.number,
            queue: row.queue,
            fingerprint: row.fingerprint,
            event_id: row.event_id,
            outcome: row.outcome.and_then(|word| {
                ReplayOutcome::ALL
                    .into_iter()
                    .find(|outcome| outcome.as_str() == word)
            }),
            replacement: row
                .edited_as
                .zip(row.edited_body)
                .map(|(id, body)| EditedEvent { id, body }),
        })
        .collect();
    Ok((to_exchange, entries))
}

/// Notes what became of some messages of a run.
pub(super) async fn record_outcome(
    database: &PgPool,
    run: &str,
    numbers: &[i64],
    outcome: ReplayOutcome,
) -> Result<(), MessagingError> {
    if numbers.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "UPDATE dm_ops.replay_messages SET outcome = $3, decided_at = clock_timestamp()
          WHERE run_id = $1 AND number = ANY($2)",
    )
    .bind(run)
    .bind(numbers)
    .bind(outcome.as_str())
    .execute(database)
    .await?;
    Ok(())
}

/// Notes that a run came to its end.
pub(super) async fn record_end(database: &PgPool, run: &str) -> Result<(), MessagingError> {
    sqlx::query("UPDATE dm_ops.replay_runs SET ended_at = clock_timestamp() WHERE run_id = $1")
        .bind(run)
        .execute(database)
        .await?;
    Ok(())
}

/// The ids of the runs that have not ended, oldest first.
///
/// # Errors
/// The database is away.
pub async fn unfinished_runs(database: &PgPool) -> Result<Vec<String>, MessagingError> {
    let statement =
        "SELECT run_id FROM dm_ops.replay_runs WHERE ended_at IS NULL ORDER BY began_at";
    Ok(sqlx::query_scalar(statement).fetch_all(database).await?)
}

/// The latest runs, latest first.
///
/// # Errors
/// The database is away.
pub async fn latest_runs(database: &PgPool, limit: i64) -> Result<Vec<ReplayRun>, MessagingError> {
    Ok(sqlx::query_as(
        "SELECT run_id, began_at, ended_at, digest, to_exchange, count(number) AS messages,
                count(*) FILTER (WHERE outcome = 'replayed') AS replayed,
                count(*) FILTER (WHERE outcome <> 'replayed') AS others
           FROM dm_ops.replay_runs LEFT JOIN dm_ops.replay_messages USING (run_id)
          GROUP BY run_id
          ORDER BY began_at DESC
          LIMIT $1",
    )
    .bind(limit)
    .fetch_all(database)
    .await?)
}
