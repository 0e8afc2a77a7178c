//! What can be broken on purpose, one thing or several in a row.
//!
//! ```text
//! fault      one of them, and how it is done and undone
//! scenario   several of them, from a file
//! ```

mod fault;
mod scenario;

pub use fault::{ChaosContext, Fault, FaultOutcome};
pub use scenario::{Scenario, ScenarioError, ScenarioStep};
