//! What a set is.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The form of sets that is written, and the only one that is read.
pub(crate) const FORMAT_VERSION: u32 = 4;

/// Rows by table, e.g. `orders.orders`.
pub type RowCounts = BTreeMap<String, i64>;

/// Why a set was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// A person asked for it.
    Manual,
    /// It was due.
    Scheduled,
    /// A restore was about to replace what is in it.
    Safety,
}

impl Purpose {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Scheduled => "scheduled",
            Self::Safety => "safety",
        }
    }
}

/// What a set is, with the digest of each of its files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The form of the set.
    pub format: u32,
    /// Its id, which is its folder's name.
    pub id: String,
    /// Why it was made.
    pub purpose: Purpose,
    /// When the state was, that it holds.
    pub taken_at: DateTime<Utc>,
    /// The version of `dm` that made it.
    pub dm: String,
    /// The project that it is of.
    pub project: String,
    /// The instance that it is of.
    pub instance: String,
    /// The database.
    pub postgres: PostgresManifest,
    /// The broker's version.
    pub rabbitmq: String,
    /// Keycloak's version.
    pub keycloak: String,
    /// What the broker had, in its dead-letter queues, by work queue.
    pub dead_letters: BTreeMap<String, u64>,
    /// Events that were written and not published.
    pub pending: i64,
    /// To whom its files are encrypted, as age writes recipients; to nobody: they are plain.
    #[serde(default)]
    pub recipients: Vec<String>,
    /// How long each part took, in seconds. They are saved side by side.
    pub seconds: BTreeMap<String, f64>,
    /// Its files, by their path in it.
    pub files: BTreeMap<String, FileDigest>,
}

/// The database of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostgresManifest {
    /// The server's version, e.g. `17.12`.
    pub version: String,
    /// The database's name.
    pub database: String,
    /// Where the server's log was.
    pub lsn: String,
    /// How much of the disk it took, in bytes.
    pub bytes: u64,
    /// How many rows each table had, in the very state that was dumped.
    pub rows: RowCounts,
}

impl PostgresManifest {
    /// The server's major version.
    #[must_use]
    pub(crate) fn major_version(&self) -> &str {
        self.version.split('.').next().unwrap_or_default()
    }
}

/// A file of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDigest {
    /// Its length, in bytes.
    pub bytes: u64,
    /// Its BLAKE3 digest, in hexadecimal digits.
    pub blake3: String,
}

impl Manifest {
    /// How long all of its files are, in bytes.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        let sizes = self.files.values().map(|file| file.bytes);
        sizes.fold(0, u64::saturating_add)
    }

    /// The schemas that it has tables of.
    #[must_use]
    pub(crate) fn schemas(&self) -> BTreeSet<&str> {
        let tables = self.postgres.rows.keys();
        tables
            .filter_map(|table| Some(table.split_once('.')?.0))
            .collect()
    }

    /// How many rows all of its tables have.
    #[must_use]
    pub fn total_rows(&self) -> i64 {
        let counts = self.postgres.rows.values();
        counts.fold(0, |sum, count| sum.saturating_add(*count))
    }
}
