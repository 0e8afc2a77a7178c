//! The layout of help texts: the commands of `dm` in groups, and the global options apart.
//!
//! Clap lists all subcommands under one heading, and all options in every help. So the help of
//! `dm` itself comes from a template that is built from the command list, and the short help of
//! every command contains only its own options.

use clap::builder::StyledStr;
use clap::{Arg, Command};

/// The heading of the options that all commands share.
pub(crate) const GLOBAL_OPTIONS: &str = "Global options";

/// The commands by their purpose, in the order in which `dm --help` lists them.
const COMMAND_GROUPS: [(&str, &[&str]); 5] = [
    (
        "Stack",
        &[
            "up", "down", "status", "logs", "restart", "reset", "open", "psql", "exec",
        ],
    ),
    ("Data", &["seed", "backup", "schema"]),
    (
        "Events",
        &["outbox", "inbox", "events", "dlq", "reconcile", "chaos"],
    ),
    (
        "Develop",
        &["dev", "rebuild", "token", "call", "smoke", "ci", "bench"],
    ),
    (
        "Machine",
        &[
            "doctor",
            "engine",
            "images",
            "golden",
            "config",
            "completions",
        ],
    ),
];

/// The heading of commands without a group. A test fails if there are any; the help still
/// lists them.
const OTHER_COMMANDS: &str = "Other";

/// The heading of the examples of a command.
const EXAMPLES_HEADING: &str = "Examples:";

/// The maximum width of wrapped text: longer lines are hard to read.
const MAX_HELP_WIDTH: usize = 100;

/// The width of the list of global options, which the template does not wrap.
const OPTION_LIST_WIDTH: usize = 80;

/// Arranges the help of the program and of all its commands.
pub(crate) fn arrange_help(root: Command) -> Command {
    let root = root.mut_args(hide_if_global).max_term_width(MAX_HELP_WIDTH);
    let template = help_template(&root);
    let name = root.get_name().to_owned();
    root.help_template(template)
        .mut_subcommands(|command| add_help_hint(command, &name))
}

fn is_global(option: &Arg) -> bool {
    option.get_help_heading() == Some(GLOBAL_OPTIONS)
}

/// Hides a global option from the short help.
fn hide_if_global(option: Arg) -> Arg {
    let is_hidden = is_global(&option);
    option.hide_short_help(is_hidden)
}

/// Returns the help template of the program: the groups of commands, and the names of the
/// global options.
fn help_template(root: &Command) -> StyledStr {
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{}{}{{after-help}}",
        render_groups(root),
        render_global_options(root)
    );
    StyledStr::from(template)
}

fn render_groups(root: &Command) -> String {
    let mut text = String::new();
    for (heading, names) in COMMAND_GROUPS {
        let commands = names.iter().filter_map(|name| root.find_subcommand(name));
        text.push_str(&render_group(root, heading, &commands.collect::<Vec<_>>()));
    }
    let is_other = |command: &&Command| {
        let is_member = |(_, names): &(&str, &[&str])| names.contains(&command.get_name());
        !command.is_hide_set() && !COMMAND_GROUPS.iter().any(is_member)
    };
    let others: Vec<_> = root.get_subcommands().filter(is_other).collect();
    if !others.is_empty() {
        text.push_str(&render_group(root, OTHER_COMMANDS, &others));
    }
    text
}

/// Returns a heading with its commands and an empty line.
fn render_group(root: &Command, heading: &str, commands: &[&Command]) -> String {
    let names = root
        .get_subcommands()
        .map(|command| command.get_name().len());
    let longest = names.max().unwrap_or_default();
    let literal = root.get_styles().get_literal();
    let mut text = heading_line(root, heading);
    for command in commands {
        let about = command.get_about().map(ToString::to_string);
        text.push_str(&format!(
            "  {literal}{:longest$}{literal:#}  {}\n",
            command.get_name(),
            about.unwrap_or_default()
        ));
    }
    text.push('\n');
    text
}

fn heading_line(root: &Command, heading: &str) -> String {
    let header = root.get_styles().get_header();
    format!("{header}{heading}:{header:#}\n")
}

/// Returns the names of the global options. The long help of every command describes them.
fn render_global_options(root: &Command) -> String {
    let options = root.get_arguments().filter(|option| is_global(option));
    let names = options
        .filter_map(option_usage)
        .chain(["--help", "--version"].map(str::to_owned));
    let text = heading_line(root, "Global options (see `dm COMMAND --help`)");
    // Each name is added to the first line that has room for it.
    let mut lines: Vec<String> = Vec::new();
    for name in names {
        let has_room = |line: &&mut String| line.len() + 2 + name.len() <= OPTION_LIST_WIDTH;
        match lines.iter_mut().find(has_room) {
            Some(line) => line.push_str(&format!("  {name}")),
            None => lines.push(format!("  {name}")),
        }
    }
    text + &lines.join("\n")
}

/// Returns the usage of an option, e.g. `--instance <NAME>`. Clap's own form needs a command
/// that has been built.
fn option_usage(option: &Arg) -> Option<String> {
    let long = option.get_long()?;
    let value = option.get_value_names().and_then(<[_]>::first);
    Some(match value {
        Some(value) if option.get_action().takes_values() => format!("--{long} <{value}>"),
        _ => format!("--{long}"),
    })
}

/// Adds a hint to the long help at the end of the short help of a command and its
/// subcommands.
fn add_help_hint(command: Command, parent: &str) -> Command {
    let path = format!("{parent} {}", command.get_name());
    let examples = command.get_after_long_help().map(ToString::to_string);
    let content = if examples.is_some() {
        "global options and examples"
    } else {
        "global options"
    };
    let header = command.get_styles().get_header();
    let title = format!("{header}{EXAMPLES_HEADING}{header:#}");
    let examples = examples
        .unwrap_or_default()
        .replacen(EXAMPLES_HEADING, &title, 1);
    command
        .after_help(format!("Run `{path} --help` for {content}."))
        // Without a long text, Clap would show the short one.
        .after_long_help(examples)
        .mut_subcommands(|subcommand| add_help_hint(subcommand, &path))
}
