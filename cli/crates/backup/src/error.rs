//! Errors of creating, checking and restoring backups.

use std::io;
use std::path::{Path, PathBuf};

use dm_components::lock_watch::LockWait;
use dm_components::quote::shell_path;
use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use dm_engine::EngineError;
use dm_messaging::MessagingError;
use thiserror::Error;

use super::BackupCandidate;
use super::manifest::FORMAT_VERSION;

/// A backup cannot be created, read or restored.
#[derive(Debug, Error)]
pub enum BackupError {
    /// A file of a backup cannot be read or written.
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
    /// A request to the engine failed.
    #[error("could not access a container of the stack")]
    Engine(#[from] EngineError),
    /// A command in a container failed.
    #[error("{command} failed: {stderr}")]
    Command {
        /// The name of the command.
        command: String,
        /// The end of its error output.
        stderr: String,
    },
    /// A request to PostgreSQL failed.
    #[error("could not query PostgreSQL")]
    Sql(#[from] sqlx::Error),
    /// The migrations could not be applied to the restored database.
    #[error("could not set up the restored database")]
    Setup(#[from] dm_components::database_setup::DatabaseError),
    /// A request to RabbitMQ failed.
    #[error("could not read or change RabbitMQ")]
    Broker(#[from] MessagingError),
    /// A request to Keycloak failed.
    #[error("could not query Keycloak")]
    Keycloak(#[from] reqwest::Error),
    /// A request to OpenLDAP failed.
    #[error("could not query OpenLDAP")]
    Directory(#[from] ldap3::LdapError),
    /// No backup has this id.
    #[error("there is no backup `{0}`")]
    NotFound(String),
    /// The ids of several backups begin with the given prefix.
    #[error("the id `{prefix}` is ambiguous: {} backups begin with it", candidates.len())]
    Ambiguous {
        /// The given prefix.
        prefix: String,
        /// The backups whose ids begin with it.
        candidates: Vec<BackupCandidate>,
    },
    /// There are only safety backups, which `latest` does not select.
    #[error("there is no manual or scheduled backup, only safety backups")]
    OnlySafetyBackups {
        /// The safety backups.
        candidates: Vec<BackupCandidate>,
    },
    /// The directory contains no backups.
    #[error("there are no backups in {}", .0.display())]
    NoBackups(PathBuf),
    /// The files of a backup do not match its manifest.
    #[error("backup `{id}` is damaged")]
    Damaged {
        /// The id of the backup.
        id: String,
        /// The differences from the manifest.
        problems: Vec<String>,
    },
    /// A backup has a format that this `dm` does not support.
    #[error(
        "could not read backup `{id}`: its format is {found}, and this version of dm reads {FORMAT_VERSION}"
    )]
    UnsupportedFormat {
        /// The id of the backup.
        id: String,
        /// The format of the backup.
        found: u32,
    },
    /// A backup was created of another instance.
    #[error(
        "backup `{id}` belongs to instance `{backup_instance}`, and this is instance `{current_instance}`"
    )]
    OtherInstance {
        /// The id of the backup.
        id: String,
        /// The instance of the backup.
        backup_instance: String,
        /// The current instance.
        current_instance: String,
    },
    /// A backup was created with a newer server than the stack runs.
    #[error(
        "backup `{id}` was made with {server} {backup_version}, and the stack runs {running_version}"
    )]
    ServerTooOld {
        /// The id of the backup.
        id: String,
        /// The name of the server.
        server: &'static str,
        /// The version in the backup.
        backup_version: String,
        /// The version that the stack runs.
        running_version: String,
    },
    /// A backup does not contain the requested schema.
    #[error("backup `{id}` has no schema `{name}`")]
    SchemaNotFound {
        /// The id of the backup.
        id: String,
        /// The requested schema.
        name: String,
        /// The schemas of the backup.
        known: Vec<String>,
    },
    /// The schema of `dm` itself was requested.
    #[error("could not restore schema `dm_ops` alone: it belongs to dm")]
    OpsSchema(
        /// The id of the backup.
        String,
    ),
    /// Objects outside a schema depend on it.
    #[error("could not replace schema `{schema}` alone: other objects depend on it")]
    Dependents {
        /// The schema.
        schema: String,
        /// The dependent objects.
        dependents: Vec<String>,
    },
    /// The server lacks extensions that the backup requires.
    #[error("PostgreSQL lacks extensions that the backup requires: {}", .0.join(", "))]
    MissingExtensions(Vec<String>),
    /// The disk has no space for a second database.
    #[error(
        "the disk of PostgreSQL has {} free, and a restore needs {}",
        bytesize::ByteSize::b(*free).display().si(),
        bytesize::ByteSize::b(*needed).display().si()
    )]
    InsufficientSpace {
        /// The required space, in bytes.
        needed: u64,
        /// The free space, in bytes.
        free: u64,
    },
    /// Another session held a lock for longer than the timeout.
    #[error("could not lock the tables of the database")]
    LockTimeout(#[source] LockWait),
    /// The queues receive messages as fast as they are recreated.
    #[error("could not empty the queues: a program outside the stack publishes to them")]
    QueuesNotEmpty,
    /// The server could not confirm whether the databases have been swapped.
    #[error("lost the connection to PostgreSQL while the databases were swapped")]
    SwapUnconfirmed(#[source] Box<BackupError>),
    /// Nothing has changed, but stopped containers could not be started again.
    #[error("could not restore: nothing has changed, and these containers are stopped: {}", containers.join(", "))]
    ContainersStopped {
        /// The containers.
        containers: Vec<String>,
        /// The cause.
        source: Box<BackupError>,
    },
    /// The database is restored, but the restore could not be completed.
    #[error(
        "could not complete the restore of {id}: the database is restored, and the services and Keycloak are stopped"
    )]
    RestoreIncomplete {
        /// The id of the backup.
        id: String,
        /// The cause.
        source: Box<BackupError>,
    },
    /// A text is not an age recipient.
    #[error("`{text}` is not an age recipient: {reason}")]
    InvalidRecipient {
        /// The text.
        text: String,
        /// The reason, as age reports it.
        reason: String,
    },
    /// A file contains no age identity.
    #[error("could not read an age identity from {}: {reason}", path.display())]
    InvalidIdentity {
        /// The file.
        path: PathBuf,
        /// The reason, as age reports it.
        reason: String,
    },
    /// No identity decrypts a backup.
    #[error("could not decrypt backup `{id}`: {reason}")]
    DecryptionFailed {
        /// The id of the backup.
        id: String,
        /// The reason, as age reports it.
        reason: String,
    },
    /// The replacement of the data was not confirmed.
    #[error("could not restore: replacing data of instance `{0}` was not confirmed")]
    NotConfirmed(String),
    /// The removal of backups was not confirmed.
    #[error("could not prune: the removal of {0} backups was not confirmed")]
    PruneNotConfirmed(usize),
    /// The restored tables have other row counts than the backup.
    #[error("the restored tables have other row counts than the backup")]
    RowCountMismatch(Vec<String>),
    /// An earlier restore has not been completed.
    #[error("the restore of backup `{0}` has not been completed")]
    UnfinishedRestore(String),
    /// There is no restore to resume.
    #[error("there is no unfinished restore")]
    NothingToResume,
    /// The command was interrupted.
    #[error("interrupted; {0}")]
    Interrupted(&'static str),
    /// The command was interrupted after the data was replaced, and before its events were checked.
    #[error("interrupted; the backup is restored, and its events are not reconciled")]
    NotReconciled,
    /// An error of a command with `--dir`.
    #[error("{source}")]
    InDirectory {
        /// The value of `--dir`, which the suggested commands repeat.
        directory: PathBuf,
        /// The error.
        source: Box<BackupError>,
    },
}

