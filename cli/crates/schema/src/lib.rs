//! Snapshots of the database schemas, the broker topology and the realm, as files for reviews.
//!
//! ```text
//! object        the objects of a schema, each with its text
//! sql           the tokens of SQL: strings, names, comments and everything else
//! table         the columns of a table
//! pg_archive    the objects in an archive of pg_dump
//! pg_dump       the schemas of a database, from an archive
//! secrets       secrets, which are masked in snapshots
//! broker        the topology of the broker
//! realm         the realm
//! source        the sources of schemas: the running stack, the snapshots, the migrations
//! diff          differences between two sources, and whether they are breaking
//! diagram       a diagram of each schema
//! file_names    the names of snapshot files
//! snapshot_dir  the directory of snapshots
//! ```

mod broker;
mod diagram;
mod diff;
mod error;
mod file_names;
mod object;
mod pg_archive;
mod pg_dump;
mod realm;
mod secrets;
mod snapshot_dir;
mod source;
mod sql;
mod table;

pub use diff::{ChangeKind, Compatibility, Difference, compare};
pub use error::SchemaError;
pub use object::{SchemaDocument, SchemaObject, SnapshotFormat};
pub use snapshot_dir::{SnapshotDir, WrittenFile};
pub use source::{SchemaSource, SchemaSources, load_from_migrations, load_from_stack};
