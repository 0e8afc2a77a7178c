//! Errors of reading, comparing and writing schemas.

use std::io;
use std::path::PathBuf;

use dm_components::database_setup::DatabaseError;
use dm_components::lock_watch::LockWait;
use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use dm_engine::EngineError;
use dm_messaging::MessagingError;
use thiserror::Error;

use super::pg_archive::DumpArchiveError;

/// A schema cannot be read, compared or written.
#[derive(Debug, Error)]
pub enum SchemaError {
    /// A request to the engine failed.
    #[error("could not run pg_dump in the container of PostgreSQL")]
    Engine(#[from] EngineError),
    /// pg_dump failed.
    #[error("pg_dump failed: {0}")]
    PgDump(String),
    /// The output of pg_dump cannot be read.
    #[error("could not read the output of pg_dump")]
    Archive(#[from] DumpArchiveError),
    /// Another session held a lock for longer than the timeout.
    #[error("could not read the schemas of the database")]
    LockTimeout(#[source] LockWait),
    /// The command was interrupted.
    #[error("interrupted")]
    Interrupted,
    /// A request to PostgreSQL failed.
    #[error("could not query PostgreSQL")]
    Sql(#[from] sqlx::Error),
    /// The migrations cannot be applied to an empty database.
    #[error("could not apply the migrations to an empty database")]
    Migrations(#[from] DatabaseError),
    /// A request to RabbitMQ failed.
    #[error("could not read the topology of RabbitMQ")]
    Broker(#[from] MessagingError),
    /// A request to Keycloak failed.
    #[error("could not read the realm of Keycloak")]
    Keycloak(#[from] reqwest::Error),
    /// A file cannot be read or written.
    #[error("could not {doing} {}", path.display())]
    File {
        /// The operation that failed.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file in the directory of snapshots is not a snapshot.
    #[error("could not read {}: it is not a file of `dm schema snapshot`", path.display())]
    InvalidSnapshot {
        /// The file.
        path: PathBuf,
        /// The command that writes the snapshots of the directory.
        command: String,
    },
    /// There are no snapshots.
    #[error("there are no snapshots in {}", directory.display())]
    NoSnapshots {
        /// The directory.
        directory: PathBuf,
        /// The command that writes its snapshots.
        command: String,
    },
    /// The definitions of the broker are not JSON.
    #[error("could not read {}: it is not JSON", .0.display())]
    InvalidDefinitions(PathBuf),
}

impl UserError for SchemaError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Engine(error) => error.code(),
            Self::PgDump(_) | Self::Archive(_) => ErrorCode::SchemaDump,
            Self::Sql(_) => ErrorCode::DatabaseQuery,
            Self::LockTimeout(_) => ErrorCode::DatabaseLocked,
            Self::Interrupted => ErrorCode::Interrupted,
            Self::Migrations(_) => ErrorCode::MigrationFailed,
            Self::Broker(_) | Self::Keycloak(_) => ErrorCode::SchemaSource,
            Self::File { .. } | Self::InvalidSnapshot { .. } | Self::InvalidDefinitions(_) => {
                ErrorCode::SchemaFile
            }
            Self::NoSnapshots { .. } => ErrorCode::SchemaNoSnapshots,
        }
    }

    /// An error is not a finding: whether the schemas differ is unknown.
    fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Interrupted => ExitStatus::Interrupted,
            Self::LockTimeout(_) => ExitStatus::TimedOut,
            Self::Engine(error) => error.exit_status(),
            Self::PgDump(_)
            | Self::Archive(_)
            | Self::Sql(_)
            | Self::Broker(_)
            | Self::Keycloak(_)
            | Self::Migrations(DatabaseError::Sql(_)) => ExitStatus::Component,
            Self::Migrations(_)
            | Self::File { .. }
            | Self::InvalidSnapshot { .. }
            | Self::NoSnapshots { .. }
            | Self::InvalidDefinitions(_) => ExitStatus::Usage,
        }
    }

    fn suggestions(&self) -> Vec<String> {
        match self {
            Self::Engine(_)
            | Self::PgDump(_)
            | Self::Archive(_)
            | Self::Sql(_)
            | Self::Broker(_)
            | Self::Keycloak(_)
            | Self::Migrations(DatabaseError::Sql(_)) => {
                vec!["dm status".into(), "dm up".into()]
            }
            Self::LockTimeout(wait) => wait.suggestions(),
            Self::Interrupted => Vec::new(),
            Self::Migrations(_) => vec!["correct the migration".into()],
            Self::File { .. } | Self::InvalidDefinitions(_) => Vec::new(),
            Self::InvalidSnapshot { command, .. } | Self::NoSnapshots { command, .. } => {
                vec![command.clone()]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreachable_server_is_a_failed_component_and_a_missing_file_is_wrong_usage() {
        for error in [
            SchemaError::Sql(sqlx::Error::PoolTimedOut),
            SchemaError::PgDump("connection refused".into()),
            SchemaError::Migrations(DatabaseError::Sql(sqlx::Error::PoolTimedOut)),
        ] {
            assert_eq!(error.exit_status(), ExitStatus::Component);
        }
        let missing = SchemaError::NoSnapshots {
            directory: "/tmp/schemas".into(),
            command: "dm schema snapshot --dir /tmp/schemas".into(),
        };
        assert_eq!(
            missing.suggestions(),
            ["dm schema snapshot --dir /tmp/schemas"]
        );
        assert_eq!(missing.exit_status(), ExitStatus::Usage);
    }

    #[test]
    fn lock_of_another_session_is_an_exceeded_time_limit() {
        let error = SchemaError::LockTimeout(LockWait::default());
        assert_eq!(error.exit_status(), ExitStatus::TimedOut);
    }
}
