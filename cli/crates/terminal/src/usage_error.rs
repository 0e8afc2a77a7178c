//! The error of a command line that clap refuses.

use clap::error::ErrorKind;
use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use thiserror::Error;

/// The beginnings of the paragraphs that follow the message in an error of clap.
const LATER_PARAGRAPHS: [&str; 3] = ["\n\n  tip: ", "\n\nUsage: ", "\n\nFor more information"];

/// A command line that is not valid.
#[derive(Debug, Error)]
#[error("{message}")]
pub(crate) struct UsageError {
    message: String,
    suggestions: Vec<String>,
}

impl From<&clap::Error> for UsageError {
    fn from(error: &clap::Error) -> Self {
        let text = error.to_string();
        Self {
            // Without an argument, the text is that of the help.
            message: if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
                "a subcommand or an argument is missing".to_owned()
            } else {
                message_in(&text)
            },
            suggestions: suggestions_in(&text),
        }
    }
}

impl UserError for UsageError {
    fn code(&self) -> ErrorCode {
        ErrorCode::Usage
    }

    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Usage
    }

    fn suggestions(&self) -> Vec<String> {
        self.suggestions.clone()
    }
}

/// Returns the message in the text of an error, on one line.
fn message_in(text: &str) -> String {
    let end = LATER_PARAGRAPHS
        .iter()
        .filter_map(|paragraph| text.find(paragraph))
        .min();
    let message = &text[..end.unwrap_or(text.len())];
    let lines: Vec<&str> = message
        .strip_prefix("error: ")
        .unwrap_or(message)
        .lines()
        .map(str::trim)
        .collect();
    lines.join(" ")
}

/// Returns the tips in the text of an error, and the call that prints the help of the command.
fn suggestions_in(text: &str) -> Vec<String> {
    let tips = text.lines().filter_map(|line| line.strip_prefix("  tip: "));
    let mut suggestions: Vec<String> = tips.map(str::to_owned).collect();
    let usage = text.lines().find_map(|line| line.strip_prefix("Usage: "));
    suggestions.push(match usage {
        Some(usage) => {
            // Options and arguments follow the names of the commands.
            let is_name = |word: &&str| word.starts_with(|first: char| first.is_ascii_lowercase());
            let command: Vec<&str> = usage.split_whitespace().take_while(is_name).collect();
            format!("{} --help", command.join(" "))
        }
        None => "run the command with --help".to_owned(),
    });
    suggestions
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    use super::*;

    /// Returns the message and the suggestions of a call that clap refuses.
    fn refuse(words: &[&str]) -> (String, Vec<String>) {
        let queue = Arg::new("queue").value_name("QUEUE").required(true);
        let limit = Arg::new("limit")
            .long("limit")
            .value_name("N")
            .value_parser(clap::value_parser!(u32));
        let command = Command::new("dm")
            .subcommand_required(true)
            .arg_required_else_help(true)
            .subcommand(Command::new("poison").arg(queue).arg(limit));
        let error = command.try_get_matches_from(words).unwrap_err();
        let error = UsageError::from(&error);
        (error.to_string(), error.suggestions())
    }

    #[test]
    fn usage_error_has_the_message_and_the_tip_of_clap() {
        let (message, suggestions) = refuse(&["dm", "poison", "q", "--limt", "1"]);
        assert_eq!(message, "unexpected argument '--limt' found");
        assert_eq!(
            suggestions,
            ["a similar argument exists: '--limit'", "dm poison --help"]
        );
    }

    #[test]
    fn usage_error_of_several_lines_is_one_line() {
        let (message, suggestions) = refuse(&["dm", "poison"]);
        assert_eq!(
            message,
            "the following required arguments were not provided: <QUEUE>"
        );
        assert_eq!(suggestions, ["dm poison --help"]);
    }

    #[test]
    fn usage_error_without_arguments_is_not_the_help() {
        let (message, suggestions) = refuse(&["dm"]);
        assert_eq!(message, "a subcommand or an argument is missing");
        assert_eq!(suggestions, ["dm --help"]);
    }

    #[test]
    fn usage_error_of_a_value_suggests_the_help() {
        let (message, suggestions) = refuse(&["dm", "poison", "q", "--limit", "many"]);
        assert!(
            message.starts_with("invalid value 'many' for '--limit <N>': "),
            "{message}"
        );
        assert_eq!(suggestions, ["run the command with --help"]);
    }
}
