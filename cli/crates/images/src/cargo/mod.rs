//! Runs cargo with flags that let the compiled services share each dependency with `dm` itself.

mod message;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::error::ImageError;
use super::process;
use super::recipe::Sha256Digest;
use message::CargoOutputLine;

/// The flags that link a binary statically. This variable overrides all other sources of
/// flags, which could undo it: RUSTFLAGS, and cargo's own configuration files. The flags
/// equal those of `.cargo/config.toml`, with which `dm` is built: others would compile
/// every dependency again.
const STATIC_LINK_RUSTFLAGS: (&str, &str) =
    ("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static");

/// Cargo's name for the target of this machine. It is passed explicitly, so that the flags
/// apply neither to build scripts nor to macros.
const HOST_TARGET: &str = "host-tuple";

/// Cargo in the workspace of a project.
#[derive(Debug)]
pub struct Cargo<'a> {
    /// The path of cargo.
    pub program: PathBuf,
    /// The directory of the workspace.
    pub workspace_root: &'a Path,
    /// The cache directory of `dm`. It contains the target directory if the workspace cannot.
    pub cache_dir: &'a Path,
    /// Features of packages, e.g. `dm-kit/fail-points`.
    pub features: &'a [&'a str],
    /// Ends the build.
    pub cancel: &'a CancellationToken,
}

impl Cargo<'_> {
    /// Compiles stale binaries of the workspace and returns the path of each. `on_progress`
    /// receives the number of finished crates, build scripts and runs of them, and the total;
    /// it is not called if everything is fresh.
    ///
    /// # Errors
    /// Returns [`ImageError::Compile`] with the errors of the compiler,
    /// [`ImageError::Program`] if cargo fails, and [`ImageError::Cancelled`] on cancellation.
    pub async fn build(
        &self,
        binaries: &[String],
        on_progress: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<BTreeMap<String, PathBuf>, ImageError> {
        let mut command = Command::new(&self.program);
        command
            .current_dir(self.workspace_root)
            // The whole workspace at once, as for `dm` itself: cargo unifies the features of
            // the packages that it builds, and would compile most dependencies again for
            // another selection.
            .args(["build", "--locked", "--workspace", "--target", HOST_TARGET])
            .args(["--message-format", "json"])
            .args(binaries.iter().flat_map(|name| ["--bin", name.as_str()]))
            .env(STATIC_LINK_RUSTFLAGS.0, STATIC_LINK_RUSTFLAGS.1)
            // Only cargo's progress bar contains the total.
            .env("CARGO_TERM_COLOR", "never")
            .env("CARGO_TERM_PROGRESS_WHEN", "always")
            .env("CARGO_TERM_PROGRESS_WIDTH", "80");
        if let Some(directory) = fallback_target_dir(self.workspace_root, self.cache_dir) {
            command.arg("--target-dir").arg(directory);
        }
        for feature in self.features {
            command.args(["--features", feature]);
        }
        let mut executables = BTreeMap::new();
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
                        executables.insert(target, executable);
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
        // Cargo may also report build scripts as executables.
        executables.retain(|name, _| binaries.contains(name));
        match binaries
            .iter()
            .find(|name| !executables.contains_key(*name))
        {
            None => Ok(executables),
            Some(name) => Err(ImageError::Program {
                program: "cargo".into(),
                reason: format!("no binary `{name}` was produced"),
                log: Vec::new(),
                hints: vec!["dm doctor".into()],
            }),
        }
    }
}

/// Returns the target directory for a workspace that cannot contain its own: cargo refuses
/// to build below a path with a colon, which separates paths in its variables.
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

/// Creates a workspace of one program, whose cargo configuration disables static linking.
#[cfg(test)]
pub(crate) fn temp_workspace(program: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
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
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    directory
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// Returns the cargo that runs the test, in this workspace.
    fn own_cargo<'a>(workspace_root: &'a Path, cancel: &'a CancellationToken) -> Cargo<'a> {
        Cargo {
            program: env!("CARGO").into(),
            workspace_root,
            cache_dir: workspace_root,
            features: &[],
            cancel,
        }
    }

    #[tokio::test]
    async fn build_finds_rustc_outside_the_directory_of_cargo() {
        let (project, cancel) = (temp_workspace("tool"), CancellationToken::new());
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("cargo");
        std::os::unix::fs::symlink(env!("CARGO"), &program).unwrap();
        let cargo = Cargo {
            program,
            ..own_cargo(project.path(), &cancel)
        };
        let built = cargo.build(&["tool".to_owned()], &|_, _| {}).await.unwrap();
        assert!(built["tool"].is_file());
    }

    #[tokio::test]
    async fn build_of_fresh_binaries_reports_no_progress() {
        let (project, cancel) = (temp_workspace("tool"), CancellationToken::new());
        let cargo = own_cargo(project.path(), &cancel);
        let tool = ["tool".to_owned()];
        let built = cargo.build(&tool, &|_, _| {}).await.unwrap();
        assert!(built["tool"].is_file());
        let has_work = AtomicBool::new(false);
        let progress = |_, _| has_work.store(true, Ordering::Relaxed);
        assert_eq!(cargo.build(&tool, &progress).await.unwrap(), built);
        assert!(!has_work.into_inner());
        let error = cargo.build(&["other".to_owned()], &|_, _| {}).await;
        assert!(
            matches!(error, Err(ImageError::Program { .. })),
            "{error:?}"
        );
    }

    #[test]
    fn static_link_flags_match_the_build_of_dm() {
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
    fn workspace_path_with_a_colon_gets_a_fallback_target_dir() {
        let cache = Path::new("/cache");
        let target_dir = |root: &str| fallback_target_dir(Path::new(root), cache);
        if std::env::var_os("CARGO_TARGET_DIR").is_none() {
            assert_eq!(target_dir("/home/jim/dm"), None);
            assert!(
                target_dir("/home/jim/a:b")
                    .unwrap()
                    .starts_with("/cache/target")
            );
            assert_ne!(target_dir("/home/jim/a:b"), target_dir("/home/jim/a:c"));
        }
    }
}
