//! A session asks its frontend, and lets it follow a run.

use std::time::Duration;

use dm_core::error::Result;
use dm_stack::event::Event;
use dm_stack::executor::Emitter;
use tokio::sync::mpsc;

use super::Session;
use crate::recording::Recording;

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
    pub(crate) async fn followed<T>(
        &self,
        command: &'static str,
        deadline: Option<Duration>,
        work: impl AsyncFnOnce(Emitter) -> Result<T>,
        ok: impl FnOnce(&T) -> bool,
    ) -> Result<(T, Recording)> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let emitter = Emitter::new(sender, command).of_instance(self.instance());
        let following = self.frontend.follow(receiver, deadline);
        let working = async {
            let work = work(emitter.clone());
            tokio::pin!(work);
            let result = tokio::select! {
                result = &mut work => result,
                () = self.interrupt.cancelled() => {
                    // It winds down by itself; the person is told that it does.
                    emitter.send(Event::Interrupted);
                    work.await
                }
            };
            let ok = result.as_ref().is_ok_and(ok);
            emitter.send(Event::Finished {
                ok,
                at: emitter.at(),
            });
            drop(emitter);
            result
        };
        let (result, recording) = tokio::join!(working, following);
        Ok((result?, recording))
    }
}
