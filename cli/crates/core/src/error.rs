//! Errors of `dm`: each has a stable code, an exit code and suggestions.
//!
//! Each module has its own error enum and implements [`UserError`] for it. The
//! commands return them as [`Error`], and `dm_terminal` renders them.

use std::error::Error as StdError;

use serde::{Deserialize, Serialize};

use crate::error_code::ErrorCode;

/// The exit code of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// The command succeeded.
    Success,
    /// A check has findings.
    Findings,
    /// Wrong usage or configuration.
    Usage,
    /// No engine was found, or the engine refused a call.
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
             `dm dlq ls --fail-if-any`, `dm dlq replay`, a refused sign-in or `dm call`. \
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
            "a time limit was exceeded, for example because a component was not ready, or because \
             another process or session held a lock",
        ),
        (Self::Interrupted, "interrupted by a signal"),
        (Self::OutputClosed, "the reader of stdout closed it"),
    ];

    /// Returns the number with which the process exits.
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

/// The commands of `dm` that act on the machine or read the configuration.
const MACHINE_COMMANDS: [&str; 4] = ["config", "doctor", "engine", "images"];

/// An error that the user can act on.
pub trait UserError: StdError + Send + Sync + 'static {
    /// Returns the stable name of the error, for scripts and searches.
    fn code(&self) -> ErrorCode;

    /// Returns the exit code of the process.
    fn exit_status(&self) -> ExitStatus;

    /// Returns the next steps: one per line, a sentence or a command.
    fn suggestions(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns the individual problems, if there are several.
    fn details(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns the last lines of output of the failed program, oldest first.
    fn log_tail(&self) -> &[String] {
        &[]
    }

    /// Returns the compiler errors in the project's own sources, in the order of the output.
    fn compiler_errors(&self) -> &[CompilerError] {
        &[]
    }

    /// Returns the error as a miette diagnostic, if it refers to a source text.
    fn diagnostic(&self) -> Option<&dyn miette::Diagnostic> {
        None
    }
}

/// A compiler error in the project's own sources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompilerError {
    /// The problem, as one sentence.
    pub message: String,
    /// The location, if there is exactly one.
    pub location: Option<SourceLocation>,
    /// The complete text as the compiler prints it, without colour.
    pub rendered: String,
}

/// A location in a source file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceLocation {
    /// The file, relative to the project's directory.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
}

/// Any error of a command.
#[derive(Debug)]
pub struct Error {
    user_error: Box<dyn UserError>,
    /// The instance of the command, unless it is the default one.
    instance: Option<String>,
    /// Whether the error is one of a scratch instance.
    is_of_scratch_instance: bool,
}

/// The result of an operation that can fail with errors of different types.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Returns the underlying error.
    #[must_use]
    pub fn user_error(&self) -> &dyn UserError {
        self.user_error.as_ref()
    }

    /// Sets the instance of the command. The suggestions then name it, so that a copied command
    /// does not change another instance's data.
    #[must_use]
    pub fn for_instance(mut self, name: &str) -> Self {
        self.instance = Some(name.to_owned());
        self
    }

    /// Marks the error as one of a scratch instance, which the command removes. The suggestions
    /// then contain no command for an instance: it would act on another one.
    #[must_use]
    pub fn of_scratch_instance(mut self) -> Self {
        self.is_of_scratch_instance = true;
        self
    }

    /// Returns the next steps: commands or sentences.
    #[must_use]
    pub fn suggestions(&self) -> Vec<String> {
        let mut suggestions = self.user_error.suggestions();
        if self.is_of_scratch_instance {
            suggestions = suggestions_without_instance(suggestions);
        }
        match &self.instance {
            Some(name) => suggestions_for_instance(suggestions, name),
            None => suggestions,
        }
    }

    /// Returns the texts of the cause chain, outermost first, without repetition.
    #[must_use]
    pub fn error_chain(&self) -> Vec<String> {
        error_chain(self.user_error.as_ref())
    }
}

/// Adds `--instance` to the `dm` commands in the suggestions.
#[must_use]
pub fn suggestions_for_instance(suggestions: Vec<String>, instance: &str) -> Vec<String> {
    suggestions
        .iter()
        .map(|suggestion| suggestion_for_instance(suggestion, instance))
        .collect()
}

/// Adds `--instance` to the `dm` command in the suggestion, if it contains one.
#[must_use]
pub fn suggestion_for_instance(suggestion: &str, name: &str) -> String {
    if suggestion.contains("--instance") {
        return suggestion.to_owned();
    }
    match split_at_arguments(suggestion) {
        Some((before, arguments)) => format!("{before}--instance {name} {arguments}"),
        None => suggestion.to_owned(),
    }
}

/// Removes the suggestions with a `dm` command that acts on an instance.
#[must_use]
pub fn suggestions_without_instance(mut suggestions: Vec<String>) -> Vec<String> {
    suggestions.retain(|suggestion| !acts_on_instance(suggestion));
    // It was the alternative to a suggestion that is removed.
    if let Some(first) = suggestions.first_mut()
        && let Some(sentence) = first.strip_prefix("or ")
    {
        *first = sentence.to_owned();
    }
    suggestions
}

/// Returns whether the suggestion contains a `dm` command that acts on an instance.
fn acts_on_instance(suggestion: &str) -> bool {
    split_at_arguments(suggestion).is_some_and(|(_, arguments)| {
        let command = arguments.split_whitespace().next();
        command.is_none_or(|command| !MACHINE_COMMANDS.contains(&command))
    })
}

/// Splits a suggestion before the arguments of its `dm` command, if it contains one.
fn split_at_arguments(suggestion: &str) -> Option<(&str, &str)> {
    ["", ": ", "sudo "].into_iter().find_map(|prefix| {
        let command = format!("{prefix}dm ");
        let position = if prefix.is_empty() {
            suggestion.starts_with(&command).then_some(0)
        } else {
            suggestion.find(&command)
        };
        Some(suggestion.split_at(position? + command.len()))
    })
}

/// Returns the texts of an error's cause chain, outermost first, without repetition.
#[must_use]
pub fn error_chain(error: &dyn UserError) -> Vec<String> {
    let mut lines = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Wrappers often end with their cause's text.
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
            is_of_scratch_instance: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestion_for_instance_names_the_instance_in_dm_commands() {
        for (suggestion, expected) in [
            ("dm status", "dm --instance review status"),
            (
                "add to the data: dm seed --append",
                "add to the data: dm --instance review seed --append",
            ),
            (
                "or identify the process as root: sudo dm doctor",
                "or identify the process as root: sudo dm --instance review doctor",
            ),
            ("dm up --instance other", "dm up --instance other"),
            ("docker ps", "docker ps"),
            ("look at dm.toml", "look at dm.toml"),
        ] {
            assert_eq!(suggestion_for_instance(suggestion, "review"), expected);
        }
    }

    #[test]
    fn suggestions_without_instance_contain_no_command_for_an_instance() {
        let suggestions = [
            "dm backup restore --resume",
            "or discard the existing data: dm reset",
            "or wait until the session has ended",
            "dm --instance review up",
            "sudo dm down",
            "free disk space, for example: dm images prune",
            "dm doctor",
            "or look at dm.toml",
        ];
        assert_eq!(
            suggestions_without_instance(suggestions.map(str::to_owned).to_vec()),
            [
                "wait until the session has ended",
                "free disk space, for example: dm images prune",
                "dm doctor",
                "or look at dm.toml",
            ]
        );
    }
}