impl BackupError {
    /// Returns a function that converts an I/O error of a file.
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

    /// Lets the suggested commands repeat the value of `--dir`, if the command has one: without
    /// the option, they use another directory.
    #[must_use]
    pub fn with_dir_option(self, directory: Option<PathBuf>) -> Self {
        match (self, directory) {
            (error @ Self::InDirectory { .. }, _) | (error, None) => error,
            (error, Some(directory)) => Self::InDirectory {
                directory,
                source: Box::new(error),
            },
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
            Self::Interrupted(_) | Self::NotReconciled => ErrorCode::Interrupted,
            Self::InDirectory { source, .. } => source.code(),
        }
    }

    fn details(&self) -> Vec<String> {
        match self {
            Self::Damaged { problems, .. } => problems.clone(),
            Self::RowCountMismatch(differences) => differences.clone(),
            Self::Dependents { dependents, .. } => dependents.clone(),
            Self::ContainersStopped { source, .. }
            | Self::RestoreIncomplete { source, .. }
            | Self::InDirectory { source, .. } => source.details(),
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
            Self::Interrupted(_) | Self::NotReconciled => ExitStatus::Interrupted,
            Self::LockTimeout(_) => ExitStatus::TimedOut,
            Self::ContainersStopped { source, .. } | Self::InDirectory { source, .. } => {
                source.exit_status()
            }
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
                backup_instance, ..
            } => vec![
                format!("dm backup restore --instance {backup_instance} …"),
                "or allow a backup of another instance: dm backup restore --foreign …".into(),
            ],
            Self::InvalidRecipient { .. } => {
                vec!["create an identity and its recipient (age1…) with age-keygen".into()]
            }
            Self::DecryptionFailed { .. } | Self::InvalidIdentity { .. } => vec![
                // The key comes first: `dm reset` reads backups too, and has no option for it.
                "set `backup.identity` in dm.local.toml to the identity of a recipient".into(),
                "or, if the command is dm backup, add: --identity FILE".into(),
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
            Self::OpsSchema(id) => vec![
                format!("restore the whole backup: dm backup restore {id}"),
                format!("or another schema; list them: dm backup show {id}"),
            ],
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
            Self::LockTimeout(wait) => wait.suggestions(),
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
            Self::NotReconciled => vec!["check the events: dm reconcile".into()],
            Self::InDirectory { directory, source } => {
                let suggestions = source.suggestions().into_iter();
                suggestions
                    .map(|suggestion| repeat_dir_option(&suggestion, directory))
                    .collect()
            }
            _ => Vec::new(),
        }
    }
}

