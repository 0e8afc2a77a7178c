//! A repeatable option that is accepted at every level of the command line.
//!
//! For clap's global options, the deepest level wins: values before the subcommand are lost if
//! there are values after it. So each level gets its own option.

use clap::{Arg, ArgMatches, Command};

/// Adds an option of a command to all its subcommands.
pub(crate) fn add_to_subcommands(command: Command, id: &str) -> Command {
    let option = command.get_arguments().find(|option| option.get_id() == id);
    match option.cloned() {
        Some(option) => add_recursively(command, &option),
        None => command,
    }
}

fn add_recursively(command: Command, option: &Arg) -> Command {
    command.mut_subcommands(|command| add_recursively(command.arg(option.clone()), option))
}

/// Returns the values of all levels, in the order of the command line.
pub(crate) fn collect_values(matches: &ArgMatches, id: &str) -> Vec<String> {
    let mut collected = Vec::new();
    let mut level = Some(matches);
    while let Some(matches) = level {
        let values = matches.try_get_many::<String>(id).ok().flatten();
        collected.extend(values.into_iter().flatten().cloned());
        level = matches.subcommand().map(|(_, matches)| matches);
    }
    collected
}
