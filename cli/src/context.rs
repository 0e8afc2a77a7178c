//! What a command works with: the session that its operations share, and the terminal.

use std::sync::Arc;

use dm_console::ConsoleFrontend;
use dm_operations::Session;
use dm_operations::session::InstanceSelection;
use dm_terminal::Printer;
use tokio_util::sync::CancellationToken;

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
        selection: InstanceSelection,
        interrupt: CancellationToken,
    ) -> Self {
        let frontend = Arc::new(ConsoleFrontend::new(printer.clone()));
        Self {
            printer,
            session: Session::new(selection, frontend, interrupt),
        }
    }
}
