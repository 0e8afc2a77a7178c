//! The Debian base image: bootstrapped on the host and imported, or pulled.

use std::path::{Path, PathBuf};

use dm_engine::Engine;
use dm_engine::images::BuildOptions;
use tokio::process::Command;
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;

use super::build_context::{self, ContextEntry, EntrySource};
use super::error::ImageError;
use super::image_builder::ImageBuilder;
use super::lock::BuildLock;
use super::process::{self, ToolProvider};
use super::progress::{ImageProgress, ProgressUpdate};
use super::recipe::{Recipe, Sha256Digest, recipe_labels};

/// The file in the base's recipe with the arguments of mmdebstrap, one per line: options,
/// then the suite, then `-` for the target.
pub(super) const MMDEBSTRAP_ARGUMENTS: &str = "mmdebstrap.args";
/// The directory in the base's recipe with certificates to trust.
pub(super) const CERTIFICATES_DIR: &str = "certificates";
/// The build argument that carries the Debian mirror.
pub(super) const APT_MIRROR_ARG: &str = "APT_MIRROR";

/// Builds the base image.
pub(super) struct BaseImageBuilder<'a> {
    pub engine: &'a Engine,
    pub tools: &'a dyn ToolProvider,
    pub progress: &'a dyn ImageProgress,
    pub cancel: &'a CancellationToken,
    pub recipe: &'a Recipe,
    pub digest: &'a Sha256Digest,
}

