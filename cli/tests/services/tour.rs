//! Runs the commands of `docs/tour.md`.

use std::path::Path;
use std::process::Command;

use libtest_mimic::Failed;

use super::stack::dm_command;

/// The instance of the tour. A reader uses the default one, which may run on this machine.
const INSTANCE: &str = "test-tour";

/// Returns the lines to type of a document's console blocks.
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

/// Every command of the tour succeeds, in the order of the page, on a fresh instance.
pub(crate) fn tour_commands_succeed_in_order() -> Result<(), Failed> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = std::fs::read_to_string(repository.join("docs/tour.md"))?;
    let directory = tempfile::tempdir()?;
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_dm"), directory.path().join("dm"))?;
    let failure = commands(&page).into_iter().find_map(|command| {
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
