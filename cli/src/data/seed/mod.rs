//! Fills a stack with a demo's business, through the front door: as real people, by the
//! services' own rules.
//!
//! ```text
//! file     what the business is made of: companies, expenses, people
//! plan     what is to be done, worked out from a number alone
//! carry    doing it, and waiting for what follows from it
//! made     what was made
//! ```

#![expect(
    clippy::result_large_err,
    reason = "a fault is made once a run, and ends it"
)]

mod carry;
mod error;
mod file;
mod made;
mod plan;

pub use carry::{Filling, existing, fill};
pub use error::SeedError;
pub use file::{PATH, SeedFile};
pub use made::{Existing, Made};
pub use plan::{End, Plan};
