//! The interface through which operations report and ask. It hides whether a user, a script or
//! a test is connected.

use std::time::Duration;

use dm_core::error::Result;
use dm_stack::event::RunEvent;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::run_recording::RunRecording;

/// The interface through which operations report and ask.
pub trait Frontend: Send + Sync {
    /// Reports progress or information.
    fn note(&self, sentence: &str);

    /// Reports a warning.
    fn warn(&self, sentence: &str);

    /// Reports a completed operation.
    fn done(&self, sentence: &str);

    /// Returns whether questions can be asked.
    fn can_ask(&self) -> bool;

    /// Asks the user a yes-or-no question.
    ///
    /// # Errors
    /// If the frontend is not interactive.
    fn confirm(&self, question: &str) -> Result<bool>;

    /// Shows the progress of a long operation in the given unit, e.g. `parts`. The returned
    /// function takes the completed and the total number. Dropping it ends the display.
    fn counter(&self, unit: &'static str) -> Box<dyn Fn(u64, u64) + Send + Sync + '_>;

    /// Follows the events of a run until it is finished, and records them. `deadline` is the
    /// time limit of the run.
    fn follow(
        &self,
        events: UnboundedReceiver<RunEvent>,
        deadline: Option<Duration>,
    ) -> BoxFuture<'_, RunRecording>;
}
