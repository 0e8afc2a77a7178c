//! What `--help` says. A change of any text shows as a change of a snapshot.

use crate::project::Project;

/// The names in the list of commands that a help text shows.
fn commands(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// Looks at the help of a command and of all below it.
fn look(project: &Project, path: &[&str]) {
    let help = project.says(&[path, &["--help"]].concat());
    let name = [&["dm"], path].concat().join("_");
    insta::assert_snapshot!(name, help);
    for command in commands(&help) {
        look(project, &[path, &[command.as_str()]].concat());
    }
}

#[test]
fn every_command_explains_itself() {
    look(&Project::none(), &[]);
}

#[test]
fn no_arguments_show_the_help() {
    let project = Project::none();
    let (bare, help) = (project.says(&[]), project.says(&["--help"]));
    let commands = commands(&help);
    assert!(commands.contains(&"up".to_owned()), "{commands:?}");
    for command in commands {
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
