//! The services' images: one static binary each, compiled on this machine.
//!
//! ```text
//! sources      a digest of all that goes into the binaries
//! compile      cargo, once for all of them
//! elf          whether a binary needs anything beside itself
//! record       which images these sources became before
//! ```
//!
//! An image is named by its binary and not by the sources, so that a change
//! which leaves a binary as it was makes no new image and restarts nothing.

mod build_record;
mod compile;
mod elf;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use super::cargo::Cargo;
use super::error::ImageError;
use super::progress::ImageProgress;
use super::recipe::Sha256Digest;
use build_record::ServiceBuildRecord;
pub use sources::{SERVICE_SOURCES, is_editor_temp_file};

/// The name under which progress of the whole is told.
pub const SERVICES_PROGRESS_NAME: &str = "services";

/// The services of a project, as something to make images of.
#[derive(Debug)]
pub struct ServiceImages {
    root: PathBuf,
    names: Vec<&'static str>,
    fail_points: bool,
    last_digest: Mutex<Option<Sha256Digest>>,
}

impl ServiceImages {
    /// The services of these names, whose sources are below `root`.
    #[must_use]
    pub fn new(root: &Path, names: impl IntoIterator<Item = &'static str>) -> Self {
        Self {
            root: root.to_owned(),
            names: names.into_iter().collect(),
            fail_points: false,
            last_digest: Mutex::default(),
        }
    }

    /// The same, compiled with the steps at which tests can end a service.
    #[must_use]
    pub fn with_fail_points(mut self, fail_points: bool) -> Self {
        self.fail_points = fail_points;
        self
    }

    /// The names.
    #[must_use]
    pub(crate) fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// The digest of the sources, as they were when it was last read.
    pub(crate) fn sources_digest(&self) -> Result<Sha256Digest, ImageError> {
        let known = self
            .last_digest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        known.map_or_else(|| self.refresh_digest(), Ok)
    }

    /// The digest of the sources as they are now.
    pub(crate) fn refresh_digest(&self) -> Result<Sha256Digest, ImageError> {
        let mut digest = sources_digest(&self.root)?;
        if self.fail_points {
            digest = Sha256Digest::compute(format!("{digest} with fail points").as_bytes());
        }
        let mut known = self
            .last_digest
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *known = Some(digest.clone());
        Ok(digest)
    }

    /// The reference of the image that a service of these sources became, if they were
    /// compiled before.
    pub(crate) fn recorded_reference(
        &self,
        state: &Path,
        name: &str,
    ) -> Result<Option<String>, ImageError> {
        let record = ServiceBuildRecord::load(state, &self.sources_digest()?);
        Ok(record.and_then(|record| record.image_reference(name).map(str::to_owned)))
    }

    /// Compiles the services. Answers with the digest of the sources that the binaries are of.
    pub(crate) async fn compile(
        &self,
        cargo: PathBuf,
        cache: &Path,
        progress: &dyn ImageProgress,
        cancel: &CancellationToken,
    ) -> Result<(Sha256Digest, BTreeMap<&'static str, PathBuf>), ImageError> {
        let features: &[&str] = if self.fail_points {
            &[compile::FAIL_POINTS_FEATURE]
        } else {
            &[]
        };
        let cargo = Cargo {
            program: cargo,
            workspace_root: &self.root,
            cache_dir: cache,
            features,
            cancel,
        };
        let mut sources = self.refresh_digest()?;
        loop {
            let binaries = compile::compile_services(&cargo, &self.names, progress).await?;
            // Of sources that changed meanwhile nobody knows what was compiled.
            let now = self.refresh_digest()?;
            if now == sources {
                return Ok((sources, binaries));
            }
            sources = now;
        }
    }
}

/// Keeps which images these sources became.
pub(crate) fn record_images(
    state: &Path,
    sources: &Sha256Digest,
    references: BTreeMap<String, String>,
) -> Result<(), ImageError> {
    ServiceBuildRecord::new(sources, references).save(state, sources)
}

/// The images that any of the recorded sources became.
pub(crate) fn all_recorded_references(state: &Path) -> BTreeSet<String> {
    build_record::all_references(state)
}

/// A binary, which needs nothing beside itself.
pub(crate) async fn read_static_binary(name: &str, binary: &Path) -> Result<Vec<u8>, ImageError> {
    let doing = || ImageError::io(format!("read {}", binary.display()));
    let program = tokio::fs::read(binary).await.map_err(doing())?;
    let reason = match elf::interpreter(&program) {
        Ok(None) => return Ok(program),
        Ok(Some(interpreter)) => {
            format!("it requires {interpreter}, which its image does not contain")
        }
        Err(reason) => reason.to_owned(),
    };
    Err(ImageError::NotStatic {
        name: name.to_owned(),
        reason,
    })
}

/// A digest of all that the services below `root` are made of.
///
/// # Errors
/// Where something can't be read.
pub fn sources_digest(root: &Path) -> Result<Sha256Digest, ImageError> {
    sources::hash_sources(root).map_err(ImageError::io("read the services' sources"))
}
