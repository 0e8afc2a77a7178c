//! Where output goes: data to stdout, everything else to stderr.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dm_core::document::DocumentSchema;
use dm_core::error::{Error, Exit};
use serde::Serialize;

use super::live::{Line, Lines, Size, Terminal};
use super::style::{Canvas, Glyph, Role};
use super::{Env, Flags, OutputError, ProgressChoice, Settings, json, report, text};

/// Writes everything that a person or a script sees. Cheap to clone; the
/// clones share the streams.
#[derive(Clone)]
pub struct Printer(Arc<Inner>);

struct Inner {
    settings: Settings,
    out: Mutex<Box<dyn Write + Send>>,
    out_size: Size,
    /// Stderr, with the live lines that stand at its end.
    err: Lines,
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
    /// A printer to this process's stdout and stderr.
    #[must_use]
    pub fn from_process(flags: &Flags) -> Self {
        Self::with_sizes(
            Settings::decide(flags, &Env::from_process()),
            Box::new(io::stdout()),
            Box::new(io::stderr()),
            Box::new(|| console::Term::stdout().size_checked()),
            Box::new(|| console::Term::stderr().size_checked()),
        )
    }

    /// A printer to anything, e.g. to buffers in a test.
    #[must_use]
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn new(
        settings: Settings,
        out: Box<dyn Write + Send>,
        err: Box<dyn Write + Send>,
    ) -> Self {
        Self::with_sizes(settings, out, err, Box::new(|| None), Box::new(|| None))
    }

    /// The same with what answers how large the two terminals are.
    pub fn with_sizes(
        settings: Settings,
        out: Box<dyn Write + Send>,
        err: Box<dyn Write + Send>,
        out_size: Size,
        err_size: Size,
    ) -> Self {
        Self(Arc::new(Inner {
            settings,
            out: Mutex::new(out),
            out_size,
            err: Lines::new(Terminal::new(err, err_size)),
        }))
    }

