//! Tests of suggested commands: copied as printed, they act on the instance and the directory of
//! the call.

use std::path::{Path, PathBuf};

use dm_backup::examples::{create_backup, create_backup_of};
use dm_backup::{Backup, BackupStore};
use serde_json::Value;

use crate::project::Project;

/// The options of each call before the subcommand of `dm backup`.
const CALL: [&str; 5] = ["--instance", "review", "backup", "--dir", "my backups"];

/// The beginning of each suggested command.
const COMMAND: &str = "dm --instance review backup --dir 'my backups'";

/// The suggestions if no identity can decrypt the backup.
const IDENTITY_HINTS: &str = "  next: set `backup.identity` in dm.local.toml to the identity of a \
    recipient\n        or, if the command is dm backup, add: --identity FILE\n";

/// Returns the output of a call of `dm backup`.
fn output_of(project: &Project, arguments: &[&str]) -> String {
    project.output_of(&[&CALL[..], arguments].concat())
}

/// Returns the directory of the backups that a call of `dm backup` uses.
fn list_directory(project: &Project, call: &[&str]) -> PathBuf {
    let arguments = [call, &["ls", "--json"]].concat();
    let output = project.dm(&arguments).output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let directory = document["directory"].as_str().unwrap();
    project.root().join(directory)
}

/// Creates a backup in the directory that these calls use.
fn create(project: &Project) -> Backup {
    let store = BackupStore::new(list_directory(project, &CALL));
    create_backup(&store, "20200101T000000000Z")
}

#[test]
fn backup_output_suggests_commands_for_the_same_instance_and_directory() {
    let project = Project::new("");
    let list = output_of(&project, &["ls"]);
    let hint = format!("; create one: {COMMAND} create\n");
    assert!(list.contains(&hint), "{list}");
    let backup = create(&project);
    let shown = output_of(&project, &["show"]);
    let hint = format!("not verified by a restore yet: {COMMAND} verify --restore\n");
    assert!(shown.contains(&hint), "{shown}");
    // One backup is damaged, and one has no manifest.
    std::fs::write(backup.path.join("unknown"), "").unwrap();
    std::fs::create_dir(backup.path.with_file_name("20200102T000000000Z")).unwrap();
    let plan = output_of(&project, &["prune", "--keep-manual", "7", "--dry-run"]);
    for hint in [
        format!("damaged, and therefore not counted: {COMMAND} verify\n"),
        format!("could not read its manifest: {COMMAND} ls\n"),
    ] {
        assert!(plan.contains(&hint), "{plan}");
    }
}

#[test]
fn backup_errors_suggest_commands_for_the_same_instance_and_directory() {
    let project = Project::new("");
    let backup = create(&project);
    let assert_suggests = |arguments: &[&str], subcommand: &str| {
        let output = output_of(&project, arguments);
        let hint = format!(": {COMMAND} {subcommand}\n");
        assert!(output.contains(&hint), "{arguments:?}: {output}");
    };
    assert_suggests(&["restore"], "restore --foreign …");
    let id = &backup.manifest.id;
    let schema = ["restore", "--foreign", "--schema", "dm_ops"];
    assert_suggests(&schema, &format!("restore {id}"));
    assert_suggests(&schema, &format!("show {id}"));
    std::fs::write(backup.path.join("unknown"), "").unwrap();
    for arguments in [&["verify"][..], &["restore", "--foreign"]] {
        assert_suggests(arguments, "ls");
    }
}

/// The suggestion for a missing identity names no command: copied after `verify`, a `restore` would
/// replace the data of the stack.
#[test]
fn missing_identity_is_requested_for_the_same_command() {
    let project = Project::new("");
    create(&project);
    for arguments in [
        &["restore", "--identity", "missing.txt"][..],
        &["restore", "--resume", "--identity", "missing.txt"],
        &["verify", "--restore", "--identity", "missing.txt"],
    ] {
        let output = output_of(&project, arguments);
        assert!(output.contains(IDENTITY_HINTS), "{arguments:?}: {output}");
        assert!(!output.contains("dm --instance"), "{arguments:?}: {output}");
    }
}

/// `dm reset` has no `--identity`: the first suggestion must not be that option.
#[test]
fn missing_identity_of_a_reset_is_requested_in_the_configuration() {
    let project = Project::new("");
    let directory = list_directory(&project, &["--instance", "review", "backup"]);
    let project_id = directory.parent().and_then(Path::file_name).unwrap();
    let project_id = project_id.to_str().unwrap();
    let store = BackupStore::new(directory.clone());
    create_backup_of(&store, "20200101T000000000Z", project_id, "review");
    project.write("dm.local.toml", "backup.identity = \"missing.txt\"\n");
    let output = project.output_of(&["--instance", "review", "reset", "--to", "latest"]);
    assert!(output.contains("error[backup-identity]"), "{output}");
    assert!(output.contains(IDENTITY_HINTS), "{output}");
}
