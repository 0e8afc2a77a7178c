//! Tests of `dm ci`, which runs a complete job beside the shared stack.

use std::process::Command;

use libtest_mimic::Failed;
use serde_json::Value;

use super::stack::{dm, dm_command};

/// A job that passes writes its reports and removes everything else.
pub(crate) fn ci_job_that_passes_writes_its_reports() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let artifacts = directory.path().join("artifacts");
    let output = ci_command(&["--json", "--artifacts", artifacts.to_str().unwrap()]).output()?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(stderr.into());
    }
    let lines = String::from_utf8(output.stdout)?;
    let lines: Vec<Value> = lines
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let count_events = |event: &str| lines.iter().filter(|line| line["event"] == event).count();
    assert_eq!(lines[0]["schema"], "dm.ci/1");
    assert_eq!(
        count_events("stage"),
        3,
        "expected up, smoke and down: {lines:#?}"
    );
    assert!(
        count_events("component") >= 11 && count_events("step") > 10,
        "{lines:#?}"
    );
    assert_eq!(lines.last().unwrap()["ok"], true);
    let read = |name: &str| std::fs::read_to_string(artifacts.join(name));
    assert!(read("junit.xml")?.contains(r#"classname="up.order""#));
    assert!(read("summary.md")?.contains("### Critical path of the start"));
    assert_eq!(read("ci.jsonl")?.lines().count(), lines.len());
    assert!(!artifacts.join("diagnostics.tar.zst").exists());
    assert_nothing_is_left(lines[0]["instance"].as_str().unwrap())
}

/// A component that fails makes the job fail. The error is in all reports, and the instance is
/// removed.
pub(crate) fn ci_job_that_fails_is_annotated_and_removes_its_instance() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let summary = directory.path().join("step.md");
    let output = ci_command(&[
        "--artifacts",
        directory.path().to_str().unwrap(),
        "--set",
        "services.inventory.environment.STOCK_RESULT_PACE_MS=never",
    ])
    .env("GITHUB_ACTIONS", "true")
    .env("GITHUB_STEP_SUMMARY", &summary)
    .output()?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{stderr}");
    let annotations: Vec<_> = stderr
        .lines()
        .filter(|line| line.starts_with("::error"))
        .collect();
    assert_eq!(annotations.len(), 1, "{stderr}");
    assert!(annotations[0].contains("inventory failed"), "{stderr}");
    let read = |name: &str| std::fs::read_to_string(directory.path().join(name));
    assert!(read("step.md")?.contains("### ❌ inventory"));
    assert!(read("junit.xml")?.contains("failures=\"1\""));
    assert!(directory.path().join("diagnostics.tar.zst").exists());
    let first = read("ci.jsonl")?;
    let first: Value = serde_json::from_str(first.lines().next().unwrap_or_default())?;
    assert_nothing_is_left(first["instance"].as_str().unwrap())
}

/// Prepares a job, whose instance gets a generated name.
fn ci_command(arguments: &[&str]) -> Command {
    let mut command = dm_command();
    command.arg("ci").args(arguments);
    command
}

fn assert_nothing_is_left(instance: &str) -> Result<(), Failed> {
    let output = dm_command()
        .args(["down", "--volumes", "--json", "--instance", instance])
        .output()?;
    let removed: Value = serde_json::from_slice(&output.stdout)?;
    for kind in ["components", "volumes", "networks"] {
        assert_eq!(removed[kind], serde_json::json!([]), "{removed}");
    }
    // The shared stack is unaffected.
    assert!(dm(&["status", "--check"]).status.success());
    Ok(())
}
