//! Copies of all that the stack holds, that prove themselves.
//!
//! ```text
//! manifest    what a set is, and the digest of each of its files
//! digest      what a file's bytes are known by
//! seal        the files of a set, encrypted for its recipients
//! partial     a set that is being made
//! store       the folder of sets
//! keep        which of them stay, and why
//! job         a schedule in a container: what it is given, and what it tells of itself
//! access      the servers that a set is made of, and who may ask them
//! server      commands in the servers' containers, and files into them
//! near        a session with the database past the engine's port proxy
//! counts      how many rows there are, in a database and in a dump
//! dump        pg_dump, which the server runs
//! collect     the files of a dump, while they are written
//! directory   the directory's entries
//! create      a set of the running stack
//! quote       names and texts as SQL has them
//! roles       the roles of the database's server
//! server_side what else a database has from its server
//! space       whether there is room for a second database
//! target      the server that gets a set's database
//! database    a set's database beside the one that is served
//! swap        the two change places
//! schema      one schema changes places
//! broker      the broker's queues, topology and dead letters
//! refill      what the restored outboxes have published, in queues again
//! orphans     what of an account is not in the backup just so
//! rest        what is done once the database is back
//! extent      how much of a set comes back
//! context     what a restore works on
//! restore     a set brought back: what is done, and in which order
//! ```
//!
//! A set is a folder. It is made under another name, its manifest is written last, and it
//! gets its name when all of it is on the disk: what has a name is complete.

mod backup_store;
mod broker;
mod context;
mod create;
mod database_swap;
mod digest;
mod direct_connection;
mod disk_space;
mod dump;
mod dump_stream;
mod encryption;
mod error;
#[cfg(any(test, feature = "examples"))]
pub mod examples;
#[cfg(test)]
mod fuzz;
mod ldap;
mod manifest;
mod orphans;
mod partial_backup;
mod post_swap;
mod quote;
mod republish;
mod restore;
mod restore_scope;
mod restore_target;
mod retention;
mod roles;
mod row_counts;
pub mod schedule;
pub mod scheduler;
mod schema_restore;
mod server_access;
mod server_container;
mod server_metadata;
mod staged_database;

pub use backup_store::{Backup, BackupCandidate, BackupEntry, BackupStore};
pub use broker::{DeadLetterIds, RestoreBroker};
pub use context::RestoreContext;
pub use create::{BackupSource, abort, create};
pub use encryption::{Identities, OpenBackup, Recipients};
pub use error::BackupError;
pub use manifest::{Manifest, Purpose, RowCounts};
pub use orphans::orphaned_since_restore;
pub use republish::OutboxSource;
pub use restore::{restore, resume};
pub use restore_scope::RestoreScope;
pub use restore_target::RestoreTarget;
pub use retention::{
    KeepReason, PruneReason, RetentionDecision, RetentionPolicy, RetentionVerdict,
};
pub use row_counts::count_rows as rows_now;
pub use server_access::{ServerAccess, ServerConnections};
pub use server_container::ServerContainer;
pub use staged_database::{
    StagedDatabase, drop_leftover_databases, stage_database, unfinished_restore,
};
