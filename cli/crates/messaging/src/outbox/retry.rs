//! Retries refused events immediately.

use sqlx::{AssertSqlSafe, PgPool};

use crate::MessagingError;
use crate::service_tables::ServiceTables;

/// Makes the relays retry events that the broker refused immediately: all of them, or the
/// events with these ids. Events that are held on purpose stay held. Returns the number of
/// events.
///
/// # Errors
/// Returns [`MessagingError`] if the database cannot be reached. The events of some services may be
/// retried already.
pub async fn retry_refused(
    database: &PgPool,
    service_tables: &[ServiceTables],
    ids: &[String],
) -> Result<u64, MessagingError> {
    let mut retried = 0;
    for tables in service_tables {
        let table = tables.qualified_table("outbox_events");
        let statement = format!(
            "UPDATE {table} SET not_before = NULL
              WHERE published_at IS NULL AND last_error IS NOT NULL
                AND ($1 = '{{}}' OR event_id = ANY($1))"
        );
        let mut transaction = database.begin().await?;
        let updated = sqlx::query(AssertSqlSafe(statement))
            .bind(ids)
            .execute(&mut *transaction)
            .await?
            .rows_affected();
        if updated > 0 {
            // The relay of the schema listens on this channel.
            sqlx::query("SELECT pg_notify('outbox.' || $1, '')")
                .bind(&tables.schema)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        retried += updated;
    }
    Ok(retried)
}
