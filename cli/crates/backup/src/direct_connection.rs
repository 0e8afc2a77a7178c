//! A session with the database server that bypasses the engine's port proxy.
//!
//! The proxy copies each byte into and out of a process of its own, which is much of the cost of
//! reading a whole dump. The address of the container can be reached if the engine and its
//! networks are on this machine. Otherwise the published port is used.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection};

use super::BackupError;

/// How long the address of the container may take to respond. If the address is unused, there is
/// usually no response.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// A session with the server at the container's address, which may be another server.
pub(super) struct DirectConnection {
    session: PgConnection,
    server_started_at: DateTime<Utc>,
}

impl DirectConnection {
    /// Connects to the address. Returns `None` if that fails.
    pub(super) async fn try_connect(options: Option<&PgConnectOptions>) -> Option<Self> {
        let options = options?;
        let connecting = async {
            let mut session = options.connect().await?;
            let server_started_at = server_start_time(&mut session).await?;
            Ok::<_, sqlx::Error>(Self {
                session,
                server_started_at,
            })
        };
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
        connected.ok()?.ok()
    }
}

/// Returns a new session with the server of `published`: the direct session if it is with the same
/// server. In another network, the address may belong to another server.
///
/// # Errors
/// Returns [`BackupError`] if the database cannot be reached.
pub(super) async fn connect_preferring_direct(
    direct: Option<DirectConnection>,
    options: &PgConnectOptions,
    published: &mut PgConnection,
) -> Result<PgConnection, BackupError> {
    if let Some(direct) = direct
        && direct.server_started_at == server_start_time(published).await?
    {
        return Ok(direct.session);
    }
    Ok(options.connect().await?)
}

/// Returns the start time of the server, to the microsecond, which is unique to the server.
async fn server_start_time(session: &mut PgConnection) -> Result<DateTime<Utc>, sqlx::Error> {
    sqlx::query_scalar("SELECT pg_postmaster_start_time()")
        .fetch_one(session)
        .await
}
