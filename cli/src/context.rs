//! The context of a command: the session of its operations, and the terminal.

use std::sync::Arc;

use dm_console::ConsoleFrontend;
use dm_operations::Session;
use dm_operations::session::InstanceSelection;
use dm_terminal::Printer;
use tokio_util::sync::CancellationToken;

/// The context of a command.
pub(crate) struct Context {
    /// The printer of the command.
    pub(crate) printer: Printer,
    /// The session that its operations share.
    pub(crate) session: Session,
}

impl Context {
    /// A context for one call. `interrupt` is cancelled by the first interrupt.
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
