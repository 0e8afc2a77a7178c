//! A session with the database's server that does not pass the engine's port proxy.
//!
//! The proxy copies each byte in and out of a process of its own: for a session through
//! which a whole dump comes that is much of what it costs. The container's own address can be
//! reached where the engine is on this machine and its networks are, too; elsewhere the
//! published port serves as well.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection};

use super::BackupError;

/// How long the container's address may take to answer. Where nothing is there, mostly
/// nobody says so.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// A session with whatever server is at the container's address.
pub(super) struct DirectConnection {
    session: PgConnection,
    server_started_at: DateTime<Utc>,
}

impl DirectConnection {
    /// Asks for one by that way; there may be nothing that answers.
    pub(super) async fn try_connect(options: Option<&PgConnectOptions>) -> Option<Self> {
        let options = options?;
        let asked = async {
            let mut session = options.connect().await?;
            let began = server_start_time(&mut session).await?;
            Ok::<_, sqlx::Error>(Self {
                session,
                server_started_at: began,
            })
        };
        let answered = tokio::time::timeout(CONNECT_TIMEOUT, asked).await;
        answered.ok()?.ok()
    }
}

/// A session of its own with the server of `beside`: the near one if it is that, for what
/// another network has at the address is another server.
///
/// # Errors
/// The server fails.
pub(super) async fn connect_preferring_direct(
    direct: Option<DirectConnection>,
    options: &PgConnectOptions,
    published: &mut PgConnection,
) -> Result<PgConnection, BackupError> {
    if let Some(near) = direct
        && near.server_started_at == server_start_time(published).await?
    {
        return Ok(near.session);
    }
    Ok(options.connect().await?)
}

/// When the server was started, to the microsecond: no two of them have it in common.
async fn server_start_time(session: &mut PgConnection) -> Result<DateTime<Utc>, sqlx::Error> {
    sqlx::query_scalar("SELECT pg_postmaster_start_time()")
        .fetch_one(session)
        .await
}
