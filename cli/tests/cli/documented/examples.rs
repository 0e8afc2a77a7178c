//! The examples that each command's help ends with.

use clap::CommandFactory as _;
use dm::commands::Cli;

use super::{Kind, Text, fault, shell};

/// What begins the examples.
const TITLE: &str = "\nExamples:\n";

/// Commands, with all below them, that have no examples yet.
const WITHOUT: [&str; 1] = ["dm bench"];

/// The widest terminal on which an example may break.
const COLUMNS: usize = 80;

/// What is wrong with an example of a command.
fn fault_of(example: &str, name: &str) -> Option<String> {
    if example.chars().count() + 2 > COLUMNS {
        return Some("it is too long".into());
    }
    let text = Text {
        place: name.to_owned(),
        kind: Kind::Whole,
        text: example.to_owned(),
    };
    let commands = shell::commands(&text);
    let is_of_it = |words: &Vec<String>| words.join(" ").starts_with(name);
    if !commands.iter().any(is_of_it) {
        return Some("it does not call the command".into());
    }
    commands.iter().find_map(|words| fault(words, Kind::Whole))
}

/// What is wrong with the examples of a command.
fn faults_of(help: &str, name: &str) -> Vec<String> {
    let Some((_, examples)) = help.split_once(TITLE) else {
        return vec![format!("{name} has no examples")];
    };
    let examples: Vec<&str> = examples.lines().map(str::trim).collect();
    if !(2..=3).contains(&examples.len()) {
        return vec![format!("{name} has {} examples", examples.len())];
    }
    let faults = examples.iter().filter_map(|example| {
        let fault = fault_of(example, name)?;
        Some(format!("{name}: {example}\n    {fault}"))
    });
    faults.collect()
}

fn check(command: &mut clap::Command, path: &str, wrong: &mut Vec<String>) {
    let help = command.render_long_help().to_string();
    wrong.extend(faults_of(&help, path));
    for below in command.get_subcommands_mut() {
        let path = format!("{path} {}", below.get_name());
        let is_hidden = below.is_hide_set() || below.get_name() == "help";
        if !is_hidden && !WITHOUT.contains(&path.as_str()) {
            check(below, &path, wrong);
        }
    }
}

#[test]
fn every_command_has_examples_that_parse() {
    let mut root = Cli::command();
    root.build();
    let mut wrong = Vec::new();
    for command in root.get_subcommands_mut() {
        let path = format!("dm {}", command.get_name());
        if command.get_name() != "help" && !WITHOUT.contains(&path.as_str()) {
            check(command, &path, &mut wrong);
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn a_wrong_example_is_found() {
    let help = |examples: &str| format!("Show it\n{TITLE}{examples}");
    let faults = |examples| faults_of(&help(examples), "dm status");
    assert!(faults("  dm status\n  dm status --watch\n").is_empty());
    assert!(faults("  echo x | dm status\n  x $(dm status)\n").is_empty());
    for wrong in [
        "  dm status\n",
        "  dm status\n  dm status --wach\n",
        "  dm status\n  dm up\n",
    ] {
        assert_eq!(faults(wrong).len(), 1, "{wrong}");
    }
    assert_eq!(faults_of("Show it\n", "dm status").len(), 1);
}
