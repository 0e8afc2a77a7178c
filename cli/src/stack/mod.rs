//! The dependency graph, the plan, the executor and readiness.

pub mod event;
pub mod status;
pub mod timings;
