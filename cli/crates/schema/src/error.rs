//! Why it can't be told what a schema is like.

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

/// What a schema is like can't be told.
#[derive(Debug, Error)]
pub enum SchemaError {
    /// The engine does not do what is asked of it.
    #[error("could not run pg_dump in the container of PostgreSQL")]
    Engine(#[from] EngineError),
    /// pg_dump failed.
    #[error("pg_dump failed: {0}")]
    PgDump(String),
    /// What pg_dump answered can't be read.
    #[error("could not read the output of pg_dump")]
    Archive(#[from] DumpArchiveError),
    /// Another session holds a lock.
    #[error("could not read the schemas of the database")]
    LockTimeout(#[source] LockWait),
    /// The command was interrupted.
    #[error("interrupted")]
    Interrupted,
    /// The database refused.
    #[error("could not query PostgreSQL")]
    Sql(#[from] sqlx::Error),
    /// The migrations can't be applied to an empty database.
    #[error("could not apply the migrations to an empty database")]
    Migrations(#[from] DatabaseError),
    /// The broker can't be asked.
    #[error("could not read the topology of RabbitMQ")]
    Broker(#[from] MessagingError),
    /// could not read the realm of Keycloak.
    #[error("could not read the realm of Keycloak")]
    Keycloak(#[from] reqwest::Error),
    /// A file can't be read or written.
    #[error("could not {doing} {}", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A snapshot is no snapshot.
    #[error("could not read {}: it is not a file of `dm schema snapshot`", .0.display())]
    InvalidSnapshot(PathBuf),
    /// There are no snapshots.
    #[error("there are no snapshots in {}", .0.display())]
    NoSnapshots(PathBuf),
    /// The broker's definitions are no JSON.
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
            Self::File { .. } | Self::InvalidSnapshot(_) | Self::InvalidDefinitions(_) => {
                ErrorCode::SchemaFile
            }
            Self::NoSnapshots(_) => ErrorCode::SchemaNoSnapshots,
        }
    }

    /// It can't be told whether anything is other.
    fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Interrupted => ExitStatus::Interrupted,
            _ => ExitStatus::Usage,
        }
    }

    fn suggestions(&self) -> Vec<String> {
        match self {
            Self::Engine(_)
            | Self::PgDump(_)
            | Self::Archive(_)
            | Self::Sql(_)
            | Self::Broker(_)
            | Self::Keycloak(_) => {
                vec!["dm status".into(), "dm up".into()]
            }
            Self::LockTimeout(blocked) => blocked.suggestions(),
            Self::Interrupted => Vec::new(),
            Self::Migrations(_) => vec!["correct the migration".into()],
            Self::File { .. } | Self::InvalidDefinitions(_) => Vec::new(),
            Self::InvalidSnapshot(_) | Self::NoSnapshots(_) => vec!["dm schema snapshot".into()],
        }
    }
}
