//! Fault injection: single faults and scenarios.
//!
//! ```text
//! fault      a fault: injection and recovery
//! scenario   a sequence of faults from a file
//! ```

mod fault;
mod scenario;

pub use fault::{ChaosContext, Fault, FaultOutcome};
pub use scenario::{Scenario, ScenarioError, ScenarioStep};
