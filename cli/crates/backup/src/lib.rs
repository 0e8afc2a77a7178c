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

mod access;
mod broker;
mod collect;
pub mod component;
mod context;
mod counts;
mod create;
mod database;
mod digest;
mod directory;
mod dump;
mod error;
#[cfg(any(test, feature = "examples"))]
pub mod examples;
mod extent;
#[cfg(test)]
mod fuzz;
pub mod job;
mod keep;
mod manifest;
mod near;
mod orphans;
mod partial;
mod quote;
mod refill;
mod rest;
mod restore;
mod roles;
mod schema;
mod seal;
mod server;
mod server_side;
mod space;
mod store;
mod swap;
mod target;

pub use access::{Access, Servers};
pub use broker::{Broker, Letters};
pub use context::RestoreContext;
pub use counts::now as rows_now;
pub use create::{Source, abandon, create};
pub use database::{Prepared, prepare, sweep, unfinished};
pub use error::BackupError;
pub use extent::Extent;
pub use keep::{Fate, Goes, Keep, Stays, Verdict};
pub use manifest::{Counts, Manifest, Purpose};
pub use orphans::orphaned_since;
pub use refill::Events;
pub use restore::{restore, resume};
pub use seal::{Identities, Opened, Recipients};
pub use server::Server;
pub use store::{Candidate, Listed, Set, Store};
pub use target::Target;
