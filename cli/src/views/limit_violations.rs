//! Prints violations of limits.

use dm_core::error::ExitStatus;
use dm_terminal::Printer;

/// Prints each violation as a warning. Returns the exit status.
pub(crate) fn print(printer: &Printer, violations: &[String]) -> ExitStatus {
    for violation in violations {
        printer.warn(violation);
    }
    if violations.is_empty() {
        ExitStatus::Success
    } else {
        ExitStatus::Findings
    }
}
