//! The CI job: a separate instance, up, smoke, down.
//!
//! ```text
//! job                 the stages, and which of them follow after a failure
//! report              the result: stages, components, steps
//! event               the events of a running job, as JSON lines
//! junit               the report as a JUnit file: one suite per service, one case per step
//! artifacts           the files that a job writes
//! leftover_instances  instances of killed jobs
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
