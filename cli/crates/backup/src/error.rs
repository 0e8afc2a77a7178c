//! Why a set can't be made, or is not to be trusted.

use std::io;
use std::path::PathBuf;

use dm_components::lock_watch::LockWait;
use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use dm_engine::EngineError;
use dm_messaging::MessagingError;
use thiserror::Error;

use super::BackupCandidate;
use super::manifest::FORMAT_VERSION;

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
    #[error("{command} failed: {stderr}")]
    Command {
        /// Which.
        command: String,
        /// What it said last.
        stderr: String,
    },
    /// The database refused.
    #[error("could not query PostgreSQL")]
    Sql(#[from] sqlx::Error),
    /// The database can't be set up as migrations have it.
    #[error("could not set up the restored database")]
    Setup(#[from] dm_components::database_setup::DatabaseError),
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
    NotFound(String),
    /// Several sets have an id that begins so.
    #[error("the id `{prefix}` is ambiguous: {} backups begin with it", candidates.len())]
    Ambiguous {
        /// What was given.
        prefix: String,
        /// Those sets.
        candidates: Vec<BackupCandidate>,
    },
    /// There are none but safety copies, and `latest` is none of these.
    #[error("there is no manual or scheduled backup, only safety backups")]
    OnlySafetyBackups {
        /// These.
        candidates: Vec<BackupCandidate>,
    },
    /// There are none at all.
    #[error("there are no backups in {}", .0.display())]
    NoBackups(PathBuf),
    /// A set is not what its manifest says.
    #[error("backup `{id}` is damaged")]
    Damaged {
        /// Which.
        id: String,
        /// What is wrong.
        problems: Vec<String>,
    },
    /// A set has another form than this `dm` knows.
    #[error(
        "could not read backup `{id}`: its format is {found}, and this version of dm reads {FORMAT_VERSION}"
    )]
    UnsupportedFormat {
        /// Which.
        id: String,
        /// Its format.
        found: u32,
    },
    /// A set is of another instance.
    #[error(
        "backup `{id}` belongs to instance `{backup_instance}`, and this is instance `{current_instance}`"
    )]
    OtherInstance {
        /// Which.
        id: String,
        /// Of which instance.
        backup_instance: String,
        /// Which one this is.
        current_instance: String,
    },
    /// A set is of a newer server.
    #[error(
        "backup `{id}` was made with {server} {backup_version}, and the stack runs {running_version}"
    )]
    ServerTooOld {
        /// Which.
        id: String,
        /// Of which server.
        server: &'static str,
        /// Of which version.
        backup_version: String,
        /// What runs.
        running_version: String,
    },
    /// A set has no such schema.
    #[error("backup `{id}` has no schema `{name}`")]
    SchemaNotFound {
        /// Which.
        id: String,
        /// What was asked for.
        name: String,
        /// What it has.
        known: Vec<String>,
    },
    /// The schema of `dm` itself was asked for.
    #[error("could not restore schema `dm_ops` alone: it belongs to dm")]
    OpsSchema(
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
    MissingExtensions(Vec<String>),
    /// The disk has no room for a second database.
    #[error(
        "the disk of PostgreSQL has {} free, and a restore needs {}",
        bytesize::ByteSize::b(*free).display().si(),
        bytesize::ByteSize::b(*needed).display().si()
    )]
    InsufficientSpace {
        /// How much is needed, in bytes.
        needed: u64,
        /// How much there is.
        free: u64,
    },
    /// Another session holds a lock.
    #[error("could not lock the tables of the database")]
    LockTimeout(#[source] LockWait),
    /// Queues fill again as fast as they are emptied.
    #[error("could not empty the queues: a program outside the stack publishes to them")]
    QueuesNotEmpty,
    /// The server did not tell whether two databases have changed places.
    #[error("lost the connection to PostgreSQL while the databases were swapped")]
    SwapUnconfirmed(#[source] Box<BackupError>),
    /// Nothing has changed, but what was stopped does not run again.
    #[error("could not restore: nothing has changed, and these containers are stopped: {}", containers.join(", "))]
    ContainersStopped {
        /// The containers.
        containers: Vec<String>,
        /// Why it failed.
        source: Box<BackupError>,
    },
    /// The database is restored, and not all of the rest.
    #[error(
        "could not complete the restore of {id}: the database is restored, and the services and Keycloak are stopped"
    )]
    RestoreIncomplete {
        /// The set.
        id: String,
        /// What failed.
        source: Box<BackupError>,
    },
    /// A text is no recipient of age.
    #[error("`{text}` is not an age recipient: {reason}")]
    InvalidRecipient {
        /// The text.
        text: String,
        /// Why not.
        reason: String,
    },
    /// A file has no key of age.
    #[error("could not read an age identity from {}: {reason}", path.display())]
    InvalidIdentity {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// No key fits.
    #[error("could not decrypt backup `{id}`: {reason}")]
    DecryptionFailed {
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
    RowCountMismatch(Vec<String>),
    /// An earlier restore was cut short.
    #[error("the restore of backup `{0}` has not been completed")]
    UnfinishedRestore(String),
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

impl UserError for BackupError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::File { .. } => ErrorCode::BackupFile,
            Self::Engine(error) => error.code(),
            Self::Command { .. } => ErrorCode::BackupCommand,
            Self::Sql(_) => ErrorCode::DatabaseQuery,
            Self::Setup(_) => ErrorCode::DatabaseSetup,
            Self::Broker(_) | Self::Keycloak(_) | Self::Directory(_) => ErrorCode::BackupSource,
            Self::NotFound(_) | Self::NoBackups(_) | Self::OnlySafetyBackups { .. } => {
                ErrorCode::BackupNotFound
            }
            Self::Ambiguous { .. } => ErrorCode::BackupAmbiguous,
            Self::SchemaNotFound { .. } => ErrorCode::SchemaUnknown,
            Self::OpsSchema(_) | Self::Dependents { .. } => ErrorCode::SchemaNotRestorable,
            Self::MissingExtensions(_) => ErrorCode::ExtensionMissing,
            Self::InsufficientSpace { .. } => ErrorCode::DiskFull,
            Self::LockTimeout(_) => ErrorCode::DatabaseLocked,
            Self::QueuesNotEmpty => ErrorCode::QueueNeverEmpty,
            Self::SwapUnconfirmed(_) => ErrorCode::RestoreStateUnknown,
            Self::ContainersStopped { source, .. } => source.code(),
            Self::RestoreIncomplete { .. } => ErrorCode::RestoreUnfinished,
            Self::InvalidRecipient { .. } => ErrorCode::BackupRecipient,
            Self::InvalidIdentity { .. } => ErrorCode::BackupIdentity,
            Self::DecryptionFailed { .. } => ErrorCode::BackupEncrypted,
            Self::Damaged { .. } => ErrorCode::BackupDamaged,
            Self::UnsupportedFormat { .. }
            | Self::OtherInstance { .. }
            | Self::ServerTooOld { .. } => ErrorCode::BackupIncompatible,
            Self::NotConfirmed(_) | Self::PruneNotConfirmed(_) => ErrorCode::NotConfirmed,
            Self::RowCountMismatch(_) => ErrorCode::RestoreCountMismatch,
            Self::UnfinishedRestore(_) => ErrorCode::RestoreUnfinished,
            Self::NothingToResume => ErrorCode::RestoreNothingToResume,
            Self::Interrupted(_) => ErrorCode::Interrupted,
        }
    }

    fn details(&self) -> Vec<String> {
        match self {
            Self::Damaged {
                problems: found, ..
            } => found.clone(),
            Self::RowCountMismatch(found) => found.clone(),
            Self::Dependents { dependents, .. } => dependents.clone(),
            Self::ContainersStopped { source, .. } | Self::RestoreIncomplete { source, .. } => {
                source.details()
            }
            Self::Ambiguous { candidates, .. } | Self::OnlySafetyBackups { candidates } => {
                candidates.iter().map(BackupCandidate::to_string).collect()
            }
            _ => Vec::new(),
        }
    }

    fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Damaged { .. } | Self::RowCountMismatch(_) => ExitStatus::Findings,
            Self::Engine(_) => ExitStatus::Engine,
            Self::Interrupted(_) => ExitStatus::Interrupted,
            Self::LockTimeout(_) => ExitStatus::TimedOut,
            Self::ContainersStopped { source, .. } => source.exit_status(),
            Self::NotFound(_)
            | Self::NoBackups(_)
            | Self::Ambiguous { .. }
            | Self::OnlySafetyBackups { .. }
            | Self::SchemaNotFound { .. }
            | Self::OpsSchema(_)
            | Self::Dependents { .. }
            | Self::MissingExtensions(_)
            | Self::InvalidRecipient { .. }
            | Self::InvalidIdentity { .. }
            | Self::DecryptionFailed { .. }
            | Self::UnsupportedFormat { .. }
            | Self::OtherInstance { .. }
            | Self::ServerTooOld { .. }
            | Self::NotConfirmed(_)
            | Self::PruneNotConfirmed(_)
            | Self::UnfinishedRestore(_)
            | Self::NothingToResume => ExitStatus::Usage,
            _ => ExitStatus::Component,
        }
    }

    fn suggestions(&self) -> Vec<String> {
        match self {
            Self::NotFound(_) => vec!["dm backup ls".into()],
            Self::Ambiguous { .. } => vec!["give more characters of the id".into()],
            Self::OnlySafetyBackups { .. } => {
                vec!["give the id of a safety backup, or create a backup: dm backup create".into()]
            }
            Self::NoBackups(_) => vec!["dm backup create".into()],
            Self::Damaged { .. } => vec!["choose another backup: dm backup ls".into()],
            Self::UnsupportedFormat { found, .. } if *found < FORMAT_VERSION => vec![
                "use the version of dm that created the backup".into(),
                "or create a new backup: dm backup create".into(),
            ],
            Self::UnsupportedFormat { .. } => vec!["use a newer version of dm".into()],
            Self::OtherInstance {
                backup_instance: of,
                ..
            } => vec![
                format!("dm --instance {of} backup restore …"),
                "or allow a backup of another instance: dm backup restore --foreign …".into(),
            ],
            Self::InvalidRecipient { .. } => {
                vec!["create an identity and its recipient (age1…) with age-keygen".into()]
            }
            Self::DecryptionFailed { .. } | Self::InvalidIdentity { .. } => vec![
                "give the identity of one of its recipients: dm backup restore --identity FILE"
                    .into(),
                "or set `backup.identity` in dm.local.toml".into(),
            ],
            Self::SchemaNotFound { known, .. } => {
                vec![format!(
                    "the schemas of the backup are {}",
                    known.join(", ")
                )]
            }
            Self::ServerTooOld { server, .. } => {
                let component = server.to_lowercase().replace("postgresql", "postgres");
                vec![format!("dm images build {component}"), "dm up".into()]
            }
            Self::NotConfirmed(_) | Self::PruneNotConfirmed(_) => {
                vec!["run the command again with --yes".into()]
            }
            Self::UnfinishedRestore(_) => vec![
                "dm backup restore --resume".into(),
                "or discard the existing data: dm reset".into(),
            ],
            Self::OpsSchema(id) => vec![format!(
                "restore the whole backup: dm backup restore {id}, or another schema: dm backup show {id}"
            )],
            Self::Dependents { .. } => vec![
                "restore the whole backup, without --schema: dm backup restore ID".into(),
                "or drop these objects first, and create them again afterwards: dm psql".into(),
            ],
            Self::MissingExtensions(_) => {
                vec!["set postgres.image in dm.toml to an image that has the extensions".into()]
            }
            Self::InsufficientSpace { .. } => {
                vec!["free disk space, for example: dm images prune".into()]
            }
            Self::LockTimeout(blocked) => blocked.suggestions(),
            Self::QueuesNotEmpty => vec![
                "stop the program, then: dm backup restore --resume".into(),
                "show its connections: dm open rabbitmq".into(),
            ],
            Self::SwapUnconfirmed(_) => vec![
                "find out whether the restored database is in use: dm up".into(),
                "if it is: dm backup restore --resume".into(),
            ],
            Self::ContainersStopped { .. } => vec!["dm up".into()],
            Self::RestoreIncomplete { .. } => vec![
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
