//! The person's editor.

use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus};

/// What is opened where nobody said which.
const DEFAULT_EDITOR: &str = "vi";

/// Opens a file in the editor that `VISUAL` or `EDITOR` names, and waits until it is
/// closed. What they say may have arguments, as `code --wait` has.
///
/// # Errors
/// There is no such program.
pub fn edit(file: &Path) -> io::Result<ExitStatus> {
    let named = ["VISUAL", "EDITOR"]
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|value| !value.trim().is_empty());
    let editor = named.unwrap_or_else(|| DEFAULT_EDITOR.to_owned());
    Command::new("sh")
        .args(["-c", &format!("{editor} \"$1\""), "sh"])
        .arg(file)
        .status()
}
