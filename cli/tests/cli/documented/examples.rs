//! Tests of the examples at the end of each command's help.

use clap::CommandFactory as _;
use dm::commands::Cli;

use super::{Kind, Text, parse_error, shell};

/// The title of the examples.
const TITLE: &str = "\nExamples:\n";

/// The number of columns that an example must fit.
const COLUMNS: usize = 80;

/// Returns the error in an example of a command, if any.
fn example_error(example: &str, name: &str) -> Option<String> {
    if example.chars().count() + 2 > COLUMNS {
        return Some("the example is too long".into());
    }
    let text = Text {
        location: name.to_owned(),
        kind: Kind::Whole,
        text: example.to_owned(),
    };
    let commands = shell::commands(&text);
    let calls_command = |words: &Vec<String>| words.join(" ").starts_with(name);
    if !commands.iter().any(calls_command) {
        return Some("the example does not call the command".into());
    }
    commands
        .iter()
        .find_map(|words| parse_error(words, Kind::Whole))
}

/// Returns the errors in the examples of a command.
fn example_errors(help: &str, name: &str) -> Vec<String> {
    let Some((_, examples)) = help.split_once(TITLE) else {
        return vec![format!("{name} has no examples")];
    };
    let examples: Vec<&str> = examples.lines().map(str::trim).collect();
    if !(2..=3).contains(&examples.len()) {
        return vec![format!("{name} has {} examples", examples.len())];
    }
    let errors = examples.iter().filter_map(|example| {
        let error = example_error(example, name)?;
        Some(format!("{name}: {example}\n    {error}"))
    });
    errors.collect()
}

fn check(command: &mut clap::Command, path: &str, errors: &mut Vec<String>) {
    let help = command.render_long_help().to_string();
    errors.extend(example_errors(&help, path));
    for subcommand in command.get_subcommands_mut() {
        let path = format!("{path} {}", subcommand.get_name());
        let is_hidden = subcommand.is_hide_set() || subcommand.get_name() == "help";
        if !is_hidden {
            check(subcommand, &path, errors);
        }
    }
}

#[test]
fn every_command_has_examples_that_parse() {
    let mut root = Cli::command();
    root.build();
    let mut errors = Vec::new();
    for command in root.get_subcommands_mut() {
        let path = format!("dm {}", command.get_name());
        if command.get_name() != "help" {
            check(command, &path, &mut errors);
        }
    }
    assert!(errors.is_empty(), "\n{}\n", errors.join("\n"));
}

#[test]
fn faulty_examples_are_reported() {
    let help = |examples: &str| format!("Show it\n{TITLE}{examples}");
    let errors = |examples| example_errors(&help(examples), "dm status");
    assert!(errors("  dm status\n  dm status --watch\n").is_empty());
    assert!(errors("  echo x | dm status\n  x $(dm status)\n").is_empty());
    for example in [
        "  dm status\n",
        "  dm status\n  dm status --wach\n",
        "  dm status\n  dm up\n",
    ] {
        assert_eq!(errors(example).len(), 1, "{example}");
    }
    assert_eq!(example_errors("Show it\n", "dm status").len(), 1);
}
