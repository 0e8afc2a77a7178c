//! What every failure of `dm` has in common: a stable code, an exit code and
//! the next thing to do.
//!
//! Each module has its own error enum and implements [`Coded`] for it; the
//! commands pass them on as [`Error`], and `output` renders them.

use std::error::Error as StdError;

use serde::{Deserialize, Serialize};

use crate::error_code::ErrorCode;

/// The exit code of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// Everything was done.
    Success,
    /// A check found something.
    Findings,
    /// Wrong usage or configuration.
    Usage,
    /// No engine, or the engine refused.
    Engine,
    /// A component failed.
    Component,
    /// A time limit ran out.
    TimedOut,
    /// The process was interrupted by a signal.
    Interrupted,
    /// The reader of stdout closed it: 128 + SIGPIPE, as a shell reports it.
    OutputClosed,
    /// The exit code of a command that `dm` ran for the user.
    Other(u8),
}

impl ExitStatus {
    /// The documented codes with their meaning in Markdown, from which
    /// `docs/reference/exit-codes.md` is generated.
    pub const DOCUMENTED: &'static [(Self, &'static str)] = &[
        (Self::Success, "everything was done"),
        (
            Self::Findings,
            "a check found something, or part of the work was refused: for example \
             `dm status --check`, `dm doctor`, `dm smoke`, `dm ci`, `dm reconcile`, \
             `dm schema diff`, `dm outbox stats` with a limit, `dm backup verify`, \
             `dm dlq ls --fail-if-any`, `dm dlq replay`, a refused sign-in. \
             `dm COMMAND --help` gives the condition",
        ),
        (
            Self::Usage,
            "wrong usage or configuration; nothing was changed",
        ),
        (Self::Engine, "no engine, or the engine refused"),
        (Self::Component, "a component failed"),
        (
            Self::TimedOut,
            "a component was not ready within the time limit",
        ),
        (Self::Interrupted, "interrupted by a signal"),
        (Self::OutputClosed, "the reader of stdout closed it"),
    ];

    /// Returns the number that the process ends with.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Findings => 1,
            Self::Usage => 2,
            Self::Engine => 3,
            Self::Component => 4,
            Self::TimedOut => 5,
            Self::Interrupted => 130,
            Self::OutputClosed => 141,
            Self::Other(code) => code,
        }
    }
}

/// A failure that a person can act on.
pub trait UserError: StdError + Send + Sync + 'static {
    /// The stable name of the failure, for scripts and searches.
    fn code(&self) -> ErrorCode;

    /// The exit code that the process ends with.
    fn exit_status(&self) -> ExitStatus;

    /// What to do next: one or more lines, each a sentence or a command.
    fn suggestions(&self) -> Vec<String> {
        Vec::new()
    }

    /// Each thing that is wrong, where there are several.
    fn details(&self) -> Vec<String> {
        Vec::new()
    }

    /// The last lines that what failed has written, oldest first.
    fn log_tail(&self) -> &[String] {
        &[]
    }

    /// What a compiler found in the project's own sources, first one first.
    fn compiler_errors(&self) -> &[CompilerError] {
        &[]
    }

    /// The failure as a miette diagnostic, where it points into a source text.
    fn diagnostic(&self) -> Option<&dyn miette::Diagnostic> {
        None
    }
}

/// An error that a compiler found in the project's own sources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompilerError {
    /// One sentence: what is wrong.
    pub message: String,
    /// Where, if it is about one place.
    pub place: Option<SourceLocation>,
    /// The whole of it as the compiler shows it, without colour.
    pub rendered: String,
}

/// A place in a source file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceLocation {
    /// The file, seen from the project's folder.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
}

/// Any failure of a command.
#[derive(Debug)]
pub struct Error {
    user_error: Box<dyn UserError>,
    /// The instance that the command was called for, where it is not the default one.
    instance: Option<String>,
}

/// The result of a command or of anything that fails for several reasons.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The failure itself.
    #[must_use]
    pub fn user_error(&self) -> &dyn UserError {
        self.user_error.as_ref()
    }

    /// The same failure of a command that was called for this instance: what to do next is
    /// for that one, too. Typed as it stands, it must not reach another instance's data.
    #[must_use]
    pub fn for_instance(mut self, name: &str) -> Self {
        self.instance = Some(name.to_owned());
        self
    }

    /// What to do next: commands, or sentences.
    #[must_use]
    pub fn suggestions(&self) -> Vec<String> {
        let next = self.user_error.suggestions();
        match &self.instance {
            Some(name) => suggestions_for_instance(next, name),
            None => next,
        }
    }

    /// The sentences of the cause chain, outermost first, without repetition.
    #[must_use]
    pub fn error_chain(&self) -> Vec<String> {
        chain(self.user_error.as_ref())
    }
}

/// Steps for an instance that is not the default one: their commands name it.
#[must_use]
pub fn suggestions_for_instance(steps: Vec<String>, instance: &str) -> Vec<String> {
    let steps = steps.iter();
    steps
        .map(|step| suggestion_for_instance(step, instance))
        .collect()
}

/// A step whose command of `dm`, where it has one, names an instance.
#[must_use]
pub fn suggestion_for_instance(step: &str, name: &str) -> String {
    if step.contains("--instance") {
        return step.to_owned();
    }
    for before in ["", ": "] {
        let command = format!("{before}dm ");
        let at = if before.is_empty() {
            step.starts_with(&command).then_some(0)
        } else {
            step.find(&command)
        };
        if let Some(at) = at {
            let end = at + command.len();
            return format!("{}--instance {name} {}", &step[..end], &step[end..]);
        }
    }
    step.to_owned()
}

/// The sentences of an error's cause chain, outermost first, without repetition.
#[must_use]
pub fn chain(error: &dyn UserError) -> Vec<String> {
    let mut lines = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Wrappers often repeat their cause's text at their own end.
        if !lines.last().is_some_and(|last| last.ends_with(&text)) {
            lines.push(text);
        }
        cause = error.source();
    }
    lines
}

impl<E: UserError> From<E> for Error {
    fn from(error: E) -> Self {
        Self {
            user_error: Box::new(error),
            instance: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_for_the_instance_that_the_command_was_for() {
        for (step, expected) in [
            ("dm status", "dm --instance review status"),
            (
                "add to the data: dm seed --append",
                "add to the data: dm --instance review seed --append",
            ),
            ("dm up --instance other", "dm up --instance other"),
            ("docker ps", "docker ps"),
            ("look at dm.toml", "look at dm.toml"),
        ] {
            assert_eq!(suggestion_for_instance(step, "review"), expected);
        }
    }
}
