//! The services' images: one static binary each, compiled on this machine.
//!
//! ```text
//! sources       the digest of all inputs of the binaries
//! compile       one run of cargo for all services
//! elf           whether a binary is statically linked
//! build_record  the images that these sources were built into before
//! ```
//!
//! An image is identified by its binary and not by the sources, so that a change that
//! does not affect a binary creates no new image and causes no restart.

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

/// The name under which the progress of all services is reported.
pub const SERVICES_PROGRESS_NAME: &str = "services";

/// The services of a project that images are built from.
#[derive(Debug)]
pub struct ServiceImages {
    root: PathBuf,
    names: Vec<&'static str>,
    fail_points: bool,
    last_digest: Mutex<Option<Sha256Digest>>,
}

impl ServiceImages {
    /// Creates the set of these services, whose sources are below `root`.
    #[must_use]
    pub fn new(root: &Path, names: impl IntoIterator<Item = &'static str>) -> Self {
        Self {
            root: root.to_owned(),
            names: names.into_iter().collect(),
            fail_points: false,
            last_digest: Mutex::default(),
        }
    }

    /// Sets whether the services are compiled with fail points for tests.
    #[must_use]
    pub fn with_fail_points(mut self, fail_points: bool) -> Self {
        self.fail_points = fail_points;
        self
    }

    /// Returns the names of the services.
    #[must_use]
    pub(crate) fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// Returns the last digest of the sources; computes it at the first call.
    pub(crate) fn sources_digest(&self) -> Result<Sha256Digest, ImageError> {
        let last = self
            .last_digest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        last.map_or_else(|| self.refresh_digest(), Ok)
    }

    /// Computes and stores the current digest of the sources.
    pub(crate) fn refresh_digest(&self) -> Result<Sha256Digest, ImageError> {
        let mut digest = sources_digest(&self.root)?;
        if self.fail_points {
            digest = Sha256Digest::compute(format!("{digest} with fail points").as_bytes());
        }
        let mut last = self
            .last_digest
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *last = Some(digest.clone());
        Ok(digest)
    }

    /// Returns the image of a service that was built from these sources, if they were
    /// compiled before.
    pub(crate) fn recorded_reference(
        &self,
        state: &Path,
        name: &str,
    ) -> Result<Option<String>, ImageError> {
        let record = ServiceBuildRecord::load(state, &self.sources_digest()?);
        Ok(record.and_then(|record| record.image_reference(name).map(str::to_owned)))
    }

    /// Compiles the services. Returns the binaries and the digest of their sources.
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
            // If the sources changed meanwhile, it is unknown which state was compiled.
            let now = self.refresh_digest()?;
            if now == sources {
                return Ok((sources, binaries));
            }
            sources = now;
        }
    }
}

/// Records the images that were built from these sources.
pub(crate) fn record_images(
    state: &Path,
    sources: &Sha256Digest,
    references: BTreeMap<String, String>,
) -> Result<(), ImageError> {
    ServiceBuildRecord::new(sources, references).save(state, sources)
}

/// Returns the images of all recorded sources.
pub(crate) fn all_recorded_references(state: &Path) -> BTreeSet<String> {
    build_record::all_references(state)
}

/// Reads a binary and checks that it is statically linked.
pub(crate) async fn read_static_binary(name: &str, binary: &Path) -> Result<Vec<u8>, ImageError> {
    let read_error = || ImageError::io(format!("read {}", binary.display()));
    let program = tokio::fs::read(binary).await.map_err(read_error())?;
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

/// Computes the digest of the sources of the services below `root`.
///
/// # Errors
/// Returns [`ImageError::Io`] if a source file cannot be read.
pub fn sources_digest(root: &Path) -> Result<Sha256Digest, ImageError> {
    sources::hash_sources(root).map_err(ImageError::io("read the services' sources"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn read_static_binary_refuses_a_dynamic_program() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("order");
        std::fs::write(&path, elf::example_file(elf::PT_INTERP)).unwrap();
        let refused = read_static_binary("order", &path).await;
        let Err(ImageError::NotStatic { name, reason }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(name, "order");
        assert_eq!(
            reason,
            "it requires /lib/ld, which its image does not contain"
        );
        let program = elf::example_file(1);
        std::fs::write(&path, &program).unwrap();
        assert_eq!(read_static_binary("order", &path).await.unwrap(), program);
    }
}
