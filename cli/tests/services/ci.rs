//! A whole job by `dm ci`, beside the shared stack.

use std::process::Command;

use libtest_mimic::Failed;
use serde_json::Value;

use super::stack::{dm, dm_command};

/// A job that passes keeps its reports, and nothing else.
pub(crate) fn passes() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let artifacts = folder.path().join("artifacts");
    let output = job(&["--json", "--artifacts", artifacts.to_str().unwrap()]).output()?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(told.into());
    }
    let lines = String::from_utf8(output.stdout)?;
    let lines: Vec<Value> = lines
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let of = |event: &str| lines.iter().filter(|it| it["event"] == event).count();
    assert_eq!(lines[0]["schema"], "dm.ci/1");
    assert_eq!(of("stage"), 3, "up, smoke and down: {lines:#?}");
    assert!(of("component") >= 11 && of("step") > 10, "{lines:#?}");
    assert_eq!(lines.last().unwrap()["ok"], true);
    let read = |name: &str| std::fs::read_to_string(artifacts.join(name));
    assert!(read("junit.xml")?.contains(r#"classname="up.order""#));
    assert!(read("summary.md")?.contains("### What the start waited for"));
    assert_eq!(read("ci.jsonl")?.lines().count(), lines.len());
    assert!(!artifacts.join("diagnostics.tar.zst").exists());
    nothing_left(lines[0]["instance"].as_str().unwrap())
}

/// A component that fails fails the job, which says so everywhere, and tidies up.
pub(crate) fn fails() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let summary = folder.path().join("step.md");
    let output = job(&[
        "--artifacts",
        folder.path().to_str().unwrap(),
        "--set",
        "services.inventory.environment.STOCK_RESULT_PACE_MS=never",
    ])
    .env("GITHUB_ACTIONS", "true")
    .env("GITHUB_STEP_SUMMARY", &summary)
    .output()?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{told}");
    let annotations: Vec<_> = told
        .lines()
        .filter(|line| line.starts_with("::error"))
        .collect();
    assert_eq!(annotations.len(), 1, "{told}");
    assert!(annotations[0].contains("inventory failed"), "{told}");
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name));
    assert!(read("step.md")?.contains("### ❌ inventory"));
    assert!(read("junit.xml")?.contains("failures=\"1\""));
    assert!(folder.path().join("diagnostics.tar.zst").exists());
    let first = read("ci.jsonl")?;
    let first: Value = serde_json::from_str(first.lines().next().unwrap_or_default())?;
    nothing_left(first["instance"].as_str().unwrap())
}

/// A job's command, with an instance that it names itself.
fn job(arguments: &[&str]) -> Command {
    let mut command = dm_command();
    command.arg("ci").args(arguments);
    command
}

fn nothing_left(instance: &str) -> Result<(), Failed> {
    let output = dm_command()
        .args(["down", "--volumes", "--json", "--instance", instance])
        .output()?;
    let removed: Value = serde_json::from_slice(&output.stdout)?;
    for kind in ["components", "volumes", "networks"] {
        assert_eq!(removed[kind], serde_json::json!([]), "{removed}");
    }
    // The shared stack is as it was.
    assert!(dm(&["status", "--check"]).status.success());
    Ok(())
}
