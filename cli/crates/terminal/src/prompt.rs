//! Prompts for a confirmation.

use std::io::BufRead;

use super::canvas::StyleRole;
use super::{OutputError, Printer};

impl Printer {
    /// Returns whether a prompt can be shown and answered.
    #[must_use]
    pub fn is_interactive(&self) -> bool {
        self.settings().is_interactive
    }

    /// Asks for a confirmation. An empty answer and the end of the input count as
    /// no; an unknown answer is asked again. Blocks until it is answered.
    ///
    /// # Errors
    /// Returns [`OutputError::NotInteractive`] if stdin or stderr is not a terminal: a
    /// script must pass `--yes`. Returns [`OutputError::ReadAnswer`] if stdin cannot be
    /// read.
    pub fn confirm(&self, question: &str) -> Result<bool, OutputError> {
        self.confirm_with_input(question, &mut std::io::stdin().lock())
    }

    fn confirm_with_input(
        &self,
        question: &str,
        input: &mut dyn BufRead,
    ) -> Result<bool, OutputError> {
        if !self.settings().is_interactive {
            return Err(OutputError::NotInteractive {
                question: question.to_owned(),
            });
        }
        let canvas = self.stderr_canvas();
        loop {
            let hint = canvas.paint(StyleRole::Muted, "[y/N]");
            let prompt = canvas.wrap(&format!("{question} {hint}"), "", "");
            self.write_stderr_without_newline(&format!("{prompt} "));
            let mut answer = String::new();
            if input
                .read_line(&mut answer)
                .map_err(OutputError::ReadAnswer)?
                == 0
            {
                // Ctrl-D was pressed: the cursor is still behind the question.
                self.write_stderr("no");
                return Ok(false);
            }
            match answer.trim().to_ascii_lowercase().as_str() {
                "y" | "yes" => return Ok(true),
                "" | "n" | "no" => return Ok(false),
                _ => self.write_stderr("answer y or n"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{captured_printer, pipe_env};
    use crate::{OutputFlags, TerminalEnv};

    fn ask(answers: &str) -> (bool, String) {
        let env = TerminalEnv {
            stdin_is_terminal: true,
            stderr_is_terminal: true,
            term: Some("dumb".into()),
            ..TerminalEnv::default()
        };
        let (printer, out, err) = captured_printer(&OutputFlags::default(), &env);
        let answer = printer
            .confirm_with_input("remove 4 volumes?", &mut answers.as_bytes())
            .unwrap();
        assert_eq!(out.contents(), "", "a question is not data");
        (answer, err.contents())
    }

    #[test]
    fn confirm_accepts_only_yes() {
        for (answers, expected) in [
            ("y\n", true),
            ("YES\n", true),
            ("\n", false),
            ("no\n", false),
            ("", false),
            ("what?\ny\n", true),
            ("what?\n", false),
        ] {
            assert_eq!(ask(answers).0, expected, "{answers:?}");
        }
    }

    #[test]
    fn confirm_leaves_the_cursor_behind_the_question() {
        assert_eq!(ask("y\n").1, "remove 4 volumes? [y/N] ");
    }

    #[test]
    fn confirm_without_a_terminal_suggests_yes() {
        let (printer, _, err) = captured_printer(&OutputFlags::default(), &pipe_env());
        let error = printer.confirm("remove 4 volumes?").unwrap_err();
        let _ = printer.print_error(&error.into());
        insta::assert_snapshot!(err.contents());
    }
}
