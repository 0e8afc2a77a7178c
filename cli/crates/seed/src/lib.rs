//! Fills a stack with a business.
//!
//! ```text
//! file     what a demo is made of: companies, expenses, people
//! made     what was made
//! front    through the front door, as real people
//! past     straight into the tables, as if it had happened: any amount of it
//! own      somebody's own business, from files
//! ```

#![expect(
    clippy::result_large_err,
    reason = "a fault is made once a run, and ends it"
)]

pub mod front;
pub mod own;
pub mod past;

mod error;
mod file;
mod issue;
mod made;

pub use error::SeedError;
pub use file::SeedFile;
pub use made::{Existing, Made};

/// Where the file of a demo is in a project.
pub(crate) const PATH: &str = "fixtures/demo/seed.toml";
