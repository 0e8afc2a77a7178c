//! The server to which the database of a backup is restored.

use std::time::Duration;

use dm_components::database_setup::DatabaseSetup;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection};

use super::{BackupError, ServerContainer};

/// The server and the database that a restore replaces.
pub struct RestoreTarget<'a> {
    /// The container of the server.
    pub container: ServerContainer<'a>,
    /// Connection options of the database, as its superuser.
    pub options: PgConnectOptions,
    /// The name of the superuser.
    pub superuser: &'a str,
    /// The name of the database.
    pub database: &'a str,
    /// The roles, schemas and migrations of the database.
    pub setup: &'a DatabaseSetup,
    /// How long to wait for a lock that another session holds.
    pub lock_timeout: Duration,
    /// The version of Keycloak in the stack, if it is known.
    pub keycloak_version: Option<&'a str>,
}

impl RestoreTarget<'_> {
    /// Connects to a database of the server, other than the one that is swapped. Settings of that
    /// database do not apply to the session.
    pub(super) async fn connect_to(&self, database: &str) -> Result<PgConnection, BackupError> {
        Ok(self.session_options().database(database).connect().await?)
    }

    /// Connects to the database itself.
    pub(super) async fn connect(&self) -> Result<PgConnection, BackupError> {
        self.connect_to(self.database).await
    }

    /// Returns connection options that override the settings of databases and roles.
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
