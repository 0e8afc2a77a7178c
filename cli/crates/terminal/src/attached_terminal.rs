//! This process's own terminal, handed through to a command elsewhere.

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

/// This process's standard streams while a command elsewhere has them.
///
/// Where both ends are a terminal it is in raw mode as long as this lives:
/// every key, Ctrl-C among them, belongs to the command.
#[derive(Debug)]
pub struct AttachedTerminal {
    saved_mode: Option<Termios>,
}

impl AttachedTerminal {
    /// Takes over the process's streams.
    #[must_use]
    pub fn open() -> Self {
        let stdin = io::stdin();
        if !Self::is_available() {
            return Self { saved_mode: None };
        }
        let before = termios::tcgetattr(&stdin).ok().inspect(|before| {
            let mut raw = before.clone();
            raw.make_raw();
            // A terminal that can't be raw still shows the output.
            let _ = termios::tcsetattr(&stdin, OptionalActions::Now, &raw);
        });
        Self { saved_mode: before }
    }

    /// True where both ends of this process are a terminal.
    #[must_use]
    pub fn is_available() -> bool {
        io::stdin().is_terminal() && io::stdout().is_terminal()
    }

    /// True where a person sits at a terminal.
    #[must_use]
    pub fn is_interactive(&self) -> bool {
        self.saved_mode.is_some()
    }

    /// The terminal's size, where it is one.
    #[must_use]
    pub fn size(&self) -> Option<TerminalSize> {
        self.saved_mode.as_ref()?;
        let size = termios::tcgetwinsize(io::stdout()).ok()?;
        Some(TerminalSize {
            width: size.ws_col,
            height: size.ws_row,
        })
    }

    /// Writes what the command wrote to its standard output, unchanged. A reader that
    /// is slow blocks nothing else.
    ///
    /// # Errors
    /// [`OutputError::Closed`] where the reader is gone; [`OutputError::Write`].
    pub async fn write_stdout(&self, bytes: &[u8]) -> Result<(), OutputError> {
        let mut stdout = tokio::io::stdout();
        stdout
            .write_all(bytes)
            .await
            .map_err(OutputError::from_write_error)?;
        stdout.flush().await.map_err(OutputError::from_write_error)
    }

    /// Writes what the command wrote to its standard error, unchanged. That it can't be
    /// written is no reason to end the command.
    pub async fn write_stderr(&self, bytes: &[u8]) {
        let mut stderr = tokio::io::stderr();
        let _ = stderr.write_all(bytes).await;
        let _ = stderr.flush().await;
    }
}

impl Drop for AttachedTerminal {
    fn drop(&mut self) {
        if let Some(before) = &self.saved_mode {
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Drain, before);
        }
    }
}
