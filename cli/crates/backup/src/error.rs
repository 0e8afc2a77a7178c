//! Why a set can't be made, or is not to be trusted.

use std::io;
use std::path::PathBuf;

use dm_components::locks::Blocked;
use dm_core::error::{Coded, Exit};
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
    #[error("a container can't be asked")]
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
    #[error("the database refused")]
    Sql(#[from] sqlx::Error),
    /// The database can't be set up as migrations have it.
    #[error("the restored database can't be set up")]
    Setup(#[from] dm_components::database::DatabaseError),
    /// The broker refused.
    #[error("the broker refused")]
    Broker(#[from] MessagingError),
    /// Keycloak can't be asked.
    #[error("Keycloak can't be asked")]
    Keycloak(#[from] reqwest::Error),
    /// The directory refused.
    #[error("the directory can't be read")]
    Directory(#[from] ldap3::LdapError),
    /// There is no such set.
    #[error("there is no backup `{0}`")]
    NoSet(String),
    /// Several sets have an id that begins so.
    #[error("`{prefix}` begins the ids of {} backups", candidates.len())]
    Ambiguous {
        /// What was given.
        prefix: String,
        /// Those sets.
        candidates: Vec<Candidate>,
    },
    /// There are none but safety copies, and `latest` is none of these.
    #[error("there is no manual or scheduled backup yet, only safety copies")]
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
    #[error("backup `{id}` has format {found}, and this dm reads {FORMAT}")]
    Format {
        /// Which.
        id: String,
        /// Its format.
        found: u32,
    },
    /// A set is of another instance.
    #[error("backup `{id}` is of instance `{of}`, and this is `{this}`")]
    Foreign {
        /// Which.
        id: String,
        /// Of which instance.
        of: String,
        /// Which one this is.
        this: String,
    },
    /// A set is of a newer server.
    #[error("backup `{id}` is of {server} {of}, and the stack runs {runs}")]
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
    #[error("schema `dm_ops` is that of dm itself, and can't be restored by itself")]
    OwnSchema(
        /// The set.
        String,
    ),
    /// Something elsewhere hangs on a schema.
    #[error("schema `{schema}` can't be replaced by itself: these would go with it")]
    Dependents {
        /// The schema.
        schema: String,
        /// What hangs on it.
        dependents: Vec<String>,
    },
    /// The server lacks extensions.
    #[error("the backup needs extensions that this PostgreSQL does not have: {}", .0.join(", "))]
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
    #[error("the database's tables can't be locked")]
    Blocked(#[source] Blocked),
    /// Queues fill again as fast as they are emptied.
    #[error("the queues are never empty: a program outside the stack publishes to them")]
    NeverEmpty,
    /// The server did not tell whether two databases have changed places.
    #[error("the database went away while the restored one took its place")]
    Unknown(#[source] Box<BackupError>),
    /// Nothing has changed, but what was stopped does not run again.
    #[error("nothing has changed, and these are stopped: {}", containers.join(", "))]
    Stopped {
        /// The containers.
        containers: Vec<String>,
        /// Why it failed.
        source: Box<BackupError>,
    },
    /// The database is restored, and not all of the rest.
    #[error(
        "the database of {id} is restored, and not yet all of the rest: services and Keycloak are stopped"
    )]
    Halfway {
        /// The set.
        id: String,
        /// What failed.
        source: Box<BackupError>,
    },
    /// A text is no recipient of age.
    #[error("`{text}` is no recipient of age: {reason}")]
    Recipient {
        /// The text.
        text: String,
        /// Why not.
        reason: String,
    },
    /// A file has no key of age.
    #[error("{} has no key of age that can be read: {reason}", path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// No key fits.
    #[error("backup `{id}` is encrypted: {reason}")]
    Locked {
        /// Which.
        id: String,
        /// Why it can't be read.
        reason: String,
    },
    /// Nobody said that the data may be replaced.
    #[error("a restore replaces data of instance `{0}`, and that was not confirmed")]
    NotConfirmed(String),
    /// Nobody said that backups may go.
    #[error("{0} backups would go, and that was not confirmed")]
    PruneNotConfirmed(usize),
    /// What was restored is not what was saved.
    #[error("what was restored has other rows than the backup")]
    Counts(Vec<String>),
    /// An earlier restore was cut short.
    #[error("the restore of backup `{0}` was cut short")]
    Unfinished(String),
    /// There is no restore to carry on with.
    #[error("no restore was cut short")]
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
    fn code(&self) -> &'static str {
        match self {
            Self::File { .. } => "backup-file",
            Self::Engine(_) => "engine",
            Self::Command { .. } => "backup-command",
            Self::Sql(_) | Self::Setup(_) => "database",
            Self::Broker(_) | Self::Keycloak(_) | Self::Directory(_) => "backup-source",
            Self::NoSet(_) | Self::NoSets(_) | Self::OnlySafety { .. } => "backup-not-found",
            Self::Ambiguous { .. } => "backup-ambiguous",
            Self::NoSchema { .. } => "schema-unknown",
            Self::OwnSchema(_) | Self::Dependents { .. } => "schema-refused",
            Self::NoExtension(_) => "extension-missing",
            Self::NoSpace { .. } => "disk-full",
            Self::Blocked(_) => "database-locked",
            Self::NeverEmpty => "backup-source",
            Self::Unknown(_) => "restore-unknown",
            Self::Stopped { source, .. } => source.code(),
            Self::Halfway { .. } => "restore-unfinished",
            Self::Recipient { .. } => "backup-recipient",
            Self::Identity { .. } => "backup-identity",
            Self::Locked { .. } => "backup-encrypted",
            Self::Damaged { .. } => "backup-damaged",
            Self::Format { .. } | Self::Foreign { .. } | Self::Version { .. } => "backup-refused",
            Self::NotConfirmed(_) | Self::PruneNotConfirmed(_) => "not-confirmed",
            Self::Counts(_) => "backup-not-equal",
            Self::Unfinished(_) => "restore-unfinished",
            Self::NothingToResume => "restore-nothing-to-resume",
            Self::Interrupted(_) => "interrupted",
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
            Self::Ambiguous { .. } => vec!["write more of the id".into()],
            Self::OnlySafety { .. } => {
                vec!["name one of them by its id, or make a backup: dm backup create".into()]
            }
            Self::NoSets(_) => vec!["dm backup create".into()],
            Self::Damaged { .. } => vec!["take another one: dm backup ls".into()],
            Self::Format { found, .. } if *found < FORMAT => vec![
                "take the dm that made it".into(),
                "or make another one: dm backup create".into(),
            ],
            Self::Format { .. } => vec!["take a newer dm".into()],
            Self::Foreign { of, .. } => vec![
                format!("dm --instance {of} backup restore …"),
                "or, if that is what you want: dm backup restore --foreign …".into(),
            ],
            Self::Recipient { .. } => {
                vec!["age-keygen writes a key, and the recipient that goes with it: age1…".into()]
            }
            Self::Locked { .. } | Self::Identity { .. } => vec![
                "give the key of one of its recipients: dm backup restore --identity FILE".into(),
                "or set `backup.identity` in dm.local.toml".into(),
            ],
            Self::NoSchema { known, .. } => {
                vec![format!("its schemas are {}", known.join(", "))]
            }
            Self::Version { server, .. } => {
                let component = server.to_lowercase().replace("postgresql", "postgres");
                vec![format!("dm images build {component}"), "dm up".into()]
            }
            Self::NotConfirmed(_) | Self::PruneNotConfirmed(_) => {
                vec!["call the same command again with --yes".into()]
            }
            Self::Unfinished(_) => vec![
                "dm backup restore --resume".into(),
                "or start fresh, without the data there is: dm reset".into(),
            ],
            Self::OwnSchema(id) => vec![format!(
                "restore all of it: dm backup restore {id}, or another schema: dm backup show {id}"
            )],
            Self::Dependents { .. } => vec![
                "restore all of the backup, without --schema: dm backup restore ID".into(),
                "or remove these first, and make them again afterwards: dm psql".into(),
            ],
            Self::NoExtension(_) => {
                vec!["use an image of PostgreSQL that has them: postgres.image in dm.toml".into()]
            }
            Self::NoSpace { .. } => vec!["make room, e.g.: dm images prune".into()],
            Self::Blocked(blocked) => blocked.next(),
            Self::NeverEmpty => vec![
                "stop that program, then dm backup restore --resume".into(),
                "see its connections: dm open rabbitmq".into(),
            ],
            Self::Unknown(_) => vec![
                "dm up, which says so where the restored one is in its place".into(),
                "then dm backup restore --resume".into(),
            ],
            Self::Stopped { .. } => vec!["dm up".into()],
            Self::Halfway { .. } => vec![
                "dm backup restore --resume".into(),
                "or dm reset, without the data there is".into(),
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
