//! Tests of the launcher `./dm`: it rebuilds a stale binary, from any directory and with any
//! environment. A script replaces cargo and puts the program where cargo would.

use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tempfile::TempDir;

/// A replacement for cargo. The program that it creates prints its project directory and its
/// arguments.
const CARGO: &str = r#"#!/usr/bin/env bash
set -euo pipefail
printf '%s\n' "$*" >> "$CALLS-arguments"
while [[ $# -gt 0 ]]; do
    case $1 in --manifest-path) manifest=$2 ;; esac
    shift
done
echo "$CARGO_ENCODED_RUSTFLAGS for $CARGO_BUILD_TARGET" >> "$CALLS"
printf '   Compiling dm v0.1.0\n    Building [==>   ] 1/2: dm\r' >&2
[[ -z ${WARNING:-} ]] || echo "warning: $WARNING" >&2
[[ -z ${BROKEN:-} ]] || exit 101
root=$(dirname -- "$manifest")
target=${CARGO_TARGET_DIR:-$root/target}
program=$target/${CARGO_BUILD_TARGET:+$CARGO_BUILD_TARGET/}debug/dm
mkdir -p -- "$(dirname -- "$program")"
printf '#!/bin/sh\necho "$DM_PROJECT_DIR $*"\n' > "$program"
chmod +x -- "$program"
printf '{"reason":"compiler-artifact","target":{"name":"dm"},"executable":"%s"}\n' "$program"
printf '{"reason":"build-finished","success":true}\n'
"#;

/// Returns the root directory of this repository.
fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A clone with the launcher and the files that it inspects.
struct Clone {
    directory: TempDir,
    root: PathBuf,
}

impl Clone {
    fn new() -> Self {
        Self::named("clone")
    }

    fn named(name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().canonicalize().unwrap();
        let clone = Self {
            root: base.join(name),
            directory,
        };
        for file in ["Cargo.toml", "Cargo.lock", "cli/src/main.rs"] {
            clone.write(file, "");
        }
        for file in ["dm", "scripts/build-environment.sh"] {
            let text = std::fs::read_to_string(repository().join(file)).unwrap();
            clone.write(file, &text);
        }
        let cargo = base.join("bin/cargo");
        std::fs::create_dir_all(cargo.parent().unwrap()).unwrap();
        std::fs::write(&cargo, CARGO).unwrap();
        std::fs::set_permissions(&cargo, PermissionsExt::from_mode(0o755)).unwrap();
        for package in packages() {
            clone.write(&format!("{package}/Cargo.toml"), "");
            clone.write(&format!("{package}/src/lib.rs"), "");
        }
        clone.write("cli/crates/images/recipes/postgres/Dockerfile", "");
        clone
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Prepares a call of the launcher under this path, in this directory.
    fn call(&self, launcher: &Path, from: &Path) -> Command {
        let bin = self.directory.path().join("bin");
        let mut command = Command::new("bash");
        command
            .arg(launcher)
            .arg("hello")
            .current_dir(from)
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .env("HOME", self.directory.path())
            .env("CALLS", self.directory.path().join("calls"));
        command
    }

    /// Prepares a call from the root of the clone.
    fn default_call(&self) -> Command {
        self.call(&self.root.join("dm"), &self.root)
    }

    /// Asserts that a call executes the program of this clone.
    #[track_caller]
    fn assert_runs(&self, command: &mut Command) {
        let output = command.output().unwrap();
        let expected = format!("{} hello\n", self.root.display());
        assert_eq!(text(&output), expected, "{output:?}");
    }

    fn count_builds(&self) -> usize {
        std::fs::read_to_string(self.directory.path().join("calls"))
            .map_or(0, |calls| calls.lines().count())
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Returns the directories of the packages that `dm` consists of, as cargo reports them.
fn packages() -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(repository())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let local = |name: &str| packages.iter().find(|package| package["name"] == name);
    let (mut found, mut pending) = (BTreeSet::new(), vec!["dm".to_owned()]);
    while let Some(name) = pending.pop() {
        let Some(package) = local(&name) else {
            continue;
        };
        let manifest = Path::new(package["manifest_path"].as_str().unwrap());
        let directory = manifest.parent().unwrap();
        let directory = directory.strip_prefix(repository()).unwrap();
        if found.insert(directory.display().to_string()) {
            let needed = package["dependencies"].as_array().unwrap().iter();
            let needed = needed.filter(|dependency| {
                dependency["kind"].is_null() && dependency["path"].is_string()
            });
            pending
                .extend(needed.map(|dependency| dependency["name"].as_str().unwrap().to_owned()));
        }
    }
    found
}

#[test]
fn launcher_without_changes_builds_once() {
    let clone = Clone::new();
    clone.assert_runs(&mut clone.default_call());
    clone.assert_runs(&mut clone.default_call());
    assert_eq!(clone.count_builds(), 1);
}

#[test]
fn launcher_rebuilds_after_a_change_in_any_package() {
    let clone = Clone::new();
    clone.assert_runs(&mut clone.default_call());
    let stamp = clone.root.join("target/.dm-built");
    let mut files: Vec<String> = packages()
        .iter()
        .flat_map(|package| ["Cargo.toml", "src/lib.rs"].map(|file| format!("{package}/{file}")))
        .collect();
    let others = [
        "Cargo.toml",
        "Cargo.lock",
        ".cargo/config.toml",
        "cli/crates/images/recipes/new",
        "fixtures/demo/avatars/jhalpert.png",
    ];
    files.extend(others.map(str::to_owned));
    assert!(files.contains(&"services/amqp/src/lib.rs".to_owned()));
    assert!(files.contains(&"cli/crates/history/src/lib.rs".to_owned()));
    for (number, file) in files.iter().enumerate() {
        // The stamp is newer than all files except the changed one, even if the clock is
        // inaccurate.
        std::fs::File::open(&stamp)
            .and_then(|stamp| stamp.set_modified(SystemTime::now() + Duration::from_secs(60)))
            .unwrap();
        clone.assert_runs(&mut clone.default_call());
        assert_eq!(clone.count_builds(), 1 + number, "before {file}");
        clone.write(file, "changed");
        std::fs::File::open(clone.root.join(file))
            .and_then(|file| file.set_modified(SystemTime::now() + Duration::from_secs(120)))
            .unwrap();
        clone.assert_runs(&mut clone.default_call());
        assert_eq!(clone.count_builds(), 2 + number, "{file} is not inspected");
        std::fs::File::open(clone.root.join(file))
            .and_then(|file| file.set_modified(SystemTime::UNIX_EPOCH))
            .unwrap();
    }
}

#[test]
fn launcher_builds_the_services_of_a_fresh_clone_only() {
    let clone = Clone::new();
    clone.assert_runs(&mut clone.default_call());
    clone.write("cli/src/main.rs", "changed");
    std::fs::File::open(clone.root.join("cli/src/main.rs"))
        .and_then(|file| file.set_modified(SystemTime::now() + Duration::from_secs(120)))
        .unwrap();
    clone.assert_runs(&mut clone.default_call());
    let calls = clone.directory.path().join("calls-arguments");
    let calls = std::fs::read_to_string(calls).unwrap();
    let programs: Vec<_> = calls
        .lines()
        .map(|call| (call.contains(" --bins "), call.contains(" --bin dm ")))
        .collect();
    assert_eq!(programs, [(true, false), (false, true)], "{calls}");
}

#[test]
fn launcher_works_through_symlinks_and_from_any_directory() {
    let clone = Clone::new();
    let bin = clone.directory.path().join("links");
    std::fs::create_dir(&bin).unwrap();
    symlink(clone.root.join("dm"), bin.join("one")).unwrap();
    symlink("one", bin.join("dm")).unwrap();
    clone.assert_runs(&mut clone.call(&bin.join("dm"), Path::new("/")));
    // Through a link to the directory.
    symlink(&clone.root, bin.join("directory")).unwrap();
    clone.assert_runs(&mut clone.call(&bin.join("directory/dm"), Path::new("/")));
    clone.assert_runs(&mut clone.call(Path::new("dm"), &clone.root));
    let parent = clone.root.parent().unwrap();
    let mut command = clone.call(Path::new("clone/dm"), parent);
    clone.assert_runs(command.env("CDPATH", parent));
    assert_eq!(clone.count_builds(), 1);
}

#[test]
fn launcher_overrides_target_and_rustflags_of_the_environment() {
    let clone = Clone::new();
    let mut command = clone.default_call();
    command.env("CARGO_BUILD_TARGET", "aarch64-unknown-linux-musl");
    command.env("RUSTFLAGS", "-Ctarget-feature=-crt-static");
    clone.assert_runs(&mut command);
    clone.assert_runs(&mut clone.default_call());
    let calls = std::fs::read_to_string(clone.directory.path().join("calls")).unwrap();
    assert_eq!(calls, "-Ctarget-feature=+crt-static for host-tuple\n");
    // The target directory is the same for every calling directory.
    let sub = clone.root.join("cli");
    for from in [&clone.root, &sub] {
        let mut command = clone.call(&clone.root.join("dm"), from);
        clone.assert_runs(command.env("CARGO_TARGET_DIR", "elsewhere"));
    }
    assert_eq!(clone.count_builds(), 2);
    assert!(clone.root.join("elsewhere/host-tuple/debug/dm").is_file());
}

#[test]
fn clones_sharing_a_target_directory_run_their_own_program() {
    let (one, other) = (Clone::new(), Clone::new());
    let shared = tempfile::tempdir().unwrap();
    for clone in [&one, &other, &one] {
        clone.assert_runs(clone.default_call().env("CARGO_TARGET_DIR", shared.path()));
    }
    assert_eq!((one.count_builds(), other.count_builds()), (2, 1));
}

#[test]
fn launcher_works_in_directories_with_special_characters() {
    for name in [
        "with spaces",
        "with:a:colon",
        "Größe 大きさ",
        "it's $HOME;`x`",
    ] {
        let clone = Clone::named(name);
        clone.assert_runs(&mut clone.default_call());
        clone.assert_runs(&mut clone.default_call());
        assert_eq!(clone.count_builds(), 1, "{name}");
        assert_eq!(clone.root.join("target").exists(), !name.contains(':'));
    }
}

#[test]
fn launcher_prints_only_its_notice_and_warnings() {
    let clone = Clone::new();
    let output = clone.default_call().output().unwrap();
    let written = String::from_utf8_lossy(&output.stderr);
    // Without a terminal there is no progress bar.
    assert_eq!(
        written,
        "dm: building dm and the services (some minutes the first time)\n"
    );
    let warned = clone
        .default_call()
        .env("WARNING", "careful")
        .output()
        .unwrap();
    assert_eq!(warned.stderr, b"", "the launcher built again");
    clone.write("cli/src/main.rs", "changed");
    std::fs::File::open(clone.root.join("cli/src/main.rs"))
        .and_then(|file| file.set_modified(SystemTime::now() + Duration::from_secs(120)))
        .unwrap();
    let warned = clone
        .default_call()
        .env("WARNING", "careful")
        .output()
        .unwrap();
    let written = String::from_utf8_lossy(&warned.stderr);
    assert!(written.ends_with("warning: careful\n"), "{written}");
}

#[test]
fn failed_build_leaves_no_program() {
    let clone = Clone::new();
    for _ in 0..2 {
        let output = clone.default_call().env("BROKEN", "yes").output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("could not build dm"), "{stderr}");
        let left = std::fs::read_dir(clone.root.join("target")).unwrap();
        assert_eq!(left.count(), 0);
    }
    clone.assert_runs(&mut clone.default_call());
}

#[test]
fn launcher_without_cargo_says_what_to_install() {
    let clone = Clone::new();
    // The directories in the usual PATH may contain a real cargo.
    let bin = tempfile::tempdir().unwrap();
    for tool in ["bash", "readlink"] {
        symlink(Path::new("/usr/bin").join(tool), bin.path().join(tool)).unwrap();
    }
    let output = clone
        .default_call()
        .env("PATH", bin.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("install Rust"), "{stderr}");
}

#[test]
fn gitattributes_force_lf_line_endings() {
    // Git obeys this file even if `core.autocrlf` is set. Scripts with CRLF do not run in
    // containers.
    let attributes = std::fs::read_to_string(repository().join(".gitattributes")).unwrap();
    assert!(attributes.contains("* text=auto eol=lf"), "{attributes}");
}
