//! Retries refused events immediately.

use std::collections::HashSet;

use sqlx::{AssertSqlSafe, PgPool};

use crate::MessagingError;
use crate::service_tables::ServiceTables;

/// Makes the relays retry events that the broker refused immediately: all of them, or the
/// events with these ids. Events that are held on purpose stay held. Returns the number of
/// events.
///
/// # Errors
/// Returns [`MessagingError`] if an id is not that of a refused event, or if the database cannot be
/// reached. No event is retried then.
pub async fn retry_refused(
    database: &PgPool,
    service_tables: &[ServiceTables],
    ids: &[String],
) -> Result<u64, MessagingError> {
    let mut retried = HashSet::new();
    let mut transaction = database.begin().await?;
    for tables in service_tables {
        let table = tables.qualified_table("outbox_events");
        let statement = format!(
            "UPDATE {table} SET not_before = NULL
              WHERE published_at IS NULL AND last_error IS NOT NULL
                AND ($1 = '{{}}' OR event_id = ANY($1))
             RETURNING event_id"
        );
        let updated: Vec<String> = sqlx::query_scalar(AssertSqlSafe(statement))
            .bind(ids)
            .fetch_all(&mut *transaction)
            .await?;
        if !updated.is_empty() {
            // The relay of the schema listens on this channel.
            sqlx::query("SELECT pg_notify('outbox.' || $1, '')")
                .bind(&tables.schema)
                .execute(&mut *transaction)
                .await?;
        }
        retried.extend(updated);
    }
    if let Some(id) = ids.iter().find(|id| !retried.contains(*id)) {
        return Err(MessagingError::EventNotRefused(id.clone()));
    }
    transaction.commit().await?;
    Ok(u64::try_from(retried.len()).unwrap_or(u64::MAX))
}
