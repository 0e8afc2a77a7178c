//! Backups of everything that the stack stores, verified by digests.
//!
//! ```text
//! manifest           the description of a backup, with the digest of each of its files
//! digest             BLAKE3 digests of files
//! encryption         the files of a backup, encrypted for its recipients
//! partial_backup     a backup that is being created
//! backup_store       the directory of backups
//! retention          which backups are kept, and why
//! schedule           scheduled backups: the input of the container and its report
//! scheduler          the container that creates backups when they are due
//! server_access      the servers that are backed up, and their administrators
//! server_container   commands and files in the containers of the servers
//! direct_connection  a session with the database that bypasses the engine's port proxy
//! row_counts         the number of rows in a database and in a dump
//! dump               pg_dump, run by the server
//! dump_stream        the files of a dump, copied while they are written
//! ldap               the entries of the LDAP directory
//! create             the creation of a backup of the running stack
//! quote              quoting of SQL identifiers and literals
//! roles              the roles of the database server
//! server_metadata    properties of a database that are not in its dump
//! disk_space         the check for space for a second database
//! restore_target     the server to which a database is restored
//! staged_database    the database of a backup, prepared beside the one in use
//! database_swap      the swap of the two databases
//! schema_restore     the replacement of one schema
//! broker             the queues, topology and dead letters of the broker
//! republish          events of the restored outboxes, published to the queues again
//! orphans            events that are neither in an outbox nor in the backup
//! post_swap          the steps of a restore after the swap
//! restore_scope      the part of a backup that is restored
//! context            the servers that a restore changes
//! restore            the steps of a restore and their order
//! ```
//!
//! A backup is a directory. It is created under a temporary name, its manifest is written last,
//! and it is renamed when all of it is on disk: a directory with the name of a backup is complete.

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
pub use row_counts::count_rows;
pub use server_access::{ServerAccess, ServerConnections};
pub use server_container::ServerContainer;
pub use staged_database::{
    StagedDatabase, drop_leftover_databases, stage_database, unfinished_restore,
};
