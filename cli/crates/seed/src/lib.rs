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

pub mod demo;
pub mod history;
pub mod import;

mod error;
mod issue;
mod seed_file;
mod summary;

pub use error::SeedError;
pub use seed_file::SeedFile;
pub use summary::{ExistingData, SeedSummary};

/// Where the file of a demo is in a project.
pub(crate) const SEED_FILE_PATH: &str = "fixtures/demo/seed.toml";
