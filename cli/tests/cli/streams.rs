//! Tests of the output streams: data, messages, colour, JSON, and readers that close a stream.

use std::process::Stdio;

use insta::assert_snapshot;
use serde_json::Value;

use crate::project::Project;

const BROKEN: &str = "[postgres]\nprot = 5433\n";

#[test]
fn json_error_is_one_line_on_stdout() {
    let project = Project::new(BROKEN);
    assert_snapshot!(project.output_of(&["status", "--json"]), @r#"
    exit code: 2
    ── stdout
    {"schema":"dm.error/1","error":{"code":"config-unknown-key","exit_code":2,"message":"unknown key `prot` in [postgres]","causes":[],"help":"the keys of [postgres] are image, port, database, user, password, settings, memory, wait_timeout","next":["see docs/configuration.md for all keys"],"locations":[{"source":"dm.toml","line":2,"column":1,"offset":11,"length":4,"label":"did you mean `port`?"}]}}
    ── stderr
    error[config-unknown-key]: unknown key `prot` in [postgres]
       ╭─[dm.toml:2:1]
     1 │ [postgres]
     2 │ prot = 5433
       · ──┬─
       ·   ╰── did you mean `port`?
       ╰────

      next: the keys of [postgres] are image, port, database, user, password, settings, memory, wait_timeout
            see docs/configuration.md for all keys
    "#);
}

#[test]
fn json_usage_error_is_one_line_on_stdout() {
    let project = Project::new("");
    assert_snapshot!(project.output_of(&["up", "--wait-timeot", "5m", "--json"]), @r#"
    exit code: 2
    ── stdout
    {"schema":"dm.error/1","error":{"code":"usage","exit_code":2,"message":"unexpected argument '--wait-timeot' found","causes":[],"next":["a similar argument exists: '--wait-timeout'","dm up --help"]}}
    ── stderr
    error: unexpected argument '--wait-timeot' found

      tip: a similar argument exists: '--wait-timeout'

    Usage: dm up --wait-timeout <DURATION>

    For more information, try '--help'.
    "#);
}

#[test]
fn usage_error_with_json_progress_is_json_on_stderr() {
    let project = Project::new("");
    let output = project
        .dm(&["stauts", "--progress", "json"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    let document: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(document["error"]["code"], "usage");
}

#[test]
fn json_flag_changes_neither_help_nor_version() {
    let project = Project::new("");
    for flag in ["--help", "--version"] {
        let output = project.output_of(&["--json", flag]);
        assert!(output.starts_with("exit code: 0\n── stdout\n"), "{output}");
        assert!(!output.contains("dm.error"), "{output}");
    }
}

#[test]
fn progress_json_writes_only_json_to_stderr() {
    let project = Project::new(BROKEN);
    let output = project.dm(&["up", "--progress", "json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    let text = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    assert_eq!(lines.last().unwrap()["error"]["code"], "config-unknown-key");
}

#[test]
fn colour_without_a_terminal_needs_a_request() {
    let project = Project::new(BROKEN);
    let is_coloured = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut call = project.dm(arguments);
        call.envs(variables.iter().copied());
        project.output_of_command(&mut call).contains('\x1b')
    };
    assert!(!is_coloured(&["status"], &[]));
    assert!(is_coloured(&["status"], &[("CLICOLOR_FORCE", "1")]));
    assert!(!is_coloured(
        &["status"],
        &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]
    ));
    assert!(is_coloured(&["status", "--color", "always"], &[]));
    assert!(!is_coloured(
        &["status", "--color", "never"],
        &[("CLICOLOR_FORCE", "1")]
    ));
    // JSON is never coloured.
    let output = project
        .dm(&["status", "--json", "--color", "always"])
        .output()
        .unwrap();
    assert!(!String::from_utf8_lossy(&output.stdout).contains('\x1b'));
}

#[test]
fn locale_without_unicode_gets_ascii_output() {
    let project = Project::new(BROKEN);
    let mut call = project.dm(&["status"]);
    call.env("LANG", "C");
    let output = call.output().unwrap();
    assert!(
        output.stderr.is_ascii(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn closed_stdout_ends_dm_without_a_message() {
    let project = Project::new("");
    let mut child = project
        .dm(&["completions", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The stream is closed before anything is read, as by `| true`.
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(141));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

// Only Linux has `/dev/full`.
#[cfg(target_os = "linux")]
#[test]
fn full_disk_is_reported() {
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let project = Project::new("");
    let output = project
        .dm(&["completions", "bash"])
        .stdout(full)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_ne!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("could not write to stdout"));
}
