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

mod archive;
mod broker;
mod diagram;
mod diff;
mod dump;
mod error;
mod files;
mod names;
mod object;
mod realm;
mod secrets;
mod source;
mod sql;
mod table;

pub use diff::{Change, Class, Difference, compare};
pub use error::SchemaError;
pub use files::{FOLDER, Folder, Written};
pub use object::{Document, Form, Object};
pub use source::{Site, Source, fresh, live};
