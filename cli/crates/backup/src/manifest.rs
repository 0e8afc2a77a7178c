//! The manifest of a backup.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The format of backups that is written, and the only format that is read.
pub(crate) const FORMAT_VERSION: u32 = 4;

/// The number of rows by table, e.g. `orders.orders`.
pub type RowCounts = BTreeMap<String, i64>;

/// Why a backup was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// By a command of the user.
    Manual,
    /// By the schedule.
    Scheduled,
    /// By a restore, before it replaced the data.
    Safety,
}

impl Purpose {
    /// Returns the name of the purpose.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Scheduled => "scheduled",
            Self::Safety => "safety",
        }
    }
}

/// The description of a backup, with the digest of each of its files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format of the backup.
    pub format: u32,
    /// The id of the backup, which is the name of its directory.
    pub id: String,
    /// Why the backup was created.
    pub purpose: Purpose,
    /// The time of the state that the backup contains.
    pub taken_at: DateTime<Utc>,
    /// The version of `dm` that created the backup.
    pub dm: String,
    /// The project of the stack.
    pub project: String,
    /// The instance of the stack.
    pub instance: String,
    /// The database.
    pub postgres: PostgresManifest,
    /// The version of RabbitMQ.
    pub rabbitmq: String,
    /// The version of Keycloak.
    pub keycloak: String,
    /// The number of dead letters by work queue.
    pub dead_letters: BTreeMap<String, u64>,
    /// The number of events that had not been published.
    pub pending: i64,
    /// The age recipients that the files are encrypted for. If empty, the files are not encrypted.
    #[serde(default)]
    pub recipients: Vec<String>,
    /// The duration of each part in seconds. Parts are saved concurrently.
    pub seconds: BTreeMap<String, f64>,
    /// The files, by their path in the backup.
    pub files: BTreeMap<String, FileDigest>,
}

/// The database of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostgresManifest {
    /// The version of the server, e.g. `17.12`.
    pub version: String,
    /// The name of the database.
    pub database: String,
    /// The position of the write-ahead log.
    pub lsn: String,
    /// The size of the database on disk, in bytes.
    pub bytes: u64,
    /// The number of rows of each table in the dumped snapshot.
    pub rows: RowCounts,
}

impl PostgresManifest {
    /// Returns the major version of the server.
    #[must_use]
    pub(crate) fn major_version(&self) -> &str {
        self.version.split('.').next().unwrap_or_default()
    }
}

/// The size and digest of a file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDigest {
    /// The size of the file, in bytes.
    pub bytes: u64,
    /// The BLAKE3 digest of the file, in hexadecimal digits.
    pub blake3: String,
}

impl Manifest {
    /// Returns the size of all files together, in bytes.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        let sizes = self.files.values().map(|file| file.bytes);
        sizes.fold(0, u64::saturating_add)
    }

    /// Returns the schemas that have tables in the backup.
    #[must_use]
    pub(crate) fn schemas(&self) -> BTreeSet<&str> {
        let tables = self.postgres.rows.keys();
        tables
            .filter_map(|table| Some(table.split_once('.')?.0))
            .collect()
    }

    /// Returns the number of rows of all tables together.
    #[must_use]
    pub fn total_rows(&self) -> i64 {
        let counts = self.postgres.rows.values();
        counts.fold(0, |sum, count| sum.saturating_add(*count))
    }
}
