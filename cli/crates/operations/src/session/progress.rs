//! Asks the frontend for confirmation and reports the progress of runs to it.

use std::time::Duration;

use dm_core::error::Result;
use dm_stack::event::RunEvent;
use dm_stack::executor::EventEmitter;
use tokio::sync::mpsc;

use super::Session;
use crate::run_recording::RunRecording;

impl Session {
    /// Returns whether a destructive operation is confirmed, by `--yes` or by the user.
    ///
    /// # Errors
    /// If the answer cannot be read.
    pub(crate) fn is_confirmed(&self, yes: bool, question: &str) -> Result<bool> {
        Ok(yes || (self.frontend.can_ask() && self.frontend.confirm(question)?))
    }

    /// Executes the work of a run while the frontend follows its events, and emits the final
    /// event.
    ///
    /// `command` is the name of the command, e.g. `golden make`. `is_success` decides whether
    /// the result is a success.
    ///
    /// # Errors
    /// Returns the errors of the work.
    pub(crate) async fn run_with_progress<T>(
        &self,
        command: &'static str,
        deadline: Option<Duration>,
        work: impl AsyncFnOnce(EventEmitter) -> Result<T>,
        is_success: impl FnOnce(&T) -> bool,
    ) -> Result<(T, RunRecording)> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut emitter = EventEmitter::new(sender, command).for_instance(self.instance());
        if self.is_of_scratch_instance {
            emitter = emitter.of_scratch_instance();
        }
        let following = self.frontend.follow(receiver, deadline);
        let working = async {
            let work = work(emitter.clone());
            tokio::pin!(work);
            let result = tokio::select! {
                result = &mut work => result,
                () = self.interrupt.cancelled() => {
                    // The work stops by itself. The event reports the interrupt.
                    emitter.emit(RunEvent::Interrupted);
                    work.await
                }
            };
            let ok = result.as_ref().is_ok_and(is_success);
            emitter.emit(RunEvent::Finished {
                ok,
                elapsed: emitter.elapsed(),
            });
            drop(emitter);
            result
        };
        let (result, recording) = tokio::join!(working, following);
        Ok((result?, recording))
    }
}
