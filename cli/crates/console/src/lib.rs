//! A program of this workspace on the terminal: how operations report and ask there, how a
//! run is shown, and how the process ends.
//!
//! ```text
//! process    the runtime, the interrupts and the exit code of a program
//! progress   a run while it lasts, from its events
//! failure    why a component failed
//! timings    where the time of a run went
//! ```
//!
//! It stands on operations and on the terminal, and knows no command: `dm` and the program of
//! the benchmarks share it.

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

/// The terminal as operations see it.
#[derive(Debug)]
pub struct ConsoleFrontend(Printer);

impl ConsoleFrontend {
    /// The terminal that this printer writes to.
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

    fn counter(&self, what: &'static str) -> Box<dyn Fn(u64, u64) + Send + Sync + '_> {
        let counter = ProgressCounter::new(&self.0, what);
        Box::new(move |done, of| counter.update(done, of))
    }

    fn follow(
        &self,
        events: UnboundedReceiver<RunEvent>,
        deadline: Option<Duration>,
    ) -> BoxFuture<'_, RunRecording> {
        progress::report_run(&self.0, events, progress::ReportOptions { deadline }).boxed()
    }
}
