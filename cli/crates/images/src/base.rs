//! The Debian base: bootstrapped on the host and imported, or pulled.

use std::path::{Path, PathBuf};

use dm_engine::Engine;
use dm_engine::images::BuildOptions;
use tokio::process::Command;
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;

use super::build::Builder;
use super::context::{self, Contents, Entry};
use super::error::ImageError;
use super::lock::DigestLock;
use super::process::{self, Tools};
use super::progress::{Progress, Update};
use super::recipe::{Digest, Recipe, labels};

/// The file of the base's recipe with mmdebstrap's arguments, one a line: options,
/// then the suite, then `-` for the target.
pub(super) const ARGUMENTS: &str = "mmdebstrap.args";
/// The folder of the base's recipe with certificates to trust.
pub(super) const CERTIFICATES: &str = "certificates";
/// The build argument that carries the Debian mirror.
pub(super) const APT_MIRROR: &str = "APT_MIRROR";

/// What making a base works with.
pub(super) struct BaseMaker<'a> {
    pub engine: &'a Engine,
    pub tools: &'a dyn Tools,
    pub progress: &'a dyn Progress,
    pub cancel: &'a CancellationToken,
    pub recipe: &'a Recipe,
    pub digest: &'a Digest,
}

impl BaseMaker<'_> {
    /// Bootstraps a root file system, imports it and returns the image's id, which
    /// has no tag yet, and the program that made it. `Err` of the inner result says
    /// why no such program can be used here.
    pub(super) async fn bootstrap(
        &self,
        lock: &DigestLock,
    ) -> Result<Result<(String, &'static str), Vec<String>>, ImageError> {
        let mut closed = Vec::new();
        for tool in ["mmdebstrap", "debootstrap"] {
            if tool == "debootstrap" && !rustix::process::geteuid().is_root() {
                closed.push("debootstrap: root privileges are required".to_owned());
                continue;
            }
            let program = match self.tools.ensure(tool).await {
                Ok(program) => program,
                Err(reason) => {
                    closed.push(format!("{tool}: {reason}"));
                    continue;
                }
            };
            self.progress
                .working(&self.recipe.name, Update::doing("bootstrapping").with(tool));
            let root = if tool == "mmdebstrap" {
                self.mmdebstrap(&program, lock).await?
            } else {
                self.debootstrap(&program, lock).await?
            };
            let id = self.import(&root, tool).await?;
            return Ok(Ok((id, tool)));
        }
        Ok(Err(closed))
    }

    /// Puts labels, certificates and mirror on top of an image where they aren't in
    /// it, and returns the id of the result, which has no tag yet.
    pub(super) async fn finish(&self, from: &str, origin: &str) -> Result<String, ImageError> {
        let bootstrapped = origin != super::ORIGIN_PULLED;
        let certificates: Vec<_> = self
            .recipe
            .files
            .iter()
            .filter(|file| file.path.starts_with(CERTIFICATES))
            .collect();
        if bootstrapped && certificates.is_empty() {
            return Ok(from.to_owned());
        }
        let mut instructions = format!("FROM {from}\n");
        if let (false, Some(mirror)) = (bootstrapped, self.mirror()) {
            let sources = sources(mirror, self.suite()).join("\\n");
            instructions.push_str(&format!(
                "RUN rm -f /etc/apt/sources.list.d/* && printf '{sources}\\n' > /etc/apt/sources.list\n"
            ));
        }
        let mut entries = Vec::new();
        if !certificates.is_empty() {
            instructions.push_str(&format!(
                "COPY {CERTIFICATES}/ /usr/local/share/ca-certificates/dm/\n\
                 RUN if ! command -v update-ca-certificates > /dev/null; then \
                 apt-get update -qq && apt-get install -qq -y --no-install-recommends ca-certificates \
                 && rm -rf /var/lib/apt/lists/*; fi && update-ca-certificates\n"
            ));
            entries.extend(certificates.into_iter().map(|file| Entry {
                path: file.path.clone(),
                mode: file.mode,
                contents: Contents::Bytes(file.contents.clone()),
            }));
        }
        entries.push(Entry::text(context::DOCKERFILE, instructions));
        context::label(&mut entries, &labels(self.recipe, self.digest, origin));
        let builder = Builder {
            engine: self.engine,
            progress: self.progress,
            cancel: self.cancel,
        };
        let options = BuildOptions {
            dockerfile: context::DOCKERFILE.into(),
            ..BuildOptions::default()
        };
        builder
            .build(&self.recipe.name, options, context::stream(entries))
            .await
    }

    fn mirror(&self) -> Option<&str> {
        self.recipe.build_args.get(APT_MIRROR).map(String::as_str)
    }

    fn arguments(&self) -> Vec<String> {
        self.recipe
            .text(ARGUMENTS)
            .unwrap_or_default()
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::to_owned)
            .collect()
    }

    /// The suite: the argument before the target.
    fn suite(&self) -> String {
        self.arguments()
            .into_iter()
            .rfind(|argument| !argument.starts_with('-'))
            .unwrap_or_else(|| "trixie".to_owned())
    }

    /// mmdebstrap chooses its own way to the rights it needs: as root directly,
    /// else by a user namespace.
    async fn mmdebstrap(&self, program: &Path, lock: &DigestLock) -> Result<PathBuf, ImageError> {
        let work = lock.work_dir()?;
        let root = work.join("root.tar");
        let mut arguments = self.arguments();
        if arguments.last().is_some_and(|last| last == "-") {
            arguments.pop();
        }
        let mut command = Command::new(program);
        command.args(arguments).arg(&root).stdin(lock.stdin()?);
        if let Some(mirror) = self.mirror() {
            command.args(sources(mirror, self.suite()));
        }
        if rustix::process::geteuid().is_root() {
            // Its temporary root goes with the work directory. In a user namespace
            // it would not get there past a private home.
            command.env("TMPDIR", work);
        }
        self.run("mmdebstrap", command).await?;
        Ok(root)
    }

    async fn debootstrap(&self, program: &Path, lock: &DigestLock) -> Result<PathBuf, ImageError> {
        let work = lock.work_dir()?;
        let (dir, root) = (work.join("root"), work.join("root.tar"));
        let mut command = Command::new(program);
        command
            .arg("--variant=minbase")
            .arg(self.suite())
            .arg(&dir)
            .args(self.mirror())
            .stdin(lock.stdin()?);
        self.run("debootstrap", command).await?;
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
        self.run("tar", command).await?;
        Ok(root)
    }

    async fn run(&self, program: &str, command: Command) -> Result<(), ImageError> {
        process::run(program, command, self.cancel, |line| {
            // Both tools mark their stages so: the rest is noise of apt and dpkg.
            if let Some(stage) = line.strip_prefix("I: ") {
                self.progress.working(
                    &self.recipe.name,
                    Update::doing("bootstrapping").with(stage),
                );
            }
        })
        .await
    }

    async fn import(&self, root: &Path, tool: &str) -> Result<String, ImageError> {
        self.progress.working(
            &self.recipe.name,
            Update::doing("importing").with("the root file system"),
        );
        let file = tokio::fs::File::open(root)
            .await
            .map_err(ImageError::io(format!("open {}", root.display())))?;
        let mut changes = vec!["CMD [\"bash\"]".to_owned()];
        changes.extend(
            labels(self.recipe, self.digest, tool)
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

/// What apt reads for a mirror: the suite and its updates. Security updates come
/// from a host of their own, which a mirror of the archive does not stand in for.
fn sources(mirror: &str, suite: String) -> [String; 2] {
    [
        format!("deb {mirror} {suite} main"),
        format!("deb {mirror} {suite}-updates main"),
    ]
}
