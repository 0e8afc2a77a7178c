//! The table `idempotency_records`: what requests with a key were answered.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::PgConnection;
use sqlx::types::Json;

/// A kind of operation: each has keys of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdempotentOperation {
    Scan,
    Dispatch,
}

impl IdempotentOperation {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Scan => "SCAN",
            Self::Dispatch => "DISPATCH",
        }
    }
}

/// Keeps others with the same key waiting until the transaction ends, and answers
/// what the key was answered before. So of two requests at once one does the work
/// and the other gets its answer; if the first fails, the second does the work.
pub(crate) async fn claim_key<T: DeserializeOwned + Send + Unpin + 'static>(
    transaction: &mut PgConnection,
    operation: IdempotentOperation,
    key: &str,
) -> Result<Option<T>, sqlx::Error> {
    // A row can't be locked that isn't there. Two keys of one hash only wait for
    // each other. The lock goes first, in a statement of its own: the next one sees
    // what was committed while this one waited.
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1 || ':' || $2, 0))")
        .bind(operation.as_str())
        .bind(key)
        .execute(&mut *transaction)
        .await?;
    let stored: Option<Json<T>> = sqlx::query_scalar(
        "SELECT response_json FROM idempotency_records
          WHERE operation_type = $1 AND idempotency_key = $2",
    )
    .bind(operation.as_str())
    .bind(key)
    .fetch_optional(transaction)
    .await?;
    Ok(stored.map(|stored| stored.0))
}

/// Notes what a key was answered. The key must be claimed.
pub(crate) async fn store_response<T: Serialize + Sync>(
    transaction: &mut PgConnection,
    operation: IdempotentOperation,
    key: &str,
    shipment_id: &str,
    answer: &T,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO idempotency_records
             (operation_type, idempotency_key, shipment_id, response_json)
         VALUES ($1, $2, $3, $4)",
    )
    .bind(operation.as_str())
    .bind(key)
    .bind(shipment_id)
    .bind(Json(answer))
    .execute(transaction)
    .await?;
    Ok(())
}
