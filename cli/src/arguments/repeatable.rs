//! An option that may stand anywhere on the command line, and every time counts.
//!
//! Of clap's global options the deepest level has the last word: what was given before the
//! subcommand is lost where something is given after it. So each level has an option of its
//! own.

use clap::{Arg, ArgMatches, Command};

/// Adds an option of the command itself to all commands below it.
pub(crate) fn add_to_subcommands(command: Command, id: &str) -> Command {
    let option = command.get_arguments().find(|option| option.get_id() == id);
    match option.cloned() {
        Some(option) => add_below(command, &option),
        None => command,
    }
}

fn add_below(command: Command, option: &Arg) -> Command {
    command.mut_subcommands(|command| add_below(command.arg(option.clone()), option))
}

/// What was given at all levels, in the order of the command line.
pub(crate) fn collect_values(matches: &ArgMatches, id: &str) -> Vec<String> {
    let mut given = Vec::new();
    let mut level = Some(matches);
    while let Some(matches) = level {
        let values = matches.try_get_many::<String>(id).ok().flatten();
        given.extend(values.into_iter().flatten().cloned());
        level = matches.subcommand().map(|(_, below)| below);
    }
    given
}
