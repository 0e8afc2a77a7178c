//! Why a set can't be made, or is not to be trusted.

use std::io;
use std::path::PathBuf;

use dm_components::locks::Blocked;
use dm_core::error::{Coded, Exit};
use dm_core::error_code::ErrorCode;
use dm_engine::EngineError;
use dm_messaging::MessagingError;
use thiserror::Error;

use super::Candidate;
use super::manifest::FORMAT;

/// A set can't be made, read or restored.
#[derive(Debug, Error)]
pub enum BackupError {
    /// A file of a set can't be read or written.
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
    /// The engine does not do what is asked of it.
    #[error("could not access a container of the stack")]
    Engine(#[from] EngineError),
    /// A command in a container failed.
    #[error("{command} failed: {told}")]
    Command {
        /// Which.
        command: String,
        /// What it said last.
        told: String,
    },
    /// The database refused.
    #[error("could not query PostgreSQL")]
    Sql(#[from] sqlx::Error),
    /// The database can't be set up as migrations have it.
    #[error("could not set up the restored database")]
    Setup(#[from] dm_components::database::DatabaseError),
    /// The broker refused.
    #[error("could not read or change RabbitMQ")]
    Broker(#[from] MessagingError),
    /// could not query Keycloak.
    #[error("could not query Keycloak")]
    Keycloak(#[from] reqwest::Error),
    /// The directory refused.
    #[error("could not query OpenLDAP")]
    Directory(#[from] ldap3::LdapError),
    /// There is no such set.
    #[error("there is no backup `{0}`")]
    NoSet(String),
    /// Several sets have an id that begins so.
    #[error("the id `{prefix}` is ambiguous: {} backups begin with it", candidates.len())]
    Ambiguous {
        /// What was given.
        prefix: String,
        /// Those sets.
        candidates: Vec<Candidate>,
    },
    /// There are none but safety copies, and `latest` is none of these.
    #[error("there is no manual or scheduled backup, only safety backups")]
    OnlySafety {
        /// These.
        candidates: Vec<Candidate>,
    },
    /// There are none at all.
    #[error("there are no backups in {}", .0.display())]
    NoSets(PathBuf),
    /// A set is not what its manifest says.
    #[error("backup `{id}` is damaged")]
    Damaged {
        /// Which.
        id: String,
        /// What is wrong.
        found: Vec<String>,
    },
    /// A set has another form than this `dm` knows.
    #[error(
        "could not read backup `{id}`: its format is {found}, and this version of dm reads {FORMAT}"
    )]
    Format {
        /// Which.
        id: String,
        /// Its format.
        found: u32,
    },
    /// A set is of another instance.
    #[error("backup `{id}` belongs to instance `{of}`, and this is instance `{this}`")]
    Foreign {
        /// Which.
        id: String,
        /// Of which instance.
        of: String,
        /// Which one this is.
        this: String,
    },
    /// A set is of a newer server.
    #[error("backup `{id}` was made with {server} {of}, and the stack runs {runs}")]
    Version {
        /// Which.
        id: String,
        /// Of which server.
        server: &'static str,
        /// Of which version.
        of: String,
        /// What runs.
        runs: String,
    },
    /// A set has no such schema.
    #[error("backup `{id}` has no schema `{name}`")]
    NoSchema {
        /// Which.
        id: String,
        /// What was asked for.
        name: String,
        /// What it has.
        known: Vec<String>,
    },
    /// The schema of `dm` itself was asked for.
    #[error("could not restore schema `dm_ops` alone: it belongs to dm")]
    OwnSchema(
        /// The set.
        String,
    ),
    /// Something elsewhere hangs on a schema.
    #[error("could not replace schema `{schema}` alone: other objects depend on it")]
    Dependents {
        /// The schema.
        schema: String,
        /// What hangs on it.
        dependents: Vec<String>,
    },
    /// The server lacks extensions.
    #[error("PostgreSQL lacks extensions that the backup requires: {}", .0.join(", "))]
    NoExtension(Vec<String>),
    /// The disk has no room for a second database.
    #[error(
        "the disk of PostgreSQL has {} free, and a restore needs {}",
        bytesize::ByteSize::b(*free).display().si(),
        bytesize::ByteSize::b(*needed).display().si()
    )]
    NoSpace {
        /// How much is needed, in bytes.
        needed: u64,
        /// How much there is.
        free: u64,
    },
    /// Another session holds a lock.
    #[error("could not lock the tables of the database")]
    Blocked(#[source] Blocked),
    /// Queues fill again as fast as they are emptied.
    #[error("could not empty the queues: a program outside the stack publishes to them")]
    NeverEmpty,
    /// The server did not tell whether two databases have changed places.
    #[error("lost the connection to PostgreSQL while the databases were swapped")]
    Unknown(#[source] Box<BackupError>),
    /// Nothing has changed, but what was stopped does not run again.
    #[error("could not restore: nothing has changed, and these containers are stopped: {}", containers.join(", "))]
    Stopped {
        /// The containers.
        containers: Vec<String>,
        /// Why it failed.
        source: Box<BackupError>,
    },
    /// The database is restored, and not all of the rest.
    #[error(
        "could not complete the restore of {id}: the database is restored, and the services and Keycloak are stopped"
    )]
    Halfway {
        /// The set.
        id: String,
        /// What failed.
        source: Box<BackupError>,
    },
    /// A text is no recipient of age.
    #[error("`{text}` is not an age recipient: {reason}")]
    Recipient {
        /// The text.
        text: String,
        /// Why not.
        reason: String,
    },
    /// A file has no key of age.
    #[error("could not read an age identity from {}: {reason}", path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// No key fits.
    #[error("could not decrypt backup `{id}`: {reason}")]
    Locked {
        /// Which.
        id: String,
        /// Why it can't be read.
        reason: String,
    },
    /// Nobody said that the data may be replaced.
    #[error("could not restore: replacing data of instance `{0}` was not confirmed")]
    NotConfirmed(String),
    /// Nobody said that backups may go.
    #[error("could not prune: the removal of {0} backups was not confirmed")]
    PruneNotConfirmed(usize),
    /// What was restored is not what was saved.
    #[error("the restored tables have other row counts than the backup")]
    Counts(Vec<String>),
    /// An earlier restore was cut short.
    #[error("the restore of backup `{0}` has not been completed")]
    Unfinished(String),
    /// There is no restore to carry on with.
    #[error("there is no unfinished restore")]
    NothingToResume,
    /// Somebody interrupted it.
    #[error("interrupted; {0}")]
    Interrupted(&'static str),
}

impl BackupError {
    /// A failure with a file.
    pub(super) fn file(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            doing,
            path,
            source,
        }
    }
}

impl Coded for BackupError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::File { .. } => ErrorCode::BackupFile,
            Self::Engine(error) => error.code(),
            Self::Command { .. } => ErrorCode::BackupCommand,
            Self::Sql(_) => ErrorCode::DatabaseQuery,
            Self::Setup(_) => ErrorCode::DatabaseSetup,
            Self::Broker(_) | Self::Keycloak(_) | Self::Directory(_) => ErrorCode::BackupSource,
            Self::NoSet(_) | Self::NoSets(_) | Self::OnlySafety { .. } => ErrorCode::BackupNotFound,
            Self::Ambiguous { .. } => ErrorCode::BackupAmbiguous,
            Self::NoSchema { .. } => ErrorCode::SchemaUnknown,
            Self::OwnSchema(_) | Self::Dependents { .. } => ErrorCode::SchemaNotRestorable,
            Self::NoExtension(_) => ErrorCode::ExtensionMissing,
            Self::NoSpace { .. } => ErrorCode::DiskFull,
            Self::Blocked(_) => ErrorCode::DatabaseLocked,
            Self::NeverEmpty => ErrorCode::QueueNeverEmpty,
            Self::Unknown(_) => ErrorCode::RestoreStateUnknown,
            Self::Stopped { source, .. } => source.code(),
            Self::Halfway { .. } => ErrorCode::RestoreUnfinished,
            Self::Recipient { .. } => ErrorCode::BackupRecipient,
            Self::Identity { .. } => ErrorCode::BackupIdentity,
            Self::Locked { .. } => ErrorCode::BackupEncrypted,
            Self::Damaged { .. } => ErrorCode::BackupDamaged,
            Self::Format { .. } | Self::Foreign { .. } | Self::Version { .. } => {
                ErrorCode::BackupIncompatible
            }
            Self::NotConfirmed(_) | Self::PruneNotConfirmed(_) => ErrorCode::NotConfirmed,
            Self::Counts(_) => ErrorCode::RestoreCountMismatch,
            Self::Unfinished(_) => ErrorCode::RestoreUnfinished,
            Self::NothingToResume => ErrorCode::RestoreNothingToResume,
            Self::Interrupted(_) => ErrorCode::Interrupted,
        }
    }

    fn details(&self) -> Vec<String> {
        match self {
            Self::Damaged { found, .. } => found.clone(),
            Self::Counts(found) => found.clone(),
            Self::Dependents { dependents, .. } => dependents.clone(),
            Self::Stopped { source, .. } | Self::Halfway { source, .. } => source.details(),
            Self::Ambiguous { candidates, .. } | Self::OnlySafety { candidates } => {
                candidates.iter().map(Candidate::to_string).collect()
            }
            _ => Vec::new(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Damaged { .. } | Self::Counts(_) => Exit::Found,
            Self::Engine(_) => Exit::Engine,
            Self::Interrupted(_) => Exit::Interrupted,
            Self::Blocked(_) => Exit::TimedOut,
            Self::Stopped { source, .. } => source.exit(),
            Self::NoSet(_)
            | Self::NoSets(_)
            | Self::Ambiguous { .. }
            | Self::OnlySafety { .. }
            | Self::NoSchema { .. }
            | Self::OwnSchema(_)
            | Self::Dependents { .. }
            | Self::NoExtension(_)
            | Self::Recipient { .. }
            | Self::Identity { .. }
            | Self::Locked { .. }
            | Self::Format { .. }
            | Self::Foreign { .. }
            | Self::Version { .. }
            | Self::NotConfirmed(_)
            | Self::PruneNotConfirmed(_)
            | Self::Unfinished(_)
            | Self::NothingToResume => Exit::Usage,
            _ => Exit::Component,
        }
    }

    fn next(&self) -> Vec<String> {
        match self {
            Self::NoSet(_) => vec!["dm backup ls".into()],
            Self::Ambiguous { .. } => vec!["give more characters of the id".into()],
            Self::OnlySafety { .. } => {
                vec!["give the id of a safety backup, or create a backup: dm backup create".into()]
            }
            Self::NoSets(_) => vec!["dm backup create".into()],
            Self::Damaged { .. } => vec!["choose another backup: dm backup ls".into()],
            Self::Format { found, .. } if *found < FORMAT => vec![
                "use the version of dm that created the backup".into(),
                "or create a new backup: dm backup create".into(),
            ],
            Self::Format { .. } => vec!["use a newer version of dm".into()],
            Self::Foreign { of, .. } => vec![
                format!("dm --instance {of} backup restore …"),
                "or allow a backup of another instance: dm backup restore --foreign …".into(),
            ],
            Self::Recipient { .. } => {
                vec!["create an identity and its recipient (age1…) with age-keygen".into()]
            }
            Self::Locked { .. } | Self::Identity { .. } => vec![
                "give the identity of one of its recipients: dm backup restore --identity FILE"
                    .into(),
                "or set `backup.identity` in dm.local.toml".into(),
            ],
            Self::NoSchema { known, .. } => {
                vec![format!(
                    "the schemas of the backup are {}",
                    known.join(", ")
                )]
            }
            Self::Version { server, .. } => {
                let component = server.to_lowercase().replace("postgresql", "postgres");
                vec![format!("dm images build {component}"), "dm up".into()]
            }
            Self::NotConfirmed(_) | Self::PruneNotConfirmed(_) => {
                vec!["run the command again with --yes".into()]
            }
            Self::Unfinished(_) => vec![
                "dm backup restore --resume".into(),
                "or discard the existing data: dm reset".into(),
            ],
            Self::OwnSchema(id) => vec![format!(
                "restore the whole backup: dm backup restore {id}, or another schema: dm backup show {id}"
            )],
            Self::Dependents { .. } => vec![
                "restore the whole backup, without --schema: dm backup restore ID".into(),
                "or drop these objects first, and create them again afterwards: dm psql".into(),
            ],
            Self::NoExtension(_) => {
                vec!["set postgres.image in dm.toml to an image that has the extensions".into()]
            }
            Self::NoSpace { .. } => vec!["free disk space, for example: dm images prune".into()],
            Self::Blocked(blocked) => blocked.next(),
            Self::NeverEmpty => vec![
                "stop the program, then: dm backup restore --resume".into(),
                "show its connections: dm open rabbitmq".into(),
            ],
            Self::Unknown(_) => vec![
                "find out whether the restored database is in use: dm up".into(),
                "if it is: dm backup restore --resume".into(),
            ],
            Self::Stopped { .. } => vec!["dm up".into()],
            Self::Halfway { .. } => vec![
                "dm backup restore --resume".into(),
                "or discard the existing data: dm reset".into(),
            ],
            Self::Sql(_)
            | Self::Broker(_)
            | Self::Keycloak(_)
            | Self::Directory(_)
            | Self::Engine(_)
            | Self::Command { .. }
            | Self::Setup(_) => {
                vec!["dm status".into(), "dm up".into()]
            }
            _ => Vec::new(),
        }
    }
}
