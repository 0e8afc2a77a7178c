//! The table `idempotency_records`: the responses to requests with an idempotency key.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::PgConnection;
use sqlx::types::Json;

/// A kind of operation. Each kind has its own keys.
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

/// Locks the key until the transaction ends, and returns the stored response of the key. Of two
/// concurrent requests, the first does the work and the second gets its response; if the first
/// fails, the second does the work.
pub(crate) async fn claim_key<T: DeserializeOwned + Send + Unpin + 'static>(
    transaction: &mut PgConnection,
    operation: IdempotentOperation,
    key: &str,
) -> Result<Option<T>, sqlx::Error> {
    // A missing row cannot be locked, hence the advisory lock. Two keys with equal hashes only
    // wait for each other. The lock is a separate statement: the next statement sees the rows
    // that were committed while this one waited.
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

/// Stores the response of a key. The key must be claimed.
pub(crate) async fn store_response<T: Serialize + Sync>(
    transaction: &mut PgConnection,
    operation: IdempotentOperation,
    key: &str,
    shipment_id: &str,
    response: &T,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO idempotency_records
             (operation_type, idempotency_key, shipment_id, response_json)
         VALUES ($1, $2, $3, $4)",
    )
    .bind(operation.as_str())
    .bind(key)
    .bind(shipment_id)
    .bind(Json(response))
    .execute(transaction)
    .await?;
    Ok(())
}
