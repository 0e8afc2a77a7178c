//! Tests of the help texts. Every change of a text shows as a change of a snapshot.

use clap::CommandFactory as _;
use dm::commands::Cli;

use crate::project::Project;

/// The headings of `dm --help`.
const HEADINGS: [&str; 5] = ["Stack", "Data", "Events", "Develop", "Machine"];

/// Returns the names of the visible subcommands.
fn subcommand_names(command: &clap::Command) -> Vec<String> {
    let visible = command
        .get_subcommands()
        .filter(|command| !command.is_hide_set());
    visible
        .map(|command| command.get_name().to_owned())
        .collect()
}

/// Calls `visit` with the words of each command, without `dm`.
fn each_command(
    command: &clap::Command,
    path: &[&str],
    visit: &mut dyn FnMut(&[&str], &clap::Command),
) {
    visit(path, command);
    for subcommand in command
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
    {
        each_command(
            subcommand,
            &[path, &[subcommand.get_name()]].concat(),
            visit,
        );
    }
}

/// Returns the headings of a help text, each with the names below it.
fn groups(help: &str) -> Vec<(String, Vec<String>)> {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for line in help.lines() {
        if let Some(heading) = line
            .strip_suffix(':')
            .filter(|heading| !heading.starts_with(' '))
        {
            groups.push((heading.to_owned(), Vec::new()));
        } else if let Some((_, names)) = groups.last_mut()
            && let Some(name) = line.split_whitespace().next()
        {
            names.push(name.to_owned());
        }
    }
    groups
}

#[test]
fn help_of_every_command_matches_its_snapshot() {
    let project = Project::without_config();
    each_command(&Cli::command(), &[], &mut |path, _| {
        let help = project.output_of(&[path, &["--help"]].concat());
        insta::assert_snapshot!([&["dm"], path].concat().join("_"), help);
    });
}

#[test]
fn help_lists_each_command_under_one_heading() {
    let help = Cli::command().render_long_help().to_string();
    let groups: Vec<_> = groups(&help)
        .into_iter()
        .filter(|(heading, _)| !heading.starts_with("Global options"))
        .collect();
    let headings: Vec<_> = groups.iter().map(|(heading, _)| heading.as_str()).collect();
    assert_eq!(headings, HEADINGS, "{help}");
    let mut listed: Vec<_> = groups.into_iter().flat_map(|(_, names)| names).collect();
    let mut commands = subcommand_names(&Cli::command());
    listed.sort();
    commands.sort();
    assert_eq!(listed, commands);
}

#[test]
fn help_of_dm_fits_80_columns_and_50_lines() {
    for help in [
        Cli::command().term_width(80).render_help(),
        Cli::command().term_width(80).render_long_help(),
    ] {
        let help = help.to_string();
        assert!(help.lines().count() <= 50, "{help}");
        let widest = help.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{widest:?}\n{help}");
    }
}

#[test]
fn short_help_refers_to_the_global_options() {
    let mut root = Cli::command();
    root.build();
    each_command(&root, &[], &mut |path, command| {
        if path.is_empty() || path.contains(&"help") {
            return;
        }
        let help = command.clone().render_help().to_string();
        let name = path.join(" ");
        for global in ["--instance", "--set", "--json", "Global options:"] {
            assert!(!help.contains(global), "{name}:\n{help}");
        }
        let last = help.lines().last().unwrap_or_default();
        let hint = format!("Run `dm {name} --help` for global options");
        assert!(last.starts_with(&hint), "{help}");
        let long = command.clone().render_long_help().to_string();
        assert!(long.contains("\nGlobal options:\n"), "{long}");
        assert!(!long.contains(&hint), "{long}");
    });
}

#[test]
fn short_help_shows_only_the_options_of_the_command() {
    let project = Project::without_config();
    insta::assert_snapshot!("short_up", project.output_of(&["up", "-h"]));
    insta::assert_snapshot!("short_outbox", project.output_of(&["outbox", "-h"]));
    insta::assert_snapshot!(
        "short_dlq_replay",
        project.output_of(&["dlq", "replay", "-h"])
    );
}

#[test]
fn dm_without_arguments_shows_the_help() {
    let project = Project::without_config();
    let help = project.output_of(&[]);
    for command in subcommand_names(&Cli::command()) {
        assert!(help.contains(&command), "{command} is not shown:\n{help}");
    }
}

#[test]
fn version_equals_the_package_version() {
    let version = Project::without_config().output_of(&["--version"]);
    let expected = format!(
        "exit code: 0\n── stdout\ndm {}\n",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(version, expected);
}

#[test]
fn completions_are_printed_for_every_shell() {
    let project = Project::without_config();
    for (shell, marker) in [
        ("bash", "complete -F _dm"),
        ("zsh", "#compdef dm"),
        ("fish", "complete -c dm"),
        ("elvish", "edit:completion"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let script = project.output_of(&["completions", shell]);
        assert!(script.starts_with("exit code: 0"), "{script}");
        assert!(script.contains(marker), "{shell}:\n{script}");
        assert!(
            script.contains("wait-timeout"),
            "the completions for {shell} lack an option of `up`"
        );
    }
}

#[test]
fn completions_for_bash_complete_a_command() {
    let project = Project::without_config();
    let script = project
        .dm(&["completions", "bash"])
        .output()
        .unwrap()
        .stdout;
    project.write("dm.bash", &String::from_utf8(script).unwrap());
    let script_call =
        "source dm.bash; COMP_WORDS=(dm sta); COMP_CWORD=1; _dm dm sta dm; echo ${COMPREPLY[@]}";
    let answer = std::process::Command::new("bash")
        .args(["--norc", "-c", script_call])
        .current_dir(project.root())
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&answer.stdout).trim(),
        "status",
        "{answer:?}"
    );
}
