//! Where operations report and ask. Whether a person, a script or a test is there, an
//! operation can't see.

use std::time::Duration;

use dm_core::error::Result;
use dm_stack::event::RunEvent;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::run_recording::RunRecording;

/// Where operations report and ask.
pub trait Frontend: Send + Sync {
    /// Reports something worth a line.
    fn note(&self, sentence: &str);

    /// Reports something that may not be as was wished.
    fn warn(&self, sentence: &str);

    /// Reports something that is done.
    fn done(&self, sentence: &str);

    /// Whether there is a person to ask.
    fn can_ask(&self) -> bool;

    /// Asks a person whether to do something.
    ///
    /// # Errors
    /// There is nobody to ask.
    fn confirm(&self, question: &str) -> Result<bool>;

    /// Shows how far something is that takes long, in parts that are called so, e.g. `parts`:
    /// how many are done, and of how many. It ends with what is answered.
    fn counter(&self, what: &'static str) -> Box<dyn Fn(u64, u64) + Send + Sync + '_>;

    /// Follows the events of a run until it is finished, and keeps them. The run gives up
    /// after `deadline`.
    fn follow(
        &self,
        events: UnboundedReceiver<RunEvent>,
        deadline: Option<Duration>,
    ) -> BoxFuture<'_, RunRecording>;
}
