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
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    #[error("the database did not answer within {} s", ANSWER.as_secs())]
    DatabaseSilent,
    #[error("a part was not sent to its end: {0}")]
    Ended(String),
    #[error("the database closed the session")]
    SessionLost,
    #[error("the broker closed the connection")]
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
