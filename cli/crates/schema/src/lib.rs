//! What the database, the broker and the realm are like, as files that a review sees.
//!
//! ```text
//! object   the parts of a schema, each with its text
//! sql      what stands in a string, a name or a comment of SQL, and what does not
//! table    the columns of a table
//! archive  the objects of an archive of pg_dump
//! dump     the database's schemas, of such an archive
//! secrets  what no snapshot shows
//! broker   the broker's topology
//! realm    the realm
//! source   all of it: of the running stack, of a fresh one, of the files
//! diff     what is other, and whether that breaks somebody
//! diagram  a picture of each schema
//! files    the folder of snapshots
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
pub use snapshot_dir::{SNAPSHOT_DIR, SnapshotDir, WrittenFile};
pub use source::{SchemaSource, SchemaSources, load_from_migrations, load_from_stack};
