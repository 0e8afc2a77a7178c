//! What is beyond the limits that were given.

use dm_core::error::ExitStatus;
use dm_terminal::Printer;

/// Shows each sentence about what is beyond them. Answers how the process is to end.
pub(crate) fn print(printer: &Printer, beyond: &[String]) -> ExitStatus {
    for sentence in beyond {
        printer.warn(sentence);
    }
    if beyond.is_empty() {
        ExitStatus::Success
    } else {
        ExitStatus::Findings
    }
}
