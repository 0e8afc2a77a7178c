//! The server that gets a set's database.

use std::time::Duration;

use dm_components::database_setup::DatabaseSetup;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection};

use super::{BackupError, ServerContainer};

/// Where a set's database goes.
pub struct RestoreTarget<'a> {
    /// The database's container.
    pub container: ServerContainer<'a>,
    /// The database, as its superuser.
    pub options: PgConnectOptions,
    /// Its superuser.
    pub superuser: &'a str,
    /// Its name.
    pub database: &'a str,
    /// How it is set up.
    pub setup: &'a DatabaseSetup,
    /// How long another session may hold a lock that is needed.
    pub lock_timeout: Duration,
    /// The version of Keycloak that the stack runs, where it is known.
    pub keycloak_version: Option<&'a str>,
}

impl RestoreTarget<'_> {
    /// A session with a database of the server; not with the one that changes places. What
    /// the database sets for its sessions does not hold for it.
    pub(super) async fn connect_to(&self, database: &str) -> Result<PgConnection, BackupError> {
        Ok(self.session_options().database(database).connect().await?)
    }

    /// A session with the database itself.
    pub(super) async fn connect(&self) -> Result<PgConnection, BackupError> {
        self.connect_to(self.database).await
    }

    /// Sessions that no setting of a database or a role can spoil.
    pub(super) fn session_options(&self) -> PgConnectOptions {
        self.options.clone().options([
            ("statement_timeout", "0"),
            ("idle_in_transaction_session_timeout", "0"),
            ("default_transaction_read_only", "off"),
            ("session_replication_role", "origin"),
            ("search_path", "pg_catalog"),
        ])
    }
}
