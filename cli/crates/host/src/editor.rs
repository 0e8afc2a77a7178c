//! The user's editor.

use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus};

/// The editor if none is configured.
const DEFAULT_EDITOR: &str = "vi";

/// Opens a file in the editor that `VISUAL` or `EDITOR` names, and waits until it is
/// closed. The value may contain arguments, as in `code --wait`.
///
/// # Errors
/// Returns [`std::io::Error`] if the program cannot be started.
pub fn edit(file: &Path) -> io::Result<ExitStatus> {
    let configured = ["VISUAL", "EDITOR"]
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|value| !value.trim().is_empty());
    let editor = configured.unwrap_or_else(|| DEFAULT_EDITOR.to_owned());
    Command::new("sh")
        .args(["-c", &format!("{editor} \"$1\""), "sh"])
        .arg(file)
        .status()
}
