//! The services' images: one static binary each, compiled on this machine.
//!
//! ```text
//! sources      a digest of all that goes into the binaries
//! compile      cargo, once for all of them
//! elf          whether a binary needs anything beside itself
//! record       which images these sources became before
//! superseded   what nothing needs any more, and goes
//! ```
//!
//! An image is named by its binary and not by the sources, so that a change
//! which leaves a binary as it was makes no new image and restarts nothing.

mod compile;
mod elf;
mod message;
mod record;
mod sources;
mod superseded;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::context;
use super::derived::{Derivation, SCRATCH};
use super::error::ImageError;
use super::recipe::Digest;
use super::store::{Acquired, How, Images, acquired};
use record::Record;
pub use sources::{SOURCES, is_editors_rest};

/// The name under which progress of the whole is told.
pub const SERVICES: &str = "services";

/// Where the binary is in an image.
const PROGRAM: &str = "/service";

/// Nobody in particular: a service needs no right to anything in its container.
const USER: u32 = dm_core::service_user::UID;

/// The services of a project, as something to make images of.
#[derive(Debug)]
pub struct ServiceImages {
    root: PathBuf,
    names: Vec<&'static str>,
    fail_points: bool,
    sources: Mutex<Option<Digest>>,
}

impl ServiceImages {
    /// The services of these names, whose sources are below `root`.
    #[must_use]
    pub fn new(root: &Path, names: impl IntoIterator<Item = &'static str>) -> Self {
        Self {
            root: root.to_owned(),
            names: names.into_iter().collect(),
            fail_points: false,
            sources: Mutex::default(),
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
    pub fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// The digest of the sources, as they were when it was last read.
    fn digest(&self) -> Result<Digest, ImageError> {
        let known = self
            .sources
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        known.map_or_else(|| self.read_digest(), Ok)
    }

    /// The digest of the sources as they are now.
    fn read_digest(&self) -> Result<Digest, ImageError> {
        let mut digest = sources_digest(&self.root)?;
        if self.fail_points {
            digest = Digest::of(format!("{digest} with fail points").as_bytes());
        }
        let mut known = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some(digest.clone());
        Ok(digest)
    }
}

/// A digest of all that the services below `root` are made of.
///
/// # Errors
/// Where something can't be read.
pub fn sources_digest(root: &Path) -> Result<Digest, ImageError> {
    sources::digest(root).map_err(ImageError::io("read the services' sources"))
}

impl Images {
    /// What the image of a service should be: its reference where these sources
    /// were compiled before, and otherwise something that no image is called.
    pub(super) fn service_identity(
        &self,
        services: &ServiceImages,
        name: &str,
    ) -> Result<String, ImageError> {
        let sources = services.digest()?;
        let record = Record::of(&self.dirs.state, &sources);
        let known = record.and_then(|record| record.image(name).map(str::to_owned));
        Ok(known.unwrap_or_else(|| format!("sources {sources}")))
    }

    /// The image of a service, if its sources were compiled before and it is here.
    pub(super) async fn local_service(
        &self,
        services: &ServiceImages,
        name: &str,
    ) -> Result<Option<Acquired>, ImageError> {
        let record = Record::of(&self.dirs.state, &services.digest()?);
        let Some(reference) = record.as_ref().and_then(|record| record.image(name)) else {
            return Ok(None);
        };
        let image = self.engine.image(reference).await?;
        Ok(image.map(|image| acquired(name, reference, image, How::Local, "it is here")))
    }

    /// The digest of the services' sources, where the images that they become are
    /// all here.
    pub(super) async fn complete_services(&self) -> Result<Option<Digest>, ImageError> {
        let Some(services) = &self.services else {
            return Ok(None);
        };
        for name in services.names() {
            if self.local_service(services, name).await?.is_none() {
                return Ok(None);
            }
        }
        services.digest().map(Some)
    }

    /// Takes images, which came from elsewhere, for what the services' sources
    /// become. Answers false where they are of other sources.
    pub(super) fn adopt_services(
        &self,
        sources: &str,
        references: BTreeMap<String, String>,
    ) -> Result<bool, ImageError> {
        let Some(services) = &self.services else {
            return Ok(false);
        };
        let own = services.read_digest()?;
        if own.as_str() != sources {
            return Ok(false);
        }
        Record::new(&own, references).write(&self.dirs.state, &own)?;
        Ok(true)
    }

    /// Compiles the services and makes an image of each whose binary is new. Images
    /// that nothing needs any more go.
    ///
    /// # Errors
    /// What the compiler said; no compiler; a failing engine; cancellation.
    pub async fn build_services(&self) -> Result<Vec<Acquired>, ImageError> {
        let Some(services) = &self.services else {
            return Ok(Vec::new());
        };
        let cargo = self
            .tools
            .ensure("cargo")
            .await
            .map_err(|reason| ImageError::ToolMissing {
                tool: "cargo".into(),
                reason,
            })?;
        let compiler = compile::Compiler {
            cargo,
            root: &services.root,
            target: compile::target_folder(&services.root, &self.dirs.cache),
            fail_points: services.fail_points,
            progress: self.progress.as_ref(),
            cancel: &self.cancel,
        };
        let mut sources = services.read_digest()?;
        let binaries = loop {
            let binaries = compiler.compile(services.names()).await?;
            // Of sources that changed meanwhile nobody knows what was compiled.
            let now = services.read_digest()?;
            if now == sources {
                break binaries;
            }
            sources = now;
        };
        let mut images = Vec::new();
        for (name, binary) in binaries {
            images.push(self.image_of(name, &binary).await?);
        }
        let references = images
            .iter()
            .map(|image| (image.name.clone(), image.reference.clone()))
            .collect();
        Record::new(&sources, references).write(&self.dirs.state, &sources)?;
        self.remove_superseded(services).await?;
        Ok(images)
    }

    /// The image of a binary, made where it is not there.
    async fn image_of(&self, name: &str, binary: &Path) -> Result<Acquired, ImageError> {
        let doing = || ImageError::io(format!("read {}", binary.display()));
        let program = tokio::fs::read(binary).await.map_err(doing())?;
        match elf::interpreter(&program) {
            Ok(None) => {}
            Ok(Some(interpreter)) => {
                return Err(ImageError::NotStatic {
                    name: name.to_owned(),
                    reason: format!("it needs {interpreter}, and its image holds it alone"),
                });
            }
            Err(reason) => {
                return Err(ImageError::NotStatic {
                    name: name.to_owned(),
                    reason: reason.to_owned(),
                });
            }
        }
        let derivation = Derivation {
            component: name.to_owned(),
            told_as: SERVICES.to_owned(),
            key: Digest::of(&program),
            from: SCRATCH.into(),
            golden: false,
            to: "/".into(),
            labels: HashMap::new(),
            changes: vec![
                format!("USER {USER}:{USER}"),
                format!("ENTRYPOINT [\"{PROGRAM}\"]"),
            ],
        };
        let reference = derivation.reference();
        if let Some(image) = self.engine.image(&reference).await? {
            let why = "its binary is the same as before";
            return Ok(acquired(name, &reference, image, How::Local, why));
        }
        let files = context::produce(move |writer| {
            let mut tar = tar::Builder::new(writer);
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o755);
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(program.len() as u64);
            let path = PROGRAM.trim_start_matches('/');
            tar.append_data(&mut header, path, program.as_slice())?;
            tar.into_inner()?.flush()
        });
        self.build_derived(&derivation, files).await?;
        let image = self.present(&reference).await?;
        let why = "its sources were compiled";
        Ok(acquired(name, &reference, image, How::Built, why))
    }
}
