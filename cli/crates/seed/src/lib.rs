//! Loads business data into a stack.
//!
//! ```text
//! seed_file   the content of a demo: companies, expenses, people
//! summary     counts of the created records
//! demo        a demo, created through the gateway by signed-in users
//! history     generated history of any size, written into the tables
//! import      the user's own records, from files
//! ```

#![expect(
    clippy::result_large_err,
    reason = "an error occurs once per run, and ends it"
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

/// The path of the seed file in a project.
pub(crate) const SEED_FILE_PATH: &str = "fixtures/demo/seed.toml";