    /// How it was decided to write.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// True where stdout takes JSON: a command then prints a document instead
    /// of a table.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.0.settings.json
    }

    /// The surface of stdout, as large as it is now.
    #[must_use]
    pub fn out(&self) -> Canvas {
        self.0
            .settings
            .canvas(self.0.settings.out, (self.0.out_size)())
    }

    /// The surface of stderr, as large as it is now.
    #[must_use]
    pub fn err(&self) -> Canvas {
        self.0
            .settings
            .canvas(self.0.settings.err, self.0.err.size())
    }

    /// Writes data to stdout; a line feed is added where it lacks one.
    ///
    /// # Errors
    /// [`OutputError::Closed`] if the reader has gone, so that the command
    /// ends quietly, or [`OutputError::Write`].
    pub fn data(&self, text: &str) -> Result<(), OutputError> {
        if text.is_empty() {
            return Ok(());
        }
        let mut line = text.to_owned();
        if !line.ends_with('\n') {
            line.push('\n');
        }
        // Both may be the same terminal.
        let written = self.0.err.suspend(|| {
            let mut out = lock(&self.0.out);
            out.write_all(line.as_bytes()).and_then(|()| out.flush())
        });
        written.map_err(OutputError::write)
    }

    /// Writes a JSON document to stdout (see [`json::document`]).
    ///
    /// # Errors
    /// As for [`json::document`] and [`Printer::data`].
    pub fn document<T: Serialize>(&self, schema: &DocumentSchema, body: &T) -> Result<(), OutputError> {
        self.data(&json::document(schema, body)?)
    }

    /// Writes a result to stdout: a document where JSON was asked for, and otherwise what
    /// a person reads.
    ///
    /// # Errors
    /// As for [`Printer::document`] and [`Printer::data`].
    pub fn result<T: Serialize>(
        &self,
        schema: &DocumentSchema,
        body: &T,
        render: impl FnOnce(&Canvas) -> String,
    ) -> Result<(), OutputError> {
        if self.is_json() {
            self.document(schema, body)
        } else {
            self.data(&render(&self.out()))
        }
    }

    /// Writes text to stderr, above live lines. Failures are ignored: there is
    /// no better place to tell them.
    pub fn message(&self, text: &str) {
        if text.is_empty() {
            return;
        }
        let mut line = text.to_owned();
        if !line.ends_with('\n') {
            line.push('\n');
        }
        self.message_without_line_feed(&line);
    }

    /// As [`Printer::message`], with the cursor left behind the text.
    pub(crate) fn message_without_line_feed(&self, text: &str) {
        let _ = self.0.err.above(text);
    }

    /// A sentence that helps, unless `--quiet`.
    pub fn note(&self, sentence: &str) {
        if !self.0.settings.quiet {
            self.sentence("note", None, sentence);
        }
    }

    /// A sentence for who wants to know more, with `--verbose`.
    pub fn detail(&self, sentence: &str) {
        if self.0.settings.verbose {
            self.sentence("detail", None, sentence);
        }
    }

    /// A sentence that should be read, even with `--quiet`.
    pub fn warn(&self, sentence: &str) {
        self.sentence("warning", Some((Role::Warn, Glyph::Warning)), sentence);
    }

    /// That something was done, unless `--quiet`.
    pub fn done(&self, sentence: &str) {
        if !self.0.settings.quiet {
            self.sentence("note", Some((Role::Good, Glyph::Ready)), sentence);
        }
    }

    fn sentence(&self, kind: &str, sign: Option<(Role, Glyph)>, sentence: &str) {
        if self.0.settings.progress == ProgressChoice::Json {
            let body = serde_json::json!({ "event": kind, "text": sentence });
            self.message(&body.to_string());
            return;
        }
        let canvas = self.err();
        let first = match sign {
            Some((role, glyph)) => format!("{} ", canvas.sign(role, glyph)),
            None => String::new(),
        };
        let rest = " ".repeat(text::width(&first));
        self.message(&canvas.wrap(sentence, &first, &rest));
    }

    /// Tells of a command's failure, and returns the code to exit with. With
    /// `--json` the document `dm.error/1` goes to stdout, and the text to
    /// stderr as well.
    #[must_use]
    pub fn error(&self, error: &Error) -> Exit {
        let exit = error.coded().exit();
        if exit == Exit::OutputClosed {
            return exit;
        }
        if self.0.settings.json {
            // Where stdout can't be written, the text on stderr remains.
            let _ = json::document(&dm_core::document::ERROR, &report::document(error))
                .and_then(|document| self.data(&document));
        }
        if self.0.settings.progress == ProgressChoice::Json {
            if let Ok(line) = json::line(&dm_core::document::ERROR, &report::document(error)) {
                self.message(&line);
            }
        } else {
            self.message(&report::text(error, &self.err()));
        }
        exit
    }

    /// Writes a workflow command where GitHub Actions reads them, see
    /// [`annotation`](super::annotation).
    pub fn annotate(&self, annotation: &str) {
        if self.0.settings.annotate {
            self.message(annotation);
        }
    }

    /// Replaces the live lines at the end of stderr; spinners turn by one if
    /// `turn` is true.
    pub fn live(&self, lines: Vec<Line>, turn: bool) {
        let _ = self.0.err.show(lines, self.err().style, turn);
    }

    /// As [`Printer::err`], and never wider than the terminal really is: what
    /// is redrawn in place must not be broken, whatever `COLUMNS` says.
    pub fn live_canvas(&self) -> Canvas {
        let size = self.0.err.size();
        let mut canvas = self.0.settings.canvas(self.0.settings.err, size);
        if let Some((_, columns)) = size.filter(|(_, columns)| *columns > 0) {
            canvas.width = canvas.width.min(usize::from(columns));
        }
        canvas
    }

    /// The rows of stderr's terminal.
    pub fn rows(&self) -> usize {
        Settings::rows(self.0.err.size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{captured, pipe_env};

    #[test]
    fn data_and_messages_go_to_their_streams() {
        let (printer, out, err) = captured(&Flags::default(), &pipe_env());
        printer.data("row").unwrap();
        printer.note("a note");
        printer.detail("not shown");
        printer.warn("careful");
        assert_eq!(out.text(), "row\n");
        assert_eq!(err.text(), "a note\n▲ careful\n");
    }

    #[test]
    fn quiet_leaves_results_and_warnings() {
        let flags = Flags {
            quiet: true,
            ..Flags::default()
        };
        let (printer, out, err) = captured(&flags, &pipe_env());
        printer.data("row").unwrap();
        printer.note("a note");
        printer.done("done");
        printer.warn("careful");
        assert_eq!(out.text(), "row\n");
        assert_eq!(err.text(), "▲ careful\n");
    }

    #[test]
    fn json_progress_keeps_stderr_json() {
        let flags = Flags {
            progress: ProgressChoice::Json,
            ..Flags::default()
        };
        let (printer, _, err) = captured(&flags, &pipe_env());
        printer.note("a \"note\"");
        let _ = printer.error(&OutputError::Write(io::Error::other("disk full")).into());
        for line in err.text().lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
        assert!(err.text().contains(r#""code":"output-write""#));
    }

    /// A reader that has gone away.
    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_went_away_ends_the_command_without_a_word() {
        let (_, _, err) = captured(&Flags::default(), &pipe_env());
        let printer = Printer::new(
            Settings::decide(&Flags::default(), &pipe_env()),
            Box::new(Gone),
            Box::new(err.clone()),
        );
        let error = printer.data("row").unwrap_err();
        assert_eq!(printer.error(&error.into()).code(), 141);
        assert_eq!(err.text(), "");
    }

    #[test]
    fn with_json_an_error_is_the_document() {
        let flags = Flags {
            json: true,
            ..Flags::default()
        };
        let (printer, out, err) = captured(&flags, &pipe_env());
        let error = OutputError::NobodyToAsk {
            question: "remove 4 volumes?".into(),
        };
        assert_eq!(printer.error(&error.into()), Exit::Usage);
        let document: serde_json::Value = serde_json::from_str(&out.text()).unwrap();
        assert_eq!(document["schema"], "dm.error/1");
        assert_eq!(document["error"]["exit_code"], 2);
        assert!(err.text().contains("--yes"));
    }
}
