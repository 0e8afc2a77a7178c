//! How relaying fails.

use std::time::Duration;

use thiserror::Error;

use crate::broker::BrokerError;

/// How long the database may take to answer. A server that is cut off says nothing, and
/// without a limit the system would wait for a quarter of an hour.
const ANSWER: Duration = Duration::from_secs(20);

#[derive(Debug, Error)]
pub(super) enum RelayError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error("could not query PostgreSQL: {0}")]
    Database(#[from] sqlx::Error),
    #[error("PostgreSQL did not answer within {} s", ANSWER.as_secs())]
    DatabaseSilent,
    #[error("could not publish a part completely: {0}")]
    Ended(String),
    #[error("PostgreSQL closed the session")]
    SessionLost,
    #[error("RabbitMQ closed the connection")]
    ConnectionLost,
}

/// Waits for the database, but not for one that says nothing.
pub(super) async fn in_time<T>(
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, RelayError> {
    tokio::time::timeout(ANSWER, answer)
        .await
        .map_err(|_| RelayError::DatabaseSilent)?
        .map_err(RelayError::from)
}
