//! What is beyond the limits that were given.

use dm_core::error::Exit;
use dm_terminal::Printer;

/// Shows each sentence about what is beyond them. Answers how the process is to end.
pub(crate) fn show(printer: &Printer, beyond: &[String]) -> Exit {
    for sentence in beyond {
        printer.warn(sentence);
    }
    if beyond.is_empty() {
        Exit::Success
    } else {
        Exit::Found
    }
}
