//! Writes output: data to stdout, everything else to stderr.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dm_core::document::DocumentSchema;
use dm_core::error::{Error, ExitStatus};
use serde::Serialize;

use super::canvas::{Canvas, Glyph, StyleRole};
use super::live::{LiveLine, LiveLines, ProgressTerminal, SizeQuery};
use super::usage_error::UsageError;
use super::{
    OutputError, OutputFlags, OutputSettings, ProgressChoice, TerminalEnv, error_report, json, text,
};

/// Writes all output of a command. Cheap to clone; the clones share the streams.
#[derive(Clone)]
pub struct Printer(Arc<Inner>);

struct Inner {
    settings: OutputSettings,
    stdout: Mutex<Box<dyn Write + Send>>,
    stdout_size: SizeQuery,
    /// Stderr, with the live lines at its end.
    stderr: LiveLines,
}

impl fmt::Debug for Printer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Printer").field(&self.0.settings).finish()
    }
}

/// A stream is usable even if a thread panicked while it wrote.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Printer {
    /// Creates a printer to this process's stdout and stderr.
    #[must_use]
    pub fn from_process(flags: &OutputFlags) -> Self {
        Self::with_size_queries(
            OutputSettings::resolve(flags, &TerminalEnv::from_process()),
            Box::new(io::stdout()),
            Box::new(io::stderr()),
            Box::new(|| console::Term::stdout().size_checked()),
            Box::new(|| console::Term::stderr().size_checked()),
        )
    }

    /// Creates a printer to any streams, e.g. to buffers in a test.
    #[must_use]
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn new(
        settings: OutputSettings,
        out: Box<dyn Write + Send>,
        err: Box<dyn Write + Send>,
    ) -> Self {
        Self::with_size_queries(settings, out, err, Box::new(|| None), Box::new(|| None))
    }

    /// Creates a printer with functions that return the sizes of the two terminals.
    pub fn with_size_queries(
        settings: OutputSettings,
        out: Box<dyn Write + Send>,
        err: Box<dyn Write + Send>,
        out_size: SizeQuery,
        err_size: SizeQuery,
    ) -> Self {
        Self(Arc::new(Inner {
            settings,
            stdout: Mutex::new(out),
            stdout_size: out_size,
            stderr: LiveLines::new(ProgressTerminal::new(err, err_size)),
        }))
    }

    /// Returns the output settings.
    #[must_use]
    pub fn settings(&self) -> &OutputSettings {
        &self.0.settings
    }

    /// Returns whether stdout receives JSON: a command then prints a document instead of a table.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.0.settings.json
    }

    /// Returns the canvas of stdout with its current size.
    #[must_use]
    pub fn stdout_canvas(&self) -> Canvas {
        self.0
            .settings
            .canvas(self.0.settings.stdout, (self.0.stdout_size)())
    }

    /// Returns the canvas of stderr with its current size.
    #[must_use]
    pub fn stderr_canvas(&self) -> Canvas {
        self.0
            .settings
            .canvas(self.0.settings.stderr, self.0.stderr.size())
    }

    /// Writes data to stdout. Adds a line feed if the text does not end with one.
    ///
    /// # Errors
    /// Returns [`OutputError::ReaderClosed`] if the reader has closed the stream, so
    /// that the command ends silently, and [`OutputError::Write`] if the write fails
    /// for another reason.
    pub fn write_stdout(&self, text: &str) -> Result<(), OutputError> {
        if text.is_empty() {
            return Ok(());
        }
        let mut line = text.to_owned();
        if !line.ends_with('\n') {
            line.push('\n');
        }
        self.write_stdout_bytes(line.as_bytes())
    }

    /// Writes bytes to stdout as they are.
    ///
    /// # Errors
    /// As for [`Printer::write_stdout`].
    pub fn write_stdout_bytes(&self, bytes: &[u8]) -> Result<(), OutputError> {
        // Both may be the same terminal.
        let written = self.0.stderr.suspend(|| {
            let mut out = lock(&self.0.stdout);
            out.write_all(bytes).and_then(|()| out.flush())
        });
        written.map_err(OutputError::from_write_error)
    }

    /// Writes a JSON document to stdout (see [`json::format_document`]).
    ///
    /// # Errors
    /// As for [`json::format_document`] and [`Printer::write_stdout`].
    pub fn print_document<T: Serialize>(
        &self,
        schema: &DocumentSchema,
        body: &T,
    ) -> Result<(), OutputError> {
        self.write_stdout(&json::format_document(schema, body)?)
    }

    /// Writes a result to stdout: a document with `--json`, otherwise the rendered text.
    ///
    /// # Errors
    /// As for [`Printer::print_document`] and [`Printer::write_stdout`].
    pub fn print_result<T: Serialize>(
        &self,
        schema: &DocumentSchema,
        body: &T,
        render: impl FnOnce(&Canvas) -> String,
    ) -> Result<(), OutputError> {
        if self.is_json() {
            self.print_document(schema, body)
        } else {
            self.write_stdout(&render(&self.stdout_canvas()))
        }
    }

    /// Writes text to stderr, above live lines. Failures are ignored: they cannot
    /// be reported elsewhere.
    pub fn write_stderr(&self, text: &str) {
        if text.is_empty() {
            return;
        }
        let mut line = text.to_owned();
        if !line.ends_with('\n') {
            line.push('\n');
        }
        self.write_stderr_without_newline(&line);
    }

    /// Like [`Printer::write_stderr`], with the cursor at the end of the text.
    pub(crate) fn write_stderr_without_newline(&self, text: &str) {
        let _ = self.0.stderr.write_above(text);
    }

    /// Prints a note, unless `--quiet` is set.
    pub fn note(&self, sentence: &str) {
        if !self.0.settings.quiet {
            self.print_sentence("note", None, sentence);
        }
    }

    /// Prints a detail if `--verbose` is set.
    pub fn detail(&self, sentence: &str) {
        if self.0.settings.verbose {
            self.print_sentence("detail", None, sentence);
        }
    }

    /// Prints a warning, also with `--quiet`.
    pub fn warn(&self, sentence: &str) {
        self.print_sentence(
            "warning",
            Some((StyleRole::Warning, Glyph::Warning)),
            sentence,
        );
    }

    /// Prints that an action was completed, unless `--quiet` is set.
    pub fn done(&self, sentence: &str) {
        if !self.0.settings.quiet {
            self.print_sentence("note", Some((StyleRole::Success, Glyph::Check)), sentence);
        }
    }

    fn print_sentence(&self, kind: &str, sign: Option<(StyleRole, Glyph)>, sentence: &str) {
        if self.0.settings.progress == ProgressChoice::Json {
            let body = serde_json::json!({ "event": kind, "text": sentence });
            self.write_stderr(&body.to_string());
            return;
        }
        let canvas = self.stderr_canvas();
        let first = match sign {
            Some((role, glyph)) => format!("{} ", canvas.paint_glyph(role, glyph)),
            None => String::new(),
        };
        let rest = " ".repeat(text::display_width(&first));
        self.write_stderr(&canvas.wrap(sentence, &first, &rest));
    }

    /// Prints a command's error, and returns the exit status. With `--json` the
    /// document `dm.error/1` goes to stdout as one line, and the text to stderr as well.
    #[must_use]
    pub fn print_error(&self, error: &Error) -> ExitStatus {
        self.print_error_as(error, |canvas| error_report::render_text(error, canvas))
    }

    /// Prints the error of a command line that clap refuses, and returns the exit status. Like
    /// [`Printer::print_error`], but the text is that of clap.
    #[must_use]
    pub fn print_usage_error(&self, error: &clap::Error) -> ExitStatus {
        let text = error.render();
        self.print_error_as(&UsageError::from(error).into(), |canvas| {
            if canvas.style.colour {
                text.ansi().to_string()
            } else {
                text.to_string()
            }
        })
    }

    fn print_error_as(&self, error: &Error, render: impl FnOnce(&Canvas) -> String) -> ExitStatus {
        let exit = error.user_error().exit_status();
        if exit == ExitStatus::OutputClosed {
            return exit;
        }
        // One line, so that it can follow the lines of a command.
        let document =
            json::format_line(&dm_core::document::ERROR, &error_report::to_document(error));
        if self.0.settings.json
            && let Ok(line) = &document
        {
            // If stdout cannot be written, the text on stderr remains.
            let _ = self.write_stdout(line);
        }
        if self.0.settings.progress == ProgressChoice::Json {
            if let Ok(line) = &document {
                self.write_stderr(line);
            }
        } else {
            self.write_stderr(&render(&self.stderr_canvas()));
        }
        exit
    }

    /// Writes a workflow command if GitHub Actions reads the output, see
    /// [`github_actions`](super::github_actions).
    pub fn annotate(&self, annotation: &str) {
        if self.0.settings.github_annotations {
            self.write_stderr(annotation);
        }
    }

    /// Replaces the live lines at the end of stderr. Spinners advance by one frame
    /// if `turn` is true.
    pub fn show_live_lines(&self, lines: Vec<LiveLine>, turn: bool) {
        let _ = self.0.stderr.draw(lines, self.stderr_canvas().style, turn);
    }

    /// Like [`Printer::stderr_canvas`], and never wider than the real terminal:
    /// lines that are redrawn in place must not be broken, whatever `COLUMNS` is.
    pub fn live_canvas(&self) -> Canvas {
        let size = self.0.stderr.size();
        let mut canvas = self.0.settings.canvas(self.0.settings.stderr, size);
        if let Some((_, columns)) = size.filter(|(_, columns)| *columns > 0) {
            canvas.width = canvas.width.min(usize::from(columns));
        }
        canvas
    }

    /// Returns the rows of stderr's terminal.
    pub fn terminal_rows(&self) -> usize {
        OutputSettings::rows_or_default(self.0.stderr.size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{captured_printer, pipe_env};

    #[test]
    fn data_goes_to_stdout_and_messages_to_stderr() {
        let (printer, out, err) = captured_printer(&OutputFlags::default(), &pipe_env());
        printer.write_stdout("row").unwrap();
        printer.note("a note");
        printer.detail("not shown");
        printer.warn("careful");
        assert_eq!(out.contents(), "row\n");
        assert_eq!(err.contents(), "a note\n▲ careful\n");
    }

    #[test]
    fn quiet_suppresses_notes_but_not_results_and_warnings() {
        let flags = OutputFlags {
            quiet: true,
            ..OutputFlags::default()
        };
        let (printer, out, err) = captured_printer(&flags, &pipe_env());
        printer.write_stdout("row").unwrap();
        printer.note("a note");
        printer.done("done");
        printer.warn("careful");
        assert_eq!(out.contents(), "row\n");
        assert_eq!(err.contents(), "▲ careful\n");
    }

    #[test]
    fn json_progress_writes_only_json_to_stderr() {
        let flags = OutputFlags {
            progress: ProgressChoice::Json,
            ..OutputFlags::default()
        };
        let (printer, _, err) = captured_printer(&flags, &pipe_env());
        printer.note("a \"note\"");
        let _ = printer.print_error(&OutputError::Write(io::Error::other("disk full")).into());
        for line in err.contents().lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
        assert!(err.contents().contains(r#""code":"output-write""#));
    }

    /// A stream whose reader has closed it.
    struct ClosedStream;

    impl Write for ClosedStream {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn closed_stdout_ends_the_command_silently() {
        let (_, _, err) = captured_printer(&OutputFlags::default(), &pipe_env());
        let printer = Printer::new(
            OutputSettings::resolve(&OutputFlags::default(), &pipe_env()),
            Box::new(ClosedStream),
            Box::new(err.clone()),
        );
        let error = printer.write_stdout("row").unwrap_err();
        assert_eq!(printer.print_error(&error.into()).code(), 141);
        assert_eq!(err.contents(), "");
    }

    #[test]
    fn json_flag_prints_the_error_document_to_stdout() {
        let flags = OutputFlags {
            json: true,
            ..OutputFlags::default()
        };
        let (printer, out, err) = captured_printer(&flags, &pipe_env());
        let error = OutputError::NotInteractive {
            question: "remove 4 volumes?".into(),
        };
        assert_eq!(printer.print_error(&error.into()), ExitStatus::Usage);
        // It may follow the lines of a command.
        assert_eq!(out.contents().lines().count(), 1);
        let document: serde_json::Value = serde_json::from_str(&out.contents()).unwrap();
        assert_eq!(document["schema"], "dm.error/1");
        assert_eq!(document["error"]["exit_code"], 2);
        assert!(err.contents().contains("--yes"));
    }

    /// Returns the error of a call with an unknown option.
    fn unknown_option() -> clap::Error {
        let command = clap::Command::new("dm");
        command.try_get_matches_from(["dm", "--wrong"]).unwrap_err()
    }

    #[test]
    fn json_flag_prints_the_document_of_a_usage_error() {
        let flags = OutputFlags {
            json: true,
            ..OutputFlags::default()
        };
        let (printer, out, err) = captured_printer(&flags, &pipe_env());
        let error = unknown_option();
        assert_eq!(printer.print_usage_error(&error), ExitStatus::Usage);
        let document: serde_json::Value = serde_json::from_str(&out.contents()).unwrap();
        assert_eq!(document["schema"], "dm.error/1");
        assert_eq!(document["error"]["code"], "usage");
        assert_eq!(document["error"]["exit_code"], 2);
        assert_eq!(err.contents(), error.to_string());
    }

    #[test]
    fn usage_error_without_flags_is_the_text_of_clap() {
        let (printer, out, err) = captured_printer(&OutputFlags::default(), &pipe_env());
        let error = unknown_option();
        assert_eq!(printer.print_usage_error(&error), ExitStatus::Usage);
        assert_eq!(out.contents(), "");
        assert_eq!(err.contents(), error.to_string());
    }
}
