//! `./dm`: it builds what is stale, wherever it is called from and whatever is set.
//! A stand-in takes cargo's place, and puts the program where cargo would.

use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tempfile::TempDir;

/// Cargo, as far as the launcher sees it. The program that it makes says who it is.
const CARGO: &str = r#"#!/usr/bin/env bash
set -euo pipefail
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

/// The folders of this repository.
fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A clone with the launcher and what it looks at.
struct Clone {
    folder: TempDir,
    root: PathBuf,
}

impl Clone {
    fn new() -> Self {
        Self::called("clone")
    }

    fn called(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        let clone = Self {
            root: base.join(name),
            folder,
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

    /// A call of the launcher by this path, from this folder.
    fn call(&self, launcher: &Path, from: &Path) -> Command {
        let bin = self.folder.path().join("bin");
        let mut command = Command::new("bash");
        command
            .arg(launcher)
            .arg("hello")
            .current_dir(from)
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .env("HOME", self.folder.path())
            .env("CALLS", self.folder.path().join("calls"));
        command
    }

    /// A call as usual.
    fn usual(&self) -> Command {
        self.call(&self.root.join("dm"), &self.root)
    }

    /// Expects that a call becomes the program of this clone.
    #[track_caller]
    fn becomes(&self, command: &mut Command) {
        let output = command.output().unwrap();
        let expected = format!("{} hello\n", self.root.display());
        assert_eq!(text(&output), expected, "{output:?}");
    }

    fn builds(&self) -> usize {
        std::fs::read_to_string(self.folder.path().join("calls"))
            .map_or(0, |calls| calls.lines().count())
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The folders of the packages that dm is made of, as cargo knows them.
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
    let local = |name: &str| packages.iter().find(|it| it["name"] == name);
    let (mut found, mut due) = (BTreeSet::new(), vec!["dm".to_owned()]);
    while let Some(name) = due.pop() {
        let Some(package) = local(&name) else {
            continue;
        };
        let manifest = Path::new(package["manifest_path"].as_str().unwrap());
        let folder = manifest.parent().unwrap();
        let folder = folder.strip_prefix(repository()).unwrap();
        if found.insert(folder.display().to_string()) {
            let needed = package["dependencies"].as_array().unwrap().iter();
            let needed = needed.filter(|it| it["kind"].is_null() && it["path"].is_string());
            due.extend(needed.map(|it| it["name"].as_str().unwrap().to_owned()));
        }
    }
    found
}

#[test]
fn it_builds_once() {
    let clone = Clone::new();
    clone.becomes(&mut clone.usual());
    clone.becomes(&mut clone.usual());
    assert_eq!(clone.builds(), 1);
}

#[test]
fn a_change_of_any_package_of_it_is_seen() {
    let clone = Clone::new();
    clone.becomes(&mut clone.usual());
    let stamp = clone.root.join("target/.dm-built");
    let mut files: Vec<String> = packages()
        .iter()
        .flat_map(|package| ["Cargo.toml", "src/lib.rs"].map(|file| format!("{package}/{file}")))
        .collect();
    files.extend(["Cargo.toml", "Cargo.lock", "cli/crates/images/recipes/new"].map(str::to_owned));
    assert!(files.contains(&"services/amqp/src/lib.rs".to_owned()));
    assert!(files.contains(&"cli/crates/business/src/lib.rs".to_owned()));
    for (number, file) in files.iter().enumerate() {
        // Older than all but the change, whatever the clock's steps.
        std::fs::File::open(&stamp)
            .and_then(|stamp| stamp.set_modified(SystemTime::now() + Duration::from_secs(60)))
            .unwrap();
        clone.becomes(&mut clone.usual());
        assert_eq!(clone.builds(), 1 + number, "before {file}");
        clone.write(file, "changed");
        std::fs::File::open(clone.root.join(file))
            .and_then(|it| it.set_modified(SystemTime::now() + Duration::from_secs(120)))
            .unwrap();
        clone.becomes(&mut clone.usual());
        assert_eq!(clone.builds(), 2 + number, "{file} is not looked at");
        std::fs::File::open(clone.root.join(file))
            .and_then(|it| it.set_modified(SystemTime::UNIX_EPOCH))
            .unwrap();
    }
}

#[test]
fn it_is_called_by_links_and_from_anywhere() {
    let clone = Clone::new();
    let bin = clone.folder.path().join("links");
    std::fs::create_dir(&bin).unwrap();
    symlink(clone.root.join("dm"), bin.join("one")).unwrap();
    symlink("one", bin.join("dm")).unwrap();
    clone.becomes(&mut clone.call(&bin.join("dm"), Path::new("/")));
    // By a folder that is a link.
    symlink(&clone.root, bin.join("folder")).unwrap();
    clone.becomes(&mut clone.call(&bin.join("folder/dm"), Path::new("/")));
    clone.becomes(&mut clone.call(Path::new("dm"), &clone.root));
    let parent = clone.root.parent().unwrap();
    let mut command = clone.call(Path::new("clone/dm"), parent);
    clone.becomes(command.env("CDPATH", parent));
    assert_eq!(clone.builds(), 1);
}

#[test]
fn settings_of_cargo_do_not_mislead_it() {
    let clone = Clone::new();
    let mut command = clone.usual();
    command.env("CARGO_BUILD_TARGET", "aarch64-unknown-linux-musl");
    command.env("RUSTFLAGS", "-Ctarget-feature=-crt-static");
    clone.becomes(&mut command);
    clone.becomes(&mut clone.usual());
    let calls = std::fs::read_to_string(clone.folder.path().join("calls")).unwrap();
    assert_eq!(calls, "-Ctarget-feature=+crt-static for host-tuple\n");
    // The same folder, wherever it is called from.
    let sub = clone.root.join("cli");
    for from in [&clone.root, &sub] {
        let mut command = clone.call(&clone.root.join("dm"), from);
        clone.becomes(command.env("CARGO_TARGET_DIR", "elsewhere"));
    }
    assert_eq!(clone.builds(), 2);
    assert!(clone.root.join("elsewhere/host-tuple/debug/dm").is_file());
}

#[test]
fn two_clones_may_share_a_target_folder() {
    let (one, other) = (Clone::new(), Clone::new());
    let shared = tempfile::tempdir().unwrap();
    for clone in [&one, &other, &one] {
        clone.becomes(clone.usual().env("CARGO_TARGET_DIR", shared.path()));
    }
    assert_eq!((one.builds(), other.builds()), (2, 1));
}

#[test]
fn unusual_paths_work() {
    for name in [
        "with spaces",
        "with:a:colon",
        "Größe 大きさ",
        "it's $HOME;`x`",
    ] {
        let clone = Clone::called(name);
        clone.becomes(&mut clone.usual());
        clone.becomes(&mut clone.usual());
        assert_eq!(clone.builds(), 1, "{name}");
        assert_eq!(clone.root.join("target").exists(), !name.contains(':'));
    }
}

#[test]
fn a_build_says_what_matters_alone() {
    let clone = Clone::new();
    let output = clone.usual().output().unwrap();
    let written = String::from_utf8_lossy(&output.stderr);
    // No terminal, no progress bar.
    assert_eq!(
        written,
        "dm: building dm and the services (some minutes the first time)\n"
    );
    let warned = clone.usual().env("WARNING", "careful").output().unwrap();
    assert_eq!(warned.stderr, b"", "nothing is built");
    clone.write("cli/src/main.rs", "changed");
    std::fs::File::open(clone.root.join("cli/src/main.rs"))
        .and_then(|it| it.set_modified(SystemTime::now() + Duration::from_secs(120)))
        .unwrap();
    let warned = clone.usual().env("WARNING", "careful").output().unwrap();
    let written = String::from_utf8_lossy(&warned.stderr);
    assert!(written.ends_with("warning: careful\n"), "{written}");
}

#[test]
fn a_build_that_fails_leaves_no_program() {
    let clone = Clone::new();
    for _ in 0..2 {
        let output = clone.usual().env("BROKEN", "yes").output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains("could not build dm"), "{told}");
        let left = std::fs::read_dir(clone.root.join("target")).unwrap();
        assert_eq!(left.count(), 0);
    }
    clone.becomes(&mut clone.usual());
}

#[test]
fn without_cargo_it_says_what_to_install() {
    let clone = Clone::new();
    // This machine may have one of its own.
    let bin = tempfile::tempdir().unwrap();
    for tool in ["bash", "readlink"] {
        symlink(Path::new("/usr/bin").join(tool), bin.path().join(tool)).unwrap();
    }
    let output = clone.usual().env("PATH", bin.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("install Rust"), "{told}");
}

#[test]
fn every_file_has_line_ends_that_containers_can_read() {
    // A checkout with core.autocrlf obeys this.
    let attributes = std::fs::read_to_string(repository().join(".gitattributes")).unwrap();
    assert!(attributes.contains("* text=auto eol=lf"), "{attributes}");
}
