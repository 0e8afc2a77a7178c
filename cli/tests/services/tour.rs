//! Runs the commands of `docs/tour.md`.

use std::path::Path;
use std::process::Command;

use libtest_mimic::Failed;

use super::stack::dm_command;

/// The instance of the tour. A reader uses the default one, which may run on this machine.
const INSTANCE: &str = "test-tour";

/// The sections whose commands write files. A second tour in the same directory calls them again.
const WRITING_SECTIONS: [&str; 2] = ["Place an order", "Dead-letter a message"];

/// Returns the lines to type of the console blocks of a document or a section.
fn commands(document: &str) -> Vec<&str> {
    let mut commands = Vec::new();
    let mut is_console = false;
    for line in document.lines() {
        if let Some(language) = line.strip_prefix("```") {
            is_console = language == "console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| is_console) {
            commands.push(command);
        }
    }
    commands
}

/// Prepares a shell that finds `dm` in `directory` and calls it on the tour's instance.
fn shell(command: &str, directory: &Path) -> Command {
    let dm = dm_command();
    let mut shell = Command::new("bash");
    shell.args(["-euc", command]).current_dir(directory);
    for (name, value) in dm.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::iter::once(directory.to_owned()).chain(std::env::split_paths(&path));
    shell
        .env("PATH", std::env::join_paths(directories).unwrap())
        .env("DM_INSTANCE", INSTANCE)
        .env("DM_PROJECT_DIR", dm.get_current_dir().unwrap());
    shell
}

/// Returns the commands in the order of the page. Those that write files are called a second time
/// before the last section, which stops the stack.
fn commands_with_repetitions(page: &str) -> Vec<&str> {
    let mut sections: Vec<&str> = page.split("\n## ").collect();
    let last = sections.pop().unwrap_or_default();
    let repeated: Vec<&str> = sections
        .iter()
        .copied()
        .filter(|section| {
            WRITING_SECTIONS
                .iter()
                .any(|title| section.starts_with(title))
        })
        .collect();
    assert_eq!(repeated.len(), WRITING_SECTIONS.len());
    let order = sections.into_iter().chain(repeated).chain([last]);
    order.flat_map(commands).collect()
}

/// Every command of the tour succeeds, in the order of the page, on a fresh instance. A command
/// that writes a file succeeds again in the same directory.
pub(crate) fn tour_commands_succeed_in_order() -> Result<(), Failed> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = std::fs::read_to_string(repository.join("docs/tour.md"))?;
    let directory = tempfile::tempdir()?;
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_dm"), directory.path().join("dm"))?;
    let failure = commands_with_repetitions(&page)
        .into_iter()
        .find_map(|command| {
            let output = shell(command, directory.path()).output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            (!output.status.success()).then(|| format!("{command}: {}\n{stderr}", output.status))
        });
    let removed = shell("dm down --volumes", directory.path()).output()?;
    if let Some(failure) = failure {
        return Err(failure.into());
    }
    assert!(removed.status.success(), "{removed:?}");
    Ok(())
}
