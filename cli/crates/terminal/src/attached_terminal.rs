//! Attaches this process's terminal to a command that runs elsewhere.

use std::io::{self, IsTerminal as _};

use rustix::termios::{self, OptionalActions, Termios};
use tokio::io::AsyncWriteExt as _;

use super::OutputError;

/// The size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// This process's standard streams while they are attached to a command elsewhere.
///
/// If stdin and stdout are a terminal, it is in raw mode until this value is dropped:
/// every key, also Ctrl-C, goes to the command.
#[derive(Debug)]
pub struct AttachedTerminal {
    saved_mode: Option<Termios>,
}

impl AttachedTerminal {
    /// Attaches the process's streams.
    #[must_use]
    pub fn open() -> Self {
        let stdin = io::stdin();
        if !Self::is_available() {
            return Self { saved_mode: None };
        }
        let saved_mode = termios::tcgetattr(&stdin).ok().inspect(|mode| {
            let mut raw = mode.clone();
            raw.make_raw();
            // A terminal without raw mode still shows the output.
            let _ = termios::tcsetattr(&stdin, OptionalActions::Now, &raw);
        });
        Self { saved_mode }
    }

    /// Returns whether stdin and stdout are a terminal.
    #[must_use]
    pub fn is_available() -> bool {
        io::stdin().is_terminal() && io::stdout().is_terminal()
    }

    /// Returns whether the streams are a terminal in raw mode.
    #[must_use]
    pub fn is_interactive(&self) -> bool {
        self.saved_mode.is_some()
    }

    /// Returns the terminal's size, if the streams are a terminal.
    #[must_use]
    pub fn size(&self) -> Option<TerminalSize> {
        self.saved_mode.as_ref()?;
        let size = termios::tcgetwinsize(io::stdout()).ok()?;
        Some(TerminalSize {
            width: size.ws_col,
            height: size.ws_row,
        })
    }

    /// Writes the command's standard output unchanged. A slow reader blocks nothing else.
    ///
    /// # Errors
    /// Returns [`OutputError::ReaderClosed`] if the reader has closed the stream, and
    /// [`OutputError::Write`] if the write fails for another reason.
    pub async fn write_stdout(&self, bytes: &[u8]) -> Result<(), OutputError> {
        let mut stdout = tokio::io::stdout();
        stdout
            .write_all(bytes)
            .await
            .map_err(OutputError::from_write_error)?;
        stdout.flush().await.map_err(OutputError::from_write_error)
    }

    /// Writes the command's standard error unchanged. A failed write does not end the
    /// command.
    pub async fn write_stderr(&self, bytes: &[u8]) {
        let mut stderr = tokio::io::stderr();
        let _ = stderr.write_all(bytes).await;
        let _ = stderr.flush().await;
    }
}

impl Drop for AttachedTerminal {
    fn drop(&mut self) {
        if let Some(mode) = &self.saved_mode {
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Drain, mode);
        }
    }
}
