//! The whole job of continuous integration: an own instance, up, smoke, down.
//!
//! ```text
//! job        the parts, and which of them follow when one fails
//! report     what came out: stages, components, steps
//! line       what is told while it runs, a JSON line each
//! junit      the report as a JUnit file: a suite a service, a case a step
//! artifacts  the files that a job keeps
//! leftovers  instances of jobs that were killed
//! ```

pub mod artifacts;
pub mod event;
#[cfg(any(test, feature = "examples"))]
pub mod examples;
mod job;
pub mod junit;
mod leftover_instances;
pub mod report;

pub use job::{CiObserver, CiRequest, CiResult, run};
pub use leftover_instances::new_instance_name;
