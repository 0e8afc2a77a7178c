//! Cargo, as `dm` runs it: what it compiles shares each dependency with `dm` itself.

mod message;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::error::ImageError;
use super::process;
use super::recipe::Sha256Digest;
use message::CargoOutputLine;

/// What makes a binary need nothing beside itself. This variable wins over all other
/// places of flags, which could take it back: RUSTFLAGS, and cargo's own files of
/// configuration. They are the flags of `.cargo/config.toml`, which `dm` is built with:
/// with others every dependency would be compiled again.
const STATIC_LINK_RUSTFLAGS: (&str, &str) =
    ("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static");

/// This machine's own target, as cargo calls it. Named, so that the flags concern neither
/// build scripts nor macros.
const HOST_TARGET: &str = "host-tuple";

/// Cargo in the workspace of a project.
#[derive(Debug)]
pub struct Cargo<'a> {
    /// The program.
    pub program: PathBuf,
    /// The folder of the workspace.
    pub workspace_root: &'a Path,
    /// The folder of `dm` for what can be made again. It gets what cargo makes where the
    /// workspace can't have it.
    pub cache_dir: &'a Path,
    /// Features of packages, e.g. `dm-kit/fail-points`.
    pub features: &'a [&'a str],
    /// Ends the build.
    pub cancel: &'a CancellationToken,
}

impl Cargo<'_> {
    /// Compiles binaries of the workspace, where they are stale. Answers the path of each.
    /// `progress` gets how many crates, build scripts and runs of them are done, and of how
    /// many; it is not called where there is nothing to do.
    ///
    /// # Errors
    /// [`ImageError::Compile`] with what the compiler found; cargo failed; cancellation.
    pub async fn build(
        &self,
        binaries: &[String],
        on_progress: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<BTreeMap<String, PathBuf>, ImageError> {
        let mut command = Command::new(&self.program);
        command
            .current_dir(self.workspace_root)
            // All of the workspace at once, whichever changed, as for `dm` itself: cargo
            // unifies the features of what it is asked to build, and would compile most
            // dependencies again for another choice of packages.
            .args(["build", "--locked", "--workspace", "--target", HOST_TARGET])
            .args(["--message-format", "json"])
            .args(binaries.iter().flat_map(|name| ["--bin", name.as_str()]))
            .env(STATIC_LINK_RUSTFLAGS.0, STATIC_LINK_RUSTFLAGS.1)
            // How much there is to do is in cargo's progress bar alone.
            .env("CARGO_TERM_COLOR", "never")
            .env("CARGO_TERM_PROGRESS_WHEN", "always")
            .env("CARGO_TERM_PROGRESS_WIDTH", "80");
        if let Some(folder) = fallback_target_dir(self.workspace_root, self.cache_dir) {
            command.arg("--target-dir").arg(folder);
        }
        for feature in self.features {
            command.args(["--features", feature]);
        }
        let mut found = BTreeMap::new();
        let (mut targets, mut errors) = (BTreeSet::new(), Vec::new());
        let built = process::run_program_filtered("cargo", command, self.cancel, |line| {
            match CargoOutputLine::parse(line) {
                CargoOutputLine::Text => return true,
                CargoOutputLine::Other => {}
                CargoOutputLine::Progress { done, total } => on_progress(done, total),
                CargoOutputLine::CompileError { target, error } => {
                    targets.insert(target);
                    errors.push(error);
                }
                CargoOutputLine::Artifact { target, executable } => {
                    if let Some(executable) = executable {
                        found.insert(target, executable);
                    }
                }
            }
            false
        })
        .await;
        match built {
            Err(ImageError::Program { .. }) if !errors.is_empty() => {
                return Err(ImageError::Compile {
                    targets: targets.into_iter().collect(),
                    errors,
                });
            }
            built => built?,
        }
        // Build scripts may be told as executables, too.
        found.retain(|name, _| binaries.contains(name));
        match binaries.iter().find(|name| !found.contains_key(*name)) {
            None => Ok(found),
            Some(name) => Err(ImageError::Program {
                program: "cargo".into(),
                reason: format!("no binary `{name}` was produced"),
                log: Vec::new(),
                hints: vec!["dm doctor".into()],
            }),
        }
    }
}

/// The folder of what cargo makes, where the usual one can't be: cargo refuses to build
/// below a colon, which separates paths in its variables.
fn fallback_target_dir(root: &Path, cache: &Path) -> Option<PathBuf> {
    let is_set = std::env::var_os("CARGO_TARGET_DIR").is_some();
    let name = root.as_os_str().as_encoded_bytes();
    if is_set || !name.contains(&b':') {
        return None;
    }
    Some(
        cache
            .join("target")
            .join(Sha256Digest::compute(name).short_hex()),
    )
}

/// A workspace of one program, whose configuration of cargo takes static linking back.
#[cfg(test)]
pub(crate) fn temp_workspace(program: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let flags = r#"rustflags = ["-Ctarget-feature=-crt-static"]"#;
    let package = format!("name = \"{program}\"\nversion = \"0.1.0\"\n");
    let files = [
        (
            "Cargo.toml",
            format!("[package]\n{package}edition = \"2024\"\n"),
        ),
        ("Cargo.lock", format!("version = 4\n[[package]]\n{package}")),
        ("src/main.rs", "fn main() {}\n".to_owned()),
        (
            ".cargo/config.toml",
            format!("[build]\n{flags}\n[target.'cfg(all())']\n{flags}\n"),
        ),
    ];
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn what_is_fresh_is_found_without_a_word() {
        let (project, cancel) = (temp_workspace("tool"), CancellationToken::new());
        let cargo = Cargo {
            program: env!("CARGO").into(),
            workspace_root: project.path(),
            cache_dir: project.path(),
            features: &[],
            cancel: &cancel,
        };
        let tool = ["tool".to_owned()];
        let made = cargo.build(&tool, &|_, _| {}).await.unwrap();
        assert!(made["tool"].is_file());
        let has_work = AtomicBool::new(false);
        let progress = |_, _| has_work.store(true, Ordering::Relaxed);
        assert_eq!(cargo.build(&tool, &progress).await.unwrap(), made);
        assert!(!has_work.into_inner());
        let error = cargo.build(&["other".to_owned()], &|_, _| {}).await;
        assert!(
            matches!(error, Err(ImageError::Program { .. })),
            "{error:?}"
        );
    }

    #[test]
    fn the_flags_are_those_that_dm_is_built_with() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
        let config = read(".cargo/config.toml");
        assert!(
            config.contains(&format!("rustflags = [\"{}\"]", STATIC_LINK_RUSTFLAGS.1)),
            "{config}"
        );
        assert!(
            config.contains(&format!("target = \"{HOST_TARGET}\"")),
            "{config}"
        );
        let environment = read("scripts/build-environment.sh");
        for (variable, value) in [STATIC_LINK_RUSTFLAGS, ("CARGO_BUILD_TARGET", HOST_TARGET)] {
            let line = format!("export {variable}={value}\n");
            assert!(environment.contains(&line), "{environment}");
        }
    }

    #[test]
    fn a_path_that_cargo_refuses_gets_another_target_folder() {
        let cache = Path::new("/cache");
        let of = |root: &str| fallback_target_dir(Path::new(root), cache);
        if std::env::var_os("CARGO_TARGET_DIR").is_none() {
            assert_eq!(of("/home/jim/dm"), None);
            assert!(of("/home/jim/a:b").unwrap().starts_with("/cache/target"));
            assert_ne!(of("/home/jim/a:b"), of("/home/jim/a:c"));
        }
    }
}
