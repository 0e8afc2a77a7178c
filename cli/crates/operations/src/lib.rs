//! The operations of `dm` on a stack, as functions of plain inputs that return values. They
//! depend on neither the command line nor the terminal.
//!
//! ```text
//! session        state that the operations of one call share: instance, engine, stack, locks
//! frontend       the interface for reports and questions
//! run_recording  the recorded events of a run
//! stack_run      a run over the components, as explicit phases
//! up, restart, rebuild, reset, down, golden   operations that change a stack
//! seed, smoke, reconcile, backup              load data, test, check and save it
//! schema         schemas, topology and realm of migrations, snapshots and the running stack
//! dead_letters   list, replay, export, import, park and purge dead letters
//! chaos          fault injection, step by step
//! ci             the CI job, stage by stage
//! dev            the watcher of the service sources
//! doctor         checks of the machine, and diagnostics bundles
//! exec           the container in which a command runs
//! trace          one event with its delivery status
//! images         build, pull, save and load images
//! bench          compiles the benchmark program
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
