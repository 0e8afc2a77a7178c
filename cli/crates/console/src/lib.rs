//! The console front end of this workspace's programs: reports and prompts of operations, the
//! progress of a run, and the exit of the process.
//!
//! ```text
//! process    the runtime, the interrupts and the exit code of a program
//! progress   the progress of a run, from its events
//! failure    the report of a failed component
//! timings    the critical path and the chart of a run
//! ```
//!
//! It depends on `dm-operations` and `dm-terminal`, and on no command: `dm` and the benchmark
//! program share it.

pub mod failure;
mod process;
mod progress;
pub mod timings;

use std::time::Duration;

use dm_core::error::Result;
use dm_operations::{Frontend, RunRecording};
use dm_stack::event::RunEvent;
use dm_terminal::Printer;
use dm_terminal::progress_counter::ProgressCounter;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc::UnboundedReceiver;

pub use process::run_process;

/// The front end of operations on a terminal.
#[derive(Debug)]
pub struct ConsoleFrontend(Printer);

impl ConsoleFrontend {
    /// Creates a front end that uses this printer.
    #[must_use]
    pub fn new(printer: Printer) -> Self {
        Self(printer)
    }
}

impl Frontend for ConsoleFrontend {
    fn note(&self, sentence: &str) {
        self.0.note(sentence);
    }

    fn warn(&self, sentence: &str) {
        self.0.warn(sentence);
    }

    fn done(&self, sentence: &str) {
        self.0.done(sentence);
    }

    fn can_ask(&self) -> bool {
        self.0.is_interactive()
    }

    fn confirm(&self, question: &str) -> Result<bool> {
        Ok(self.0.confirm(question)?)
    }

    fn counter(&self, label: &'static str) -> Box<dyn Fn(u64, u64) + Send + Sync + '_> {
        let counter = ProgressCounter::new(&self.0, label);
        Box::new(move |done, total| counter.update(done, total))
    }

    fn follow(
        &self,
        events: UnboundedReceiver<RunEvent>,
        deadline: Option<Duration>,
    ) -> BoxFuture<'_, RunRecording> {
        progress::report_run(&self.0, events, progress::ReportOptions { deadline }).boxed()
    }
}
