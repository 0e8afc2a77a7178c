//! The whole job of continuous integration as values: what is told while it runs, and
//! what came out of it.
//!
//! ```text
//! report     what came out: stages, components, steps
//! line       what is told while it runs, a JSON line each
//! junit      the report as a JUnit file: a suite a service, a case a step
//! artifacts  the files that a job keeps
//! leftovers  instances of jobs that were killed
//! ```

pub mod artifacts;
pub mod junit;
pub mod leftovers;
pub mod line;
pub mod report;
