//! The table `outbox_events`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use dm_contracts::Envelope;
use sqlx::postgres::PgListener;
use sqlx::{FromRow, PgConnection};

/// An event that waits to be published.
#[derive(Debug, Clone, FromRow)]
pub(super) struct PendingEvent {
    pub(super) sequence: i64,
    pub(super) event_id: String,
    pub(super) event_type: String,
    pub(super) routing_key: String,
    pub(super) subject: String,
    pub(super) traceparent: Option<String>,
    /// The envelope, where it is small. A larger one is read when it is sent.
    pub(super) payload: Option<String>,
    /// About how many bytes the envelope has, and rather more than fewer.
    pub(super) weight: i64,
    pub(super) attempts: i32,
    pub(super) created_at: DateTime<Utc>,
    /// Whether it was kept back for a while, on purpose or after a refusal.
    pub(super) held: bool,
}

/// A row that is pending, whether or not it can be published now.
#[derive(Debug, Clone, FromRow)]
pub(super) struct PendingRow {
    /// In how many seconds it is due, where it was kept back.
    pub(super) wait: Option<f64>,
    #[sqlx(flatten)]
    pub(super) pending: PendingEvent,
}

/// Writes the row. Its text of the envelope is what will be published.
pub(super) async fn insert(
    transaction: &mut PgConnection,
    envelope: &Envelope,
    routing_key: &str,
    traceparent: &str,
    hold: Duration,
) -> Result<(), sqlx::Error> {
    let text =
        serde_json::to_string(envelope).map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
    sqlx::query(
        "INSERT INTO outbox_events
             (event_id, event_type, routing_key, subject, traceparent, payload, not_before)
         VALUES ($1, $2, $3, $4, $5, $6::json,
                 CASE WHEN $7 > 0 THEN clock_timestamp() + $7 * interval '1 second' END)",
    )
    .bind(&envelope.id)
    .bind(&envelope.event_type)
    .bind(routing_key)
    .bind(&envelope.subject)
    .bind(traceparent)
    .bind(text)
    .bind(hold.as_secs_f64())
    .execute(transaction)
    .await?;
    Ok(())
}

/// What is pending after a number, oldest first.
///
/// An envelope that PostgreSQL keeps in the row as it is, some 2 kB at most, comes along.
/// Of a larger one only the weight is told: to know its length would be to read it. What
/// is stored compressed is taken for a hundred times as long, about the most that `pglz`
/// can do.
pub(super) async fn fetch_pending(
    session: &mut PgListener,
    after: i64,
    limit: i64,
) -> Result<Vec<PendingRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT sequence, event_id, event_type, routing_key, subject, traceparent,
                CASE WHEN (not_before > statement_timestamp()) IS NOT TRUE
                      AND pg_column_compression(payload) IS NULL
                      AND pg_column_size(payload) < 2048
                     THEN payload::text END AS payload,
                pg_column_size(payload)::bigint
                    * CASE WHEN pg_column_compression(payload) IS NULL THEN 1 ELSE 100 END
                    AS weight,
                attempts, created_at, not_before IS NOT NULL AS held,
                extract(epoch FROM not_before - statement_timestamp())::float8 AS wait
           FROM outbox_events
          WHERE published_at IS NULL AND sequence > $1
          ORDER BY sequence
          LIMIT $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(session)
    .await
}

/// The envelopes of these events.
pub(super) async fn fetch_payloads(
    session: &mut PgListener,
    sequences: &[i64],
) -> Result<Vec<(i64, String)>, sqlx::Error> {
    sqlx::query_as("SELECT sequence, payload::text FROM outbox_events WHERE sequence = ANY($1)")
        .bind(sequences)
        .fetch_all(session)
        .await
}

/// Who holds the lock of a relay.
#[derive(Debug, Clone, FromRow)]
pub(super) struct AdvisoryLockHolder {
    pub(super) pid: i32,
    pub(super) role: Option<String>,
    pub(super) application: Option<String>,
    /// Whether it has this session's role, as a relay of this schema would.
    pub(super) ours: bool,
}

/// Who holds the lock under which this schema is relayed, if anyone does.
pub(super) async fn find_lock_holder(
    session: &mut PgListener,
    schema: &str,
) -> Result<Option<AdvisoryLockHolder>, sqlx::Error> {
    sqlx::query_as(
        "SELECT lock.pid, activity.usename::text AS role,
                activity.application_name AS application,
                activity.usename IS NOT DISTINCT FROM current_user AS ours
           FROM pg_locks AS lock LEFT JOIN pg_stat_activity AS activity USING (pid)
          WHERE lock.locktype = 'advisory' AND lock.granted AND lock.objsubid = 2
            AND lock.classid = hashtext('outbox')::oid AND lock.objid = hashtext($1)::oid
            AND lock.database = (SELECT oid FROM pg_database
                                  WHERE datname = current_database())
          LIMIT 1",
    )
    .bind(schema)
    .fetch_optional(session)
    .await
}

/// Notes that the broker has these.
pub(super) async fn mark_published(
    session: &mut PgListener,
    sequences: &[i64],
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE outbox_events
            SET published_at = clock_timestamp(), attempts = attempts + 1, last_error = NULL
          WHERE sequence = ANY($1)",
    )
    .bind(sequences)
    .execute(session)
    .await?;
    Ok(())
}

/// Notes that the broker didn't take this one, and when to try again.
pub(super) async fn mark_refused(
    session: &mut PgListener,
    sequence: i64,
    error: &str,
    pause: Duration,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE outbox_events
            SET attempts = attempts + 1, last_error = $2,
                not_before = clock_timestamp() + $3 * interval '1 second'
          WHERE sequence = $1",
    )
    .bind(sequence)
    .bind(error)
    .bind(pause.as_secs_f64())
    .execute(session)
    .await?;
    Ok(())
}
