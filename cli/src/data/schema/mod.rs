//! What the database, the broker and the realm are like, as files that a review sees.
//!
//! ```text
//! object   the parts of a schema, each with its text
//! dump     the database's schemas, by pg_dump
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
mod dump;
mod error;
mod files;
mod object;
mod realm;
mod source;

pub use diff::{Change, Class, Difference, compare};
pub use error::SchemaError;
pub use files::{FOLDER, Folder, Written};
pub use object::{Document, Form, Object};
pub use source::{Site, Source, fresh, live};
