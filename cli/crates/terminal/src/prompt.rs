//! Questions to a person.

use std::io::BufRead;

use super::style::Role;
use super::{OutputError, Printer};

impl Printer {
    /// True where there is a person to ask.
    #[must_use]
    pub fn can_ask(&self) -> bool {
        self.settings().can_ask
    }

    /// Asks whether to do something; anything but a yes is a no, and so is the
    /// end of the input. Blocks until there is an answer.
    ///
    /// # Errors
    /// [`OutputError::NobodyToAsk`] where stdin or stderr is no terminal: a
    /// script must say `--yes`.
    pub fn confirm(&self, question: &str) -> Result<bool, OutputError> {
        self.confirm_from(question, &mut std::io::stdin().lock())
    }

    fn confirm_from(&self, question: &str, input: &mut dyn BufRead) -> Result<bool, OutputError> {
        if !self.settings().can_ask {
            return Err(OutputError::NobodyToAsk {
                question: question.to_owned(),
            });
        }
        let canvas = self.err();
        loop {
            let hint = canvas.paint(Role::Muted, "[y/N]");
            let prompt = canvas.wrap(&format!("{question} {hint}"), "", "");
            self.message_without_line_feed(&format!("{prompt} "));
            let mut answer = String::new();
            if input.read_line(&mut answer).map_err(OutputError::Answer)? == 0 {
                // The person pressed Ctrl-D: the cursor still stands behind the question.
                self.message("no");
                return Ok(false);
            }
            match answer.trim().to_ascii_lowercase().as_str() {
                "y" | "yes" => return Ok(true),
                "" | "n" | "no" => return Ok(false),
                _ => self.message("answer y or n"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{captured, pipe_env};
    use crate::{Env, Flags};

    fn ask(answers: &str) -> (bool, String) {
        let env = Env {
            stdin_terminal: true,
            stderr_terminal: true,
            term: Some("dumb".into()),
            ..Env::default()
        };
        let (printer, out, err) = captured(&Flags::default(), &env);
        let answer = printer
            .confirm_from("remove 4 volumes?", &mut answers.as_bytes())
            .unwrap();
        assert_eq!(out.text(), "", "a question is no data");
        (answer, err.text())
    }

    #[test]
    fn only_a_yes_is_a_yes() {
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
    fn the_question_stands_before_the_cursor() {
        assert_eq!(ask("y\n").1, "remove 4 volumes? [y/N] ");
    }

    #[test]
    fn a_pipe_is_told_of_yes() {
        let (printer, _, err) = captured(&Flags::default(), &pipe_env());
        let error = printer.confirm("remove 4 volumes?").unwrap_err();
        let _ = printer.error(&error.into());
        insta::assert_snapshot!(err.text());
    }
}
