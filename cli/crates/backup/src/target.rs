//! The server that gets a set's database.

use std::time::Duration;

use dm_components::database::Database;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection};

use super::{BackupError, Server};

/// Where a set's database goes.
pub struct Target<'a> {
    /// The database's container.
    pub postgres: Server<'a>,
    /// The database, as its superuser.
    pub options: PgConnectOptions,
    /// Its superuser.
    pub user: &'a str,
    /// Its name.
    pub name: &'a str,
    /// How it is set up.
    pub setup: &'a Database,
    /// How long another session may hold a lock that is needed.
    pub lock: Duration,
    /// The version of Keycloak that the stack runs, where it is known.
    pub keycloak: Option<&'a str>,
}

impl Target<'_> {
    /// A session with a database of the server; not with the one that changes places. What
    /// the database sets for its sessions does not hold for it.
    pub(super) async fn session(&self, database: &str) -> Result<PgConnection, BackupError> {
        Ok(self.plain().database(database).connect().await?)
    }

    /// A session with the database itself.
    pub(super) async fn own_session(&self) -> Result<PgConnection, BackupError> {
        self.session(self.name).await
    }

    /// Sessions that no setting of a database or a role can spoil.
    pub(super) fn plain(&self) -> PgConnectOptions {
        self.options.clone().options([
            ("statement_timeout", "0"),
            ("idle_in_transaction_session_timeout", "0"),
            ("default_transaction_read_only", "off"),
            ("session_replication_role", "origin"),
            ("search_path", "pg_catalog"),
        ])
    }
}
