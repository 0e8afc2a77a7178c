//! The audit of replays, in the tables of `dm_ops`.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgPool;
use sqlx::types::Json;

use super::{DeadLetter, to_postgres_text};
use crate::MessagingError;

/// The outcome of a message of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReplayOutcome {
    /// It was published to its queue or exchange.
    Replayed,
    /// The broker could not route it to a queue. It stays a dead letter.
    Returned,
    /// It is no longer a dead letter, because another client removed it.
    Missing,
}

impl ReplayOutcome {
    const ALL: [Self; 3] = [Self::Replayed, Self::Returned, Self::Missing];

    /// Returns the name of the outcome.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Replayed => "replayed",
            Self::Returned => "returned",
            Self::Missing => "missing",
        }
    }
}

/// A message of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReplayEntry {
    /// The number within the run.
    pub number: i64,
    /// The work queue.
    pub queue: String,
    /// The fingerprint of the letter.
    pub fingerprint: String,
    /// The event's id.
    pub event_id: Option<String>,
    /// The outcome, if there is one yet.
    pub outcome: Option<ReplayOutcome>,
    /// The edited event that replaces it, if it was edited.
    pub replacement: Option<EditedEvent>,
}

/// An edited event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EditedEvent {
    /// The new id.
    pub id: String,
    /// The body, which contains the new id.
    pub body: String,
}

/// A replay run with its counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct ReplayRun {
    /// The id of the run.
    pub run_id: String,
    /// The instant of the start.
    pub began_at: DateTime<Utc>,
    /// The instant of the end. `None` if the run is unfinished.
    pub ended_at: Option<DateTime<Utc>>,
    /// The digest of its letters.
    pub digest: String,
    /// Whether the letters were published to the exchange.
    pub to_exchange: bool,
    /// The number of messages.
    pub messages: i64,
    /// The number of replayed messages.
    pub replayed: i64,
    /// The number of messages that were returned or missing.
    pub not_replayed: i64,
}

/// Inserts a run with its letters before the first letter is published.
pub(super) async fn record_run(
    database: &PgPool,
    run_id: &str,
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
    .bind(run_id)
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
    .bind(run_id)
    .bind(column(|letter| Some(&letter.queue)))
    .bind(column(|letter| Some(&letter.fingerprint)))
    .bind(column(|letter| letter.id.as_deref()))
    .bind(column(|letter| letter.event_type.as_deref()))
    .bind(column(|letter| Some(&letter.reason)))
    // Set only for a single letter.
    .bind(edited.map(|edited| &edited.id))
    .bind(edited.map(|edited| &edited.body))
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(())
}

/// Loads the messages of a run, and whether it publishes to the exchange.
pub(super) async fn load_entries(
    database: &PgPool,
    run_id: &str,
) -> Result<(bool, Vec<ReplayEntry>), MessagingError> {
    let to_exchange: Option<bool> =
        sqlx::query_scalar("SELECT to_exchange FROM dm_ops.replay_runs WHERE run_id = $1")
            .bind(run_id)
            .fetch_optional(database)
            .await?;
    let Some(to_exchange) = to_exchange else {
        return Err(MessagingError::ReplayRunNotFound(run_id.to_owned()));
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
    .bind(run_id)
    .fetch_all(database)
    .await?;
    let entries = rows
        .into_iter()
        .map(|row| ReplayEntry {
            number: row.number,
            queue: row.queue,
            fingerprint: row.fingerprint,
            event_id: row.event_id,
            outcome: row.outcome.and_then(|name| {
                ReplayOutcome::ALL
                    .into_iter()
                    .find(|outcome| outcome.as_str() == name)
            }),
            replacement: row
                .edited_as
                .zip(row.edited_body)
                .map(|(id, body)| EditedEvent { id, body }),
        })
        .collect();
    Ok((to_exchange, entries))
}

/// Records the outcome of some messages of a run.
pub(super) async fn record_outcome(
    database: &PgPool,
    run_id: &str,
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
    .bind(run_id)
    .bind(numbers)
    .bind(outcome.as_str())
    .execute(database)
    .await?;
    Ok(())
}

/// Records the end of a run.
pub(super) async fn record_end(database: &PgPool, run_id: &str) -> Result<(), MessagingError> {
    sqlx::query("UPDATE dm_ops.replay_runs SET ended_at = clock_timestamp() WHERE run_id = $1")
        .bind(run_id)
        .execute(database)
        .await?;
    Ok(())
}

/// Returns the ids of the unfinished runs, oldest first.
///
/// # Errors
/// Returns [`MessagingError`] if the database cannot be reached.
pub async fn unfinished_runs(database: &PgPool) -> Result<Vec<String>, MessagingError> {
    let statement =
        "SELECT run_id FROM dm_ops.replay_runs WHERE ended_at IS NULL ORDER BY began_at";
    Ok(sqlx::query_scalar(statement).fetch_all(database).await?)
}

/// Returns the latest runs, latest first.
///
/// # Errors
/// Returns [`MessagingError`] if the database cannot be reached.
pub async fn latest_runs(database: &PgPool, limit: i64) -> Result<Vec<ReplayRun>, MessagingError> {
    Ok(sqlx::query_as(
        "SELECT run_id, began_at, ended_at, digest, to_exchange, count(number) AS messages,
                count(*) FILTER (WHERE outcome = 'replayed') AS replayed,
                count(*) FILTER (WHERE outcome <> 'replayed') AS not_replayed
           FROM dm_ops.replay_runs LEFT JOIN dm_ops.replay_messages USING (run_id)
          GROUP BY run_id
          ORDER BY began_at DESC
          LIMIT $1",
    )
    .bind(limit)
    .fetch_all(database)
    .await?)
}
