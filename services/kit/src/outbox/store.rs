//! The table `outbox_events`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use dm_contracts::Envelope;
use sqlx::postgres::PgListener;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};

/// A row that waits to be published.
#[derive(Debug, Clone, FromRow)]
pub(super) struct Pending {
    pub(super) event_id: String,
    pub(super) event_type: String,
    pub(super) routing_key: String,
    pub(super) subject: String,
    pub(super) traceparent: Option<String>,
    pub(super) payload: String,
    pub(super) attempts: i32,
    pub(super) created_at: DateTime<Utc>,
    /// Whether it was kept back for a while, on purpose or after a refusal.
    pub(super) held: bool,
}

/// Writes the row, and wakes the relay once it is committed. Several in one
/// transaction wake it once: PostgreSQL folds notifications that are alike.
pub(super) async fn insert(
    transaction: &mut PgConnection,
    envelope: &Envelope,
    routing_key: &str,
    traceparent: &str,
    hold: Duration,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "WITH written AS (
             INSERT INTO outbox_events
                 (event_id, event_type, routing_key, subject, traceparent, payload, not_before)
             VALUES ($1, $2, $3, $4, $5, $6,
                     CASE WHEN $7 > 0 THEN clock_timestamp() + $7 * interval '1 second' END)
         )
         SELECT pg_notify('outbox.' || current_schema(), '')",
    )
    .bind(&envelope.id)
    .bind(&envelope.event_type)
    .bind(routing_key)
    .bind(&envelope.subject)
    .bind(traceparent)
    .bind(Json(envelope))
    .bind(hold.as_secs_f64())
    .execute(transaction)
    .await?;
    Ok(())
}

/// What may be published now, oldest first. An event waits for those of its
/// aggregate that are held back or were refused before it.
///
/// By state and never by "id greater than the last": numbers are given in another
/// order than transactions commit.
pub(super) async fn due(session: &mut PgListener, limit: i64) -> Result<Vec<Pending>, sqlx::Error> {
    // What is held back is looked up once, and not for every event: a planner that knows
    // little of the table would look through all of it each time.
    sqlx::query_as(
        "WITH held AS MATERIALIZED (
             SELECT subject, min(sequence) AS sequence
               FROM outbox_events
              WHERE published_at IS NULL AND not_before > clock_timestamp()
              GROUP BY subject
         )
         SELECT event_id, event_type, routing_key, subject, traceparent,
                payload::text AS payload, attempts, created_at,
                not_before IS NOT NULL AS held
           FROM outbox_events AS event
          WHERE published_at IS NULL
            AND (subject NOT IN (SELECT subject FROM held)
                 OR sequence < (SELECT held.sequence FROM held
                                 WHERE held.subject = event.subject))
          ORDER BY sequence
          LIMIT $1",
    )
    .bind(limit)
    .fetch_all(session)
    .await
}

/// How long until the next event that is held back is due; `None` without any.
pub(super) async fn next_due(session: &mut PgListener) -> Result<Option<Duration>, sqlx::Error> {
    let seconds: Option<f64> = sqlx::query_scalar(
        "SELECT extract(epoch FROM min(not_before) - clock_timestamp())::float8
           FROM outbox_events
          WHERE published_at IS NULL AND not_before IS NOT NULL",
    )
    .fetch_one(session)
    .await?;
    Ok(seconds.map(|seconds| Duration::from_secs_f64(seconds.max(0.0))))
}

/// Notes that the broker has these.
pub(super) async fn published(session: &mut PgListener, ids: &[String]) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE outbox_events
            SET published_at = clock_timestamp(), attempts = attempts + 1, last_error = NULL
          WHERE event_id = ANY($1)",
    )
    .bind(ids)
    .execute(session)
    .await?;
    Ok(())
}

/// Notes that the broker didn't take this one, and when to try again.
pub(super) async fn refused(
    session: &mut PgListener,
    id: &str,
    error: &str,
    pause: Duration,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE outbox_events
            SET attempts = attempts + 1, last_error = $2,
                not_before = clock_timestamp() + $3 * interval '1 second'
          WHERE event_id = $1",
    )
    .bind(id)
    .bind(error)
    .bind(pause.as_secs_f64())
    .execute(session)
    .await?;
    Ok(())
}
