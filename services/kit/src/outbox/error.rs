//! Errors of the relay.

use std::time::Duration;

use thiserror::Error;

use crate::broker::BrokerError;

/// Maximum duration of a query. If the server is unreachable, the operating system would
/// otherwise wait for a quarter of an hour.
const QUERY_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Debug, Error)]
pub(super) enum RelayError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error("could not query PostgreSQL: {0}")]
    Database(#[from] sqlx::Error),
    #[error("PostgreSQL did not answer within {} s", QUERY_TIMEOUT.as_secs())]
    DatabaseTimeout,
    #[error("could not publish a part completely: {0}")]
    TaskFailed(String),
    #[error("PostgreSQL closed the session")]
    DatabaseSessionLost,
    #[error("RabbitMQ closed the connection")]
    BrokerConnectionLost,
}

/// Waits for a query, at most [`QUERY_TIMEOUT`].
pub(super) async fn with_query_timeout<T>(
    query: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, RelayError> {
    tokio::time::timeout(QUERY_TIMEOUT, query)
        .await
        .map_err(|_| RelayError::DatabaseTimeout)?
        .map_err(RelayError::from)
}
