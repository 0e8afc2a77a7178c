//! A demo, created through the gateway as signed-in users, so that the services publish live
//! events.
//!
//! ```text
//! plan     the plan of a demo, derived from a seed number
//! execute  executes the plan and waits for its effects
//! ```

mod execute;
mod plan;

pub use execute::{DemoSeeder, execute_plan, fetch_company_names};
