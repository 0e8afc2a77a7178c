//! Why it can't be told what a schema is like.

use std::io;
use std::path::PathBuf;

use dm_components::database::DatabaseError;
use dm_components::locks::Blocked;
use dm_core::error::{Coded, Exit};
use dm_engine::EngineError;
use dm_messaging::MessagingError;
use thiserror::Error;

use super::archive::ArchiveError;

/// What a schema is like can't be told.
#[derive(Debug, Error)]
pub enum SchemaError {
    /// The engine does not do what is asked of it.
    #[error("the database's container can't be asked")]
    Engine(#[from] EngineError),
    /// pg_dump failed.
    #[error("pg_dump failed: {0}")]
    Dump(String),
    /// What pg_dump answered can't be read.
    #[error("the database's schemas can't be read")]
    Archive(#[from] ArchiveError),
    /// Another session holds a lock.
    #[error("the database's schemas can't be read")]
    Locked(#[source] Blocked),
    /// The command was interrupted.
    #[error("interrupted")]
    Interrupted,
    /// The database refused.
    #[error("the database refused")]
    Sql(#[from] sqlx::Error),
    /// The migrations can't be applied to an empty database.
    #[error("the migrations don't make a database")]
    Migrations(#[from] DatabaseError),
    /// The broker can't be asked.
    #[error("the broker can't be asked")]
    Broker(#[from] MessagingError),
    /// Keycloak can't be asked.
    #[error("Keycloak can't be asked")]
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
    #[error("{} is not what `dm schema snapshot` writes", .0.display())]
    NoSnapshot(PathBuf),
    /// There are no snapshots.
    #[error("there are no snapshots in {}", .0.display())]
    NoSnapshots(PathBuf),
    /// The broker's definitions are no JSON.
    #[error("{} is no JSON", .0.display())]
    Definitions(PathBuf),
}

impl Coded for SchemaError {
    fn code(&self) -> &'static str {
        match self {
            Self::Engine(_) => "engine",
            Self::Dump(_) | Self::Sql(_) | Self::Archive(_) => "database",
            Self::Locked(_) => "database-locked",
            Self::Interrupted => "interrupted",
            Self::Migrations(_) => "migration",
            Self::Broker(_) | Self::Keycloak(_) => "schema-source",
            Self::File { .. } | Self::NoSnapshot(_) | Self::Definitions(_) => "schema-file",
            Self::NoSnapshots(_) => "schema-no-snapshots",
        }
    }

    /// It can't be told whether anything is other.
    fn exit(&self) -> Exit {
        match self {
            Self::Interrupted => Exit::Interrupted,
            _ => Exit::Usage,
        }
    }

    fn next(&self) -> Vec<String> {
        match self {
            Self::Engine(_)
            | Self::Dump(_)
            | Self::Archive(_)
            | Self::Sql(_)
            | Self::Broker(_)
            | Self::Keycloak(_) => {
                vec!["dm status".into(), "dm up".into()]
            }
            Self::Locked(blocked) => blocked.next(),
            Self::Interrupted => Vec::new(),
            Self::Migrations(_) => vec!["mend the migration".into()],
            Self::File { .. } | Self::Definitions(_) => Vec::new(),
            Self::NoSnapshot(_) | Self::NoSnapshots(_) => vec!["dm schema snapshot".into()],
        }
    }
}
