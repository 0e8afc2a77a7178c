//! What rests after a refusal goes now.

use sqlx::{AssertSqlSafe, PgPool};

use crate::MessagingError;
use crate::service_tables::ServiceTables;

/// Has the relays take up, at once, what the broker refused and what therefore rests: all
/// of it, or these events. What is kept back on purpose stays so. Answers how many these
/// are.
///
/// # Errors
/// The database is away: some services' events may have gone and others not.
pub async fn retry_refused(
    database: &PgPool,
    service_tables: &[ServiceTables],
    ids: &[String],
) -> Result<u64, MessagingError> {
    let mut woken = 0;
    for store in service_tables {
        let table = store.qualified_table("outbox_events");
        let statement = format!(
            "UPDATE {table} SET not_before = NULL
              WHERE published_at IS NULL AND last_error IS NOT NULL
                AND ($1 = '{{}}' OR event_id = ANY($1))"
        );
        let mut transaction = database.begin().await?;
        let found = sqlx::query(AssertSqlSafe(statement))
            .bind(ids)
            .execute(&mut *transaction)
            .await?
            .rows_affected();
        if found > 0 {
            // The relay listens to it, in whichever process it is.
            sqlx::query("SELECT pg_notify('outbox.' || $1, '')")
                .bind(&store.schema)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        woken += found;
    }
    Ok(woken)
}
