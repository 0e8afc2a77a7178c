//! Copies of all that the stack holds, that prove themselves.
//!
//! ```text
//! manifest what a set is, and the digest of each of its files
//! digest   what a file's bytes are known by
//! seal     the files of a set, encrypted for its recipients
//! partial  a set that is being made
//! store    the folder of sets
//! keep     which of them may go
//! server   commands in the servers' containers, and files into them
//! near     a session with the database past the engine's port proxy
//! counts   how many rows there are, in a database and in a dump
//! collect  the files of a dump, while they are written
//! create   a set of the running stack
//! database a set's database beside the one that runs, and in its place
//! rest     what else a set has: the broker's queues, the directory
//! restore  a set brought back: what is done, and in which order
//! ```
//!
//! A set is a folder. It is made under another name, its manifest is written last, and it
//! gets its name when all of it is on the disk: what has a name is complete.

mod collect;
mod counts;
mod create;
mod database;
mod digest;
mod error;
mod keep;
mod manifest;
mod near;
mod partial;
mod rest;
mod restore;
mod seal;
mod server;
mod store;

pub use create::{Source, abandon, create};
pub use database::{Target, prepare, sweep, unfinished};
pub use error::BackupError;
pub use keep::Keep;
pub use manifest::{Counts, Manifest, Purpose};
pub use restore::{Extent, Site, restore, resume};
pub use seal::{Identities, Opened, Recipients};
pub use server::Server;
pub use store::{Listed, Set, Store};
