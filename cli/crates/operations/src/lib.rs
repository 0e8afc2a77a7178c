//! What `dm` does to a stack, as functions of plain inputs that return values: no command
//! line, no terminal.
//!
//! ```text
//! session    what the operations of one call share: instance, engine, stack, locks
//! frontend   where they report and ask; recording: what a run has told
//! run        a run over the components, as explicit phases
//! up, restart, rebuild, reset, down, golden   what changes a stack
//! seed, smoke, reconcile, backup              what fills, proves, accounts for and saves it
//! schema     schemas, topology and realm, of migrations, snapshots and the running stack
//! dead_letters   copies of dead letters, and what is parked and removed
//! chaos      faults on purpose, step by step
//! ci         a whole job, part by part
//! dev        the sources as they were built, and their changes
//! doctor     the machine examined, and bundles about failures
//! exec       the container that a command is to run in
//! story      what is known of an event
//! images     images obtained, saved and loaded
//! bench      the program of the benchmarks, compiled
//! ```

pub mod backup;
pub mod bench;
pub mod chaos;
pub mod ci;
pub mod dead_letters;
pub mod dev;
pub mod doctor;
pub mod down;
pub mod exec;
mod frontend;
pub mod golden;
pub mod images;
pub mod rebuild;
pub mod reconcile;
pub mod reset;
pub mod restart;
mod run_recording;
pub mod schema;
pub mod seed;
pub mod session;
pub mod smoke;
mod stack_run;
#[cfg(test)]
mod test_support;
pub mod trace;
pub mod up;

pub use frontend::Frontend;
pub use run_recording::RunRecording;
pub use session::{Project, Session, StackClients};
pub use stack_run::{RunError, RunResult};
