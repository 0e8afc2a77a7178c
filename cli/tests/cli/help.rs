//! What `--help` says. A change of any text shows as a change of a snapshot.

use clap::CommandFactory as _;
use dm::commands::Cli;

use crate::project::Project;

/// The headings of `dm --help`.
const HEADINGS: [&str; 5] = ["Stack", "Data", "Events", "Develop", "Machine"];

/// The names of the commands below one.
fn names(command: &clap::Command) -> Vec<String> {
    let visible = command.get_subcommands().filter(|it| !it.is_hide_set());
    visible.map(|it| it.get_name().to_owned()).collect()
}

/// Calls `look` with the words of each command, `dm` left out.
fn each_command(
    command: &clap::Command,
    path: &[&str],
    look: &mut dyn FnMut(&[&str], &clap::Command),
) {
    look(path, command);
    for below in command.get_subcommands().filter(|it| !it.is_hide_set()) {
        each_command(below, &[path, &[below.get_name()]].concat(), look);
    }
}

/// The headings of a help text, each with the names that stand below it.
fn groups(help: &str) -> Vec<(String, Vec<String>)> {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for line in help.lines() {
        if let Some(heading) = line.strip_suffix(':').filter(|it| !it.starts_with(' ')) {
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
fn every_command_explains_itself() {
    let project = Project::none();
    each_command(&Cli::command(), &[], &mut |path, _| {
        let help = project.says(&[path, &["--help"]].concat());
        insta::assert_snapshot!([&["dm"], path].concat().join("_"), help);
    });
}

#[test]
fn each_command_stands_under_one_heading() {
    let help = Cli::command().render_long_help().to_string();
    let groups: Vec<_> = groups(&help)
        .into_iter()
        .filter(|(heading, _)| !heading.starts_with("Global options"))
        .collect();
    let headings: Vec<_> = groups.iter().map(|(heading, _)| heading.as_str()).collect();
    assert_eq!(headings, HEADINGS, "{help}");
    let mut listed: Vec<_> = groups.into_iter().flat_map(|(_, names)| names).collect();
    let mut commands = names(&Cli::command());
    listed.sort();
    commands.sort();
    assert_eq!(listed, commands);
}

#[test]
fn the_help_of_dm_fits_a_terminal() {
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
fn a_short_help_points_at_the_global_options() {
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
fn a_short_help_shows_the_own_options() {
    let project = Project::none();
    insta::assert_snapshot!("short_up", project.says(&["up", "-h"]));
    insta::assert_snapshot!("short_outbox", project.says(&["outbox", "-h"]));
    insta::assert_snapshot!("short_dlq_replay", project.says(&["dlq", "replay", "-h"]));
}

#[test]
fn no_arguments_show_the_help() {
    let project = Project::none();
    let bare = project.says(&[]);
    for command in names(&Cli::command()) {
        assert!(bare.contains(&command), "{command} is not shown:\n{bare}");
    }
}

#[test]
fn the_version_is_the_packages() {
    let version = Project::none().says(&["--version"]);
    let expected = format!(
        "exit code: 0\n── stdout\ndm {}\n",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(version, expected);
}

#[test]
fn every_shell_gets_its_completions() {
    let project = Project::none();
    for (shell, sign) in [
        ("bash", "complete -F _dm"),
        ("zsh", "#compdef dm"),
        ("fish", "complete -c dm"),
        ("elvish", "edit:completion"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let script = project.says(&["completions", shell]);
        assert!(script.starts_with("exit code: 0"), "{script}");
        assert!(script.contains(sign), "{shell}:\n{script}");
        assert!(
            script.contains("wait-timeout"),
            "{shell} does not know `up`"
        );
    }
}

#[test]
fn bash_takes_its_completions() {
    let project = Project::none();
    let script = project
        .dm(&["completions", "bash"])
        .output()
        .unwrap()
        .stdout;
    project.write("dm.bash", &String::from_utf8(script).unwrap());
    let asked =
        "source dm.bash; COMP_WORDS=(dm sta); COMP_CWORD=1; _dm dm sta dm; echo ${COMPREPLY[@]}";
    let answer = std::process::Command::new("bash")
        .args(["--norc", "-c", asked])
        .current_dir(project.root())
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&answer.stdout).trim(),
        "status",
        "{answer:?}"
    );
}
