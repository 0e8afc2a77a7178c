//! Through the front door: as real people, by the services' own rules, so that live events
//! are seen.
//!
//! ```text
//! plan     what is to be done, worked out from a number alone
//! carry    doing it, and waiting for what follows from it
//! ```

mod execute;
mod plan;

pub use execute::{DemoSeeder, execute_plan, fetch_company_names};
