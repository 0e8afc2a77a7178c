//! How relaying fails.

use std::time::Duration;

use thiserror::Error;

use crate::broker::BrokerError;

/// How long the database may take to answer. A server that is cut off says nothing, and
/// without a limit the system would wait for a quarter of an hour.
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

/// Waits for the database, but not for one that says nothing.
pub(super) async fn with_query_timeout<T>(
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, RelayError> {
    tokio::time::timeout(QUERY_TIMEOUT, answer)
        .await
        .map_err(|_| RelayError::DatabaseTimeout)?
        .map_err(RelayError::from)
}
