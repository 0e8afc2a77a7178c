//! A session asks its frontend, and lets it follow a run.

use std::time::Duration;

use dm_core::error::Result;
use dm_stack::event::RunEvent;
use dm_stack::executor::EventEmitter;
use tokio::sync::mpsc;

use super::Session;
use crate::run_recording::RunRecording;

impl Session {
    /// Whether what removes data may be done: by `--yes`, or because a person says so.
    ///
    /// # Errors
    /// The answer can't be read.
    pub(crate) fn is_confirmed(&self, yes: bool, question: &str) -> Result<bool> {
        Ok(yes || (self.frontend.can_ask() && self.frontend.confirm(question)?))
    }

    /// Does the work of a run while the frontend follows its events, and tells its end.
    ///
    /// `command` is what was asked for, e.g. `golden make`. `ok` reads from the result
    /// whether everything is as was asked.
    ///
    /// # Errors
    /// Those of the work.
    pub(crate) async fn run_with_progress<T>(
        &self,
        command: &'static str,
        deadline: Option<Duration>,
        work: impl AsyncFnOnce(EventEmitter) -> Result<T>,
        is_success: impl FnOnce(&T) -> bool,
    ) -> Result<(T, RunRecording)> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let emitter = EventEmitter::new(sender, command).for_instance(self.instance());
        let following = self.frontend.follow(receiver, deadline);
        let working = async {
            let work = work(emitter.clone());
            tokio::pin!(work);
            let result = tokio::select! {
                result = &mut work => result,
                () = self.interrupt.cancelled() => {
                    // It winds down by itself; the person is told that it does.
                    emitter.emit(RunEvent::Interrupted);
                    work.await
                }
            };
            let ok = result.as_ref().is_ok_and(is_success);
            emitter.emit(RunEvent::Finished {
                ok,
                at: emitter.elapsed(),
            });
            drop(emitter);
            result
        };
        let (result, recording) = tokio::join!(working, following);
        Ok((result?, recording))
    }
}