/// Adds the value of `--dir` to the `dm backup` command in a sentence.
pub(super) fn repeat_dir_option(sentence: &str, directory: &Path) -> String {
    let command = format!("dm backup --dir {} ", shell_path(directory));
    sentence.replace("dm backup ", &command)
}

#[cfg(test)]
mod tests {
    use dm_core::error::{Error, error_chain};

    use super::*;

    fn in_directory(error: BackupError, directory: &str) -> BackupError {
        error.with_dir_option(Some(directory.into()))
    }

    #[test]
    fn suggestions_repeat_the_dir_option_and_name_the_instance() {
        let unfinished = || BackupError::UnfinishedRestore("20261126T100000000Z".into());
        let error = in_directory(unfinished(), "/mnt/my backups");
        assert_eq!(
            Error::from(error).for_instance("review").suggestions(),
            [
                "dm --instance review backup --dir '/mnt/my backups' restore --resume",
                "or discard the existing data: dm --instance review reset"
            ]
        );
        assert_eq!(
            unfinished().with_dir_option(None).suggestions()[0],
            "dm backup restore --resume"
        );
    }

    #[test]
    fn dir_option_is_repeated_once_and_changes_only_the_suggestions() {
        let error = in_directory(BackupError::NoBackups("/b/p/default".into()), "/b");
        let error = in_directory(error, "/b");
        assert_eq!(error.suggestions(), ["dm backup --dir /b create"]);
        assert_eq!(
            error_chain(&error),
            ["there are no backups in /b/p/default"]
        );
        assert_eq!(error.code(), ErrorCode::BackupNotFound);
        assert_eq!(error.exit_status(), ExitStatus::Usage);
    }

    #[test]
    fn failed_command_of_a_container_suggests_status_and_up() {
        let error = BackupError::Command {
            command: "pg_restore".into(),
            stderr: "could not execute query".into(),
        };
        assert_eq!(error.code(), ErrorCode::BackupCommand);
        assert_eq!(
            Error::from(error).for_instance("review").suggestions(),
            ["dm --instance review status", "dm --instance review up"]
        );
    }

    #[test]
    fn every_suggested_command_names_the_instance() {
        let error = BackupError::OpsSchema("20261126T10".into());
        for suggestion in Error::from(error).for_instance("review").suggestions() {
            assert!(suggestion.contains("--instance review"), "{suggestion}");
        }
        let foreign = BackupError::OtherInstance {
            id: "20261126T10".into(),
            backup_instance: "utica".into(),
            current_instance: "review".into(),
        };
        assert_eq!(
            Error::from(foreign).for_instance("review").suggestions(),
            [
                "dm backup restore --instance utica …",
                "or allow a backup of another instance: \
                 dm --instance review backup restore --foreign …"
            ]
        );
    }
}
