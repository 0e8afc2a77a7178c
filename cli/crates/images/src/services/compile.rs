//! Cargo, once for all services.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::super::error::ImageError;
use super::super::process;
use super::super::progress::{Progress, Update};
use super::super::recipe::Digest;
use super::SERVICES;
use super::message::Line;

/// What makes a binary need nothing beside itself. This variable wins over all other
/// places of flags, which could take it back: RUSTFLAGS, and cargo's own files of
/// configuration. They are the flags of `.cargo/config.toml`, which `dm` is built with:
/// with others every dependency would be compiled again.
const FLAGS: (&str, &str) = ("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static");

/// This machine's own target, as cargo calls it. Named, so that the flags concern neither
/// build scripts nor macros.
const TARGET: &str = "host-tuple";

/// The feature that gives services their fail points.
const FAIL_POINTS: &str = "dm-kit/fail-points";

/// Cargo in a project.
pub(super) struct Compiler<'a> {
    pub(super) cargo: PathBuf,
    pub(super) root: &'a Path,
    /// The folder of what cargo makes, where not its own choice.
    pub(super) target: Option<PathBuf>,
    pub(super) fail_points: bool,
    pub(super) progress: &'a dyn Progress,
    pub(super) cancel: &'a CancellationToken,
}

impl Compiler<'_> {
    /// Compiles the services. Answers the binary of each.
    pub(super) async fn compile<'n>(
        &self,
        names: &[&'n str],
    ) -> Result<BTreeMap<&'n str, PathBuf>, ImageError> {
        let mut command = Command::new(&self.cargo);
        command
            .current_dir(self.root)
            // All of the workspace at once, whichever changed, as for `dm` itself: cargo
            // unifies the features of what it is asked to build, and would compile most
            // dependencies again for another choice of packages.
            .args(["build", "--locked", "--workspace", "--target", TARGET])
            .args(["--message-format", "json"])
            .args(
                names
                    .iter()
                    .flat_map(|name| ["--bin".to_owned(), binary(name)]),
            )
            .env(FLAGS.0, FLAGS.1)
            // How much there is to do is in cargo's progress bar alone.
            .env("CARGO_TERM_COLOR", "never")
            .env("CARGO_TERM_PROGRESS_WHEN", "always")
            .env("CARGO_TERM_PROGRESS_WIDTH", "80");
        if let Some(folder) = &self.target {
            command.arg("--target-dir").arg(folder);
        }
        if self.fail_points {
            command.args(["--features", FAIL_POINTS]);
        }
        self.progress.working(SERVICES, Update::doing("compiling"));
        let mut found = BTreeMap::new();
        let (mut targets, mut errors) = (BTreeSet::new(), Vec::new());
        let built = process::run_filtered("cargo", command, self.cancel, |line| {
            match Line::parse(line) {
                Line::Text => return true,
                Line::Other => {}
                Line::Bar { done, total } => {
                    let update = Update::doing("compiling").steps(done, total);
                    self.progress.working(SERVICES, update);
                }
                Line::Wrong { target, error } => {
                    targets.insert(target);
                    errors.push(error);
                }
                Line::Made { target, executable } => {
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
        names
            .iter()
            .map(|&name| match found.remove(&binary(name)) {
                Some(path) => Ok((name, path)),
                None => Err(ImageError::Program {
                    program: "cargo".into(),
                    reason: format!("it made no binary of service {name}"),
                    log: Vec::new(),
                    hints: vec!["dm doctor".into()],
                }),
            })
            .collect()
    }
}

/// The folder of what cargo makes, where the usual one can't be: cargo refuses to build
/// below a colon, which separates paths in its variables.
pub(super) fn target_folder(root: &Path, cache: &Path) -> Option<PathBuf> {
    let is_set = std::env::var_os("CARGO_TARGET_DIR").is_some();
    let name = root.as_os_str().as_encoded_bytes();
    if is_set || !name.contains(&b':') {
        return None;
    }
    Some(cache.join("target").join(Digest::of(name).short()))
}

/// The package of a service and its binary: only the gateway goes by its bare name.
fn binary(name: &str) -> String {
    match name {
        "gateway" => name.to_owned(),
        _ => format!("{name}-service"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::progress::Silent;
    use super::super::elf;
    use super::*;

    /// A project of one service, whose configuration of cargo takes static linking back.
    fn project() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let flags = r#"rustflags = ["-Ctarget-feature=-crt-static"]"#;
        let files = [
            (
                "Cargo.toml",
                "[package]\nname = \"gateway\"\nversion = \"0.1.0\"\nedition = \"2024\"\n"
                    .to_owned(),
            ),
            (
                "Cargo.lock",
                "version = 4\n[[package]]\nname = \"gateway\"\nversion = \"0.1.0\"\n".to_owned(),
            ),
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

    #[tokio::test]
    async fn binaries_are_static_whatever_is_configured() {
        let project = project();
        let cancel = CancellationToken::new();
        let compiler = Compiler {
            cargo: env!("CARGO").into(),
            root: project.path(),
            target: Some(project.path().join("target")),
            fail_points: false,
            progress: &Silent,
            cancel: &cancel,
        };
        let binaries = compiler.compile(&["gateway"]).await.unwrap();
        let program = std::fs::read(&binaries["gateway"]).unwrap();
        assert_eq!(elf::interpreter(&program), Ok(None));
    }

    #[test]
    fn the_flags_are_those_that_dm_is_built_with() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
        let config = read(".cargo/config.toml");
        assert!(
            config.contains(&format!("rustflags = [\"{}\"]", FLAGS.1)),
            "{config}"
        );
        assert!(
            config.contains(&format!("target = \"{TARGET}\"")),
            "{config}"
        );
        let environment = read("scripts/build-environment.sh");
        for (variable, value) in [FLAGS, ("CARGO_BUILD_TARGET", TARGET)] {
            let line = format!("export {variable}={value}\n");
            assert!(environment.contains(&line), "{environment}");
        }
    }

    #[test]
    fn a_path_that_cargo_refuses_gets_another_target_folder() {
        let cache = Path::new("/cache");
        let of = |root: &str| target_folder(Path::new(root), cache);
        if std::env::var_os("CARGO_TARGET_DIR").is_none() {
            assert_eq!(of("/home/jim/dm"), None);
            assert!(of("/home/jim/a:b").unwrap().starts_with("/cache/target"));
            assert_ne!(of("/home/jim/a:b"), of("/home/jim/a:c"));
        }
    }
}