impl BaseImageBuilder<'_> {
    /// Bootstraps a root file system and imports it. Returns the id of the image, which has
    /// no tag yet, and the program that created it. The inner `Err` contains the reason for
    /// each program that cannot be used here.
    pub(super) async fn bootstrap(
        &self,
        lock: &BuildLock,
    ) -> Result<Result<(String, &'static str), Vec<String>>, ImageError> {
        let mut unavailable = Vec::new();
        for tool in ["mmdebstrap", "debootstrap"] {
            if tool == "debootstrap" && !rustix::process::geteuid().is_root() {
                unavailable.push("debootstrap: root privileges are required".to_owned());
                continue;
            }
            let program = match self.tools.ensure_tool(tool).await {
                Ok(program) => program,
                Err(reason) => {
                    unavailable.push(format!("{tool}: {reason}"));
                    continue;
                }
            };
            self.progress.on_progress(
                &self.recipe.name,
                ProgressUpdate::new("bootstrapping").with_detail(tool),
            );
            let root = if tool == "mmdebstrap" {
                self.mmdebstrap(&program, lock).await?
            } else {
                self.debootstrap(&program, lock).await?
            };
            let id = self.import_root_tar(&root, tool).await?;
            return Ok(Ok((id, tool)));
        }
        Ok(Err(unavailable))
    }

    /// Adds labels, certificates and mirror to an image that lacks them. Returns the id of
    /// the result, which has no tag yet.
    pub(super) async fn customize(&self, from: &str, origin: &str) -> Result<String, ImageError> {
        let bootstrapped = origin != super::ORIGIN_PULLED;
        let certificates: Vec<_> = self
            .recipe
            .files
            .iter()
            .filter(|file| file.path.starts_with(CERTIFICATES_DIR))
            .collect();
        if bootstrapped && certificates.is_empty() {
            return Ok(from.to_owned());
        }
        let mut instructions = format!("FROM {from}\n");
        if let (false, Some(mirror)) = (bootstrapped, self.apt_mirror()) {
            let sources = apt_sources(mirror, self.suite()).join("\\n");
            instructions.push_str(&format!(
                "RUN rm -f /etc/apt/sources.list.d/* && printf '{sources}\\n' > /etc/apt/sources.list\n"
            ));
        }
        let mut entries = Vec::new();
        if !certificates.is_empty() {
            instructions.push_str(&format!(
                "COPY {CERTIFICATES_DIR}/ /usr/local/share/ca-certificates/dm/\n\
                 RUN if ! command -v update-ca-certificates > /dev/null; then \
                 apt-get update -qq && apt-get install -qq -y --no-install-recommends ca-certificates \
                 && rm -rf /var/lib/apt/lists/*; fi && update-ca-certificates\n"
            ));
            entries.extend(certificates.into_iter().map(|file| ContextEntry {
                path: file.path.clone(),
                mode: file.mode,
                source: EntrySource::Bytes(file.contents.clone()),
            }));
        }
        entries.push(ContextEntry::from_text(
            build_context::DOCKERFILE,
            instructions,
        ));
        build_context::append_labels(
            &mut entries,
            &recipe_labels(self.recipe, self.digest, origin),
        );
        let builder = ImageBuilder {
            engine: self.engine,
            progress: self.progress,
            cancel: self.cancel,
        };
        let options = BuildOptions {
            dockerfile: build_context::DOCKERFILE.into(),
            ..BuildOptions::default()
        };
        builder.build(&self.recipe.name, options, entries).await
    }

    fn apt_mirror(&self) -> Option<&str> {
        self.recipe
            .build_args
            .get(APT_MIRROR_ARG)
            .map(String::as_str)
    }

    fn mmdebstrap_arguments(&self) -> Vec<String> {
        self.recipe
            .file_text(MMDEBSTRAP_ARGUMENTS)
            .unwrap_or_default()
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::to_owned)
            .collect()
    }

    /// Returns the suite: the argument before the target.
    fn suite(&self) -> String {
        self.mmdebstrap_arguments()
            .into_iter()
            .rfind(|argument| !argument.starts_with('-'))
            .unwrap_or_else(|| "trixie".to_owned())
    }

    /// Runs mmdebstrap, which obtains its privileges by itself: directly as root, otherwise
    /// through a user namespace.
    async fn mmdebstrap(&self, program: &Path, lock: &BuildLock) -> Result<PathBuf, ImageError> {
        let work = lock.work_dir()?;
        let root = work.join("root.tar");
        let mut arguments = self.mmdebstrap_arguments();
        if arguments.last().is_some_and(|last| last == "-") {
            arguments.pop();
        }
        let mut command = Command::new(program);
        command.args(arguments).arg(&root).stdin(lock.stdin()?);
        if let Some(mirror) = self.apt_mirror() {
            command.args(apt_sources(mirror, self.suite()));
        }
        if rustix::process::geteuid().is_root() {
            // Its temporary root is removed with the work directory. In a user namespace
            // it could not reach that directory through a private home.
            command.env("TMPDIR", work);
        }
        self.run_bootstrap_tool("mmdebstrap", command).await?;
        Ok(root)
    }

    async fn debootstrap(&self, program: &Path, lock: &BuildLock) -> Result<PathBuf, ImageError> {
        let work = lock.work_dir()?;
        let (dir, root) = (work.join("root"), work.join("root.tar"));
        let mut command = Command::new(program);
        command
            .arg("--variant=minbase")
            .arg(self.suite())
            .arg(&dir)
            .args(self.apt_mirror())
            .stdin(lock.stdin()?);
        self.run_bootstrap_tool("debootstrap", command).await?;
        let mut command = Command::new("tar");
        command
            .arg("--create")
            .arg("--numeric-owner")
            .arg("--exclude=./var/cache/apt/archives/*.deb")
            .arg("--exclude=./var/lib/apt/lists/*")
            .arg("--file")
            .arg(&root)
            .arg("--directory")
            .arg(&dir)
            .arg(".")
            .stdin(lock.stdin()?);
        self.run_bootstrap_tool("tar", command).await?;
        Ok(root)
    }

    async fn run_bootstrap_tool(&self, program: &str, command: Command) -> Result<(), ImageError> {
        process::run_program(program, command, self.cancel, |line| {
            // Both tools mark their stages with this prefix: the rest is output of apt and dpkg.
            if let Some(stage) = line.strip_prefix("I: ") {
                self.progress.on_progress(
                    &self.recipe.name,
                    ProgressUpdate::new("bootstrapping").with_detail(stage),
                );
            }
        })
        .await
    }

    async fn import_root_tar(&self, root: &Path, tool: &str) -> Result<String, ImageError> {
        self.progress.on_progress(
            &self.recipe.name,
            ProgressUpdate::new("importing").with_detail("the root file system"),
        );
        let file = tokio::fs::File::open(root)
            .await
            .map_err(ImageError::io(format!("open {}", root.display())))?;
        let mut changes = vec!["CMD [\"bash\"]".to_owned()];
        changes.extend(
            recipe_labels(self.recipe, self.digest, tool)
                .into_iter()
                .map(|(name, value)| format!("LABEL \"{name}\"=\"{value}\"")),
        );
        let body = ReaderStream::with_capacity(file, 256 * 1024);
        tokio::select! {
            () = self.cancel.cancelled() => Err(ImageError::Cancelled),
            id = self.engine.import_image(body, &changes) => id.map_err(ImageError::from),
        }
    }
}

/// Returns the apt sources of a mirror: the suite and its updates. Security updates come
/// from a separate host, which a mirror of the archive does not replace.
fn apt_sources(mirror: &str, suite: String) -> [String; 2] {
    [
        format!("deb {mirror} {suite} main"),
        format!("deb {mirror} {suite}-updates main"),
    ]
}
