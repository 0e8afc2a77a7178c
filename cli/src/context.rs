//! What a command works with: the session that its operations share, and the terminal.

use std::sync::Arc;
use std::time::Duration;

use dm_core::error::Result;
use dm_operations::session::Selection;
use dm_operations::{Frontend, Recording, Session};
use dm_stack::event::Event;
use dm_terminal::Printer;
use dm_terminal::counter::Counter;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use crate::views::progress;

/// What a command works with.
pub(crate) struct Context {
    /// Where it prints.
    pub(crate) printer: Printer,
    /// What its operations share.
    pub(crate) session: Session,
}

impl Context {
    /// The context of a call. `interrupt` is cancelled by the first interrupt.
    pub(crate) fn new(
        printer: Printer,
        selection: Selection,
        interrupt: CancellationToken,
    ) -> Self {
        let frontend = Arc::new(Console(printer.clone()));
        Self {
            printer,
            session: Session::new(selection, frontend, interrupt),
        }
    }
}

/// The terminal as operations see it.
struct Console(Printer);

impl Frontend for Console {
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
        self.0.can_ask()
    }

    fn confirm(&self, question: &str) -> Result<bool> {
        Ok(self.0.confirm(question)?)
    }

    fn counter(&self, what: &'static str) -> Box<dyn Fn(u64, u64) + Send + Sync + '_> {
        let counter = Counter::new(&self.0, what);
        Box::new(move |done, of| counter.show(done, of))
    }

    fn follow(
        &self,
        events: UnboundedReceiver<Event>,
        deadline: Option<Duration>,
    ) -> BoxFuture<'_, Recording> {
        progress::report(&self.0, events, progress::Options { deadline }).boxed()
    }
}
