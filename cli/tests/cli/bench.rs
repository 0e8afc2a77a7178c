//! Tests of `dm bench`, which compiles the benchmark program with cargo and executes it. A script
//! replaces cargo.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use dm_bench_request::{BenchRequest, SuiteArguments, UpCase};
use insta::assert_snapshot;

use crate::project::Project;

/// A replacement for cargo. The program that it creates prints its request.
const CARGO: &str = r#"#!/bin/sh
echo "$*" > calls
program="$PWD/dm-bench"
printf '#!/bin/sh\nprintf %%s "$DM_BENCH_REQUEST"\nexit 7\n' > "$program"
/bin/chmod +x "$program"
echo '{"reason":"compiler-artifact","target":{"name":"dm-bench"},"executable":"'"$program"'"}'
"#;

/// A replacement for cargo that reports a compile error.
const BROKEN: &str = r#"#!/bin/sh
printf '%s\n' '{"reason":"compiler-message","target":{"name":"dm_bench"},"message":{"level":"error","message":"cannot find value `x`","rendered":"error: cannot find value `x`\n","code":null,"spans":[{"file_name":"cli/crates/bench/src/lib.rs","line_start":3,"column_start":5,"is_primary":true}]}}'
exit 101
"#;

/// Prepares a call in a project, with this replacement for cargo.
fn call(project: &Project, cargo: &str, arguments: &[&str]) -> Command {
    project.write("bin/cargo", cargo);
    let path = project.root().join("bin");
    let program = path.join("cargo");
    std::fs::set_permissions(program, PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = project.dm(arguments);
    command.env("PATH", path);
    command
}

#[test]
fn bench_executes_the_program_that_cargo_builds() {
    let project = Project::new("");
    let line = "bench up --set postgres.password=secret --case help,golden --rounds 2 --json -q";
    let words: Vec<&str> = line.split(' ').collect();
    let output = call(&project, CARGO, &words).output().unwrap();
    // The exit code is the one of the program, and `dm` prints nothing.
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let request: BenchRequest = serde_json::from_slice(&output.stdout).unwrap();
    assert!(request.dm.path.ends_with("dm"), "{request:?}");
    assert!(request.flags.json && request.flags.quiet, "{request:?}");
    let selection = request.selection;
    assert_eq!(selection.overrides, ["postgres.password=secret"]);
    assert_eq!(selection.instance, "default");
    let root = project.root().canonicalize().unwrap();
    assert_eq!(
        selection.project_directory.unwrap().canonicalize().unwrap(),
        root
    );
    let SuiteArguments::Up(up) = request.suite else {
        panic!("{:?}", request.suite);
    };
    assert_eq!(up.cases, [UpCase::Help, UpCase::Golden]);
    assert_eq!(up.rounds.rounds, 2);
    let calls = std::fs::read_to_string(project.root().join("calls")).unwrap();
    assert_snapshot!(calls, @"build --locked --workspace --target host-tuple --message-format json --bin dm-bench");
}

#[test]
fn bench_without_cargo_says_what_to_install() {
    assert_snapshot!(Project::new("").output_of(&["bench", "up"]), @"
    exit code: 4
    ── stderr
    error[tool-missing]: cargo is required, but not installed: it compiles the benchmarks and is not in PATH

      next: install Rust with rustup, then run the command again
    ");
}

#[test]
fn bench_with_compile_errors_prints_them() {
    let project = Project::new("");
    let report = project.output_of_command(&mut call(&project, BROKEN, &["bench", "data"]));
    for part in [
        "exit code: 4",
        "cannot find value `x`",
        "error[sources-not-compiling]",
    ] {
        assert!(report.contains(part), "{part}:\n{report}");
    }
}
