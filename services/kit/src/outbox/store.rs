//! Queries of the table `outbox_events`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use dm_contracts::Envelope;
use sqlx::postgres::PgListener;
use sqlx::{FromRow, PgConnection};

/// An event that has not been published.
#[derive(Debug, Clone, FromRow)]
pub(super) struct PendingEvent {
    pub(super) sequence: i64,
    pub(super) event_id: String,
    pub(super) event_type: String,
    pub(super) routing_key: String,
    pub(super) subject: String,
    pub(super) traceparent: Option<String>,
    /// The envelope, if it is small. A larger one is read when it is sent.
    pub(super) payload: Option<String>,
    /// Upper estimate of the size of the envelope in bytes.
    pub(super) payload_size: i64,
    pub(super) attempts: i32,
    pub(super) created_at: DateTime<Utc>,
    /// Whether the event was delayed, because it was held or refused.
    pub(super) was_delayed: bool,
}

/// A pending row, whether or not it is due.
#[derive(Debug, Clone, FromRow)]
pub(super) struct PendingRow {
    /// Seconds until the event is due, if it was delayed.
    pub(super) due_in_seconds: Option<f64>,
    #[sqlx(flatten)]
    pub(super) pending: PendingEvent,
}

/// Inserts an event. The text of its envelope is published unchanged.
pub(super) async fn insert(
    transaction: &mut PgConnection,
    envelope: &Envelope,
    routing_key: &str,
    traceparent: &str,
    delay: Duration,
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
    .bind(delay.as_secs_f64())
    .execute(transaction)
    .await?;
    Ok(())
}

/// Returns the pending rows after a sequence number, oldest first.
///
/// A row contains its envelope if PostgreSQL stores it uncompressed in the row, which means at
/// most about 2 kB. For a larger one only the size is estimated, since its exact length would
/// require reading it. A compressed one counts as a hundred times its stored size, about the
/// maximum ratio of `pglz`.
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
                    AS payload_size,
                attempts, created_at, not_before IS NOT NULL AS was_delayed,
                extract(epoch FROM not_before - statement_timestamp())::float8
                    AS due_in_seconds
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

/// The session that holds the lock of a relay.
#[derive(Debug, Clone, FromRow)]
pub(super) struct AdvisoryLockHolder {
    pub(super) pid: i32,
    pub(super) role: Option<String>,
    pub(super) application: Option<String>,
    /// Whether it has the role of this session, like a relay of this schema.
    pub(super) has_own_role: bool,
}

/// Returns the session that holds the lock of this schema's relay, if there is one.
pub(super) async fn find_lock_holder(
    session: &mut PgListener,
    schema: &str,
) -> Result<Option<AdvisoryLockHolder>, sqlx::Error> {
    sqlx::query_as(
        "SELECT lock.pid, activity.usename::text AS role,
                activity.application_name AS application,
                activity.usename IS NOT DISTINCT FROM current_user AS has_own_role
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

/// The session in which the events of a batch are read and marked.
pub(super) trait OutboxSession: Send {
    /// Returns the envelopes of these events.
    fn fetch_payloads(
        &mut self,
        sequences: &[i64],
    ) -> impl Future<Output = Result<Vec<(i64, String)>, sqlx::Error>> + Send;

    /// Marks events as published.
    fn mark_published(
        &mut self,
        sequences: &[i64],
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Marks an event as refused, and delays it.
    fn mark_refused(
        &mut self,
        sequence: i64,
        error: &str,
        delay: Duration,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
}

impl OutboxSession for PgListener {
    async fn fetch_payloads(
        &mut self,
        sequences: &[i64],
    ) -> Result<Vec<(i64, String)>, sqlx::Error> {
        sqlx::query_as("SELECT sequence, payload::text FROM outbox_events WHERE sequence = ANY($1)")
            .bind(sequences)
            .fetch_all(self)
            .await
    }

    async fn mark_published(&mut self, sequences: &[i64]) -> Result<(), sqlx::Error> {
        sqlx::query(
            "UPDATE outbox_events
                SET published_at = clock_timestamp(), attempts = attempts + 1, last_error = NULL
              WHERE sequence = ANY($1)",
        )
        .bind(sequences)
        .execute(self)
        .await?;
        Ok(())
    }

    async fn mark_refused(
        &mut self,
        sequence: i64,
        error: &str,
        delay: Duration,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(
            "UPDATE outbox_events
                SET attempts = attempts + 1, last_error = $2,
                    not_before = clock_timestamp() + $3 * interval '1 second'
              WHERE sequence = $1",
        )
        .bind(sequence)
        .bind(error)
        .bind(delay.as_secs_f64())
        .execute(self)
        .await?;
        Ok(())
    }
}
