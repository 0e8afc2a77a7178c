//! The services' images: one static binary each, compiled on this machine.
//!
//! ```text
//! sources   a digest of all that goes into the binaries
//! compile   cargo, once for all of them
//! record    which images the sources became the last time
//! ```
//!
//! An image is named by its binary and not by the sources, so that a change
//! which leaves a binary as it was makes no new image and restarts nothing.

mod compile;
mod record;
mod sources;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::context;
use super::derived::Derivation;
use super::error::ImageError;
use super::recipe::Digest;
use super::store::{Acquired, How, Images, acquired};
use record::Record;

/// The name under which progress of the whole is told.
pub const SERVICES: &str = "services";

/// Where the binary is in an image.
const PROGRAM: &str = "/service";

/// Nobody in particular: a service needs no right to anything in its container.
const USER: &str = "65532:65532";

/// The services of a project, as something to make images of.
#[derive(Debug)]
pub struct ServiceImages {
    root: PathBuf,
    names: Vec<&'static str>,
    sources: OnceLock<Result<Digest, String>>,
}

impl ServiceImages {
    /// The services of these names, whose sources are below `root`.
    #[must_use]
    pub fn new(root: &Path, names: impl IntoIterator<Item = &'static str>) -> Self {
        Self {
            root: root.to_owned(),
            names: names.into_iter().collect(),
            sources: OnceLock::new(),
        }
    }

    /// The names.
    #[must_use]
    pub fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// The digest of the sources, read once.
    fn digest(&self) -> Result<&Digest, ImageError> {
        self.sources
            .get_or_init(|| sources::digest(&self.root).map_err(|error| error.to_string()))
            .as_ref()
            .map_err(|error| {
                ImageError::io("read the services' sources")(std::io::Error::other(error.clone()))
            })
    }
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
        let record = Record::read(&self.dirs.state, &services.root);
        Ok(record
            .of_sources(sources, name)
            .unwrap_or_else(|| format!("sources {sources}")))
    }

    /// The image of a service, if its sources were compiled before and it is here.
    pub(super) async fn local_service(
        &self,
        services: &ServiceImages,
        name: &str,
    ) -> Result<Option<Acquired>, ImageError> {
        let reference = self.service_identity(services, name)?;
        if reference.starts_with("sources ") {
            return Ok(None);
        }
        let image = self.engine.image(&reference).await?;
        Ok(image.map(|image| acquired(name, &reference, image, How::Local, "it is here")))
    }

    /// Compiles the services and makes an image of each whose binary is new.
    ///
    /// # Errors
    /// What the compiler said; no compiler; a failing engine; cancellation.
    pub async fn build_services(&self) -> Result<Vec<Acquired>, ImageError> {
        let Some(services) = &self.services else {
            return Ok(Vec::new());
        };
        let sources = services.digest()?;
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
            progress: self.progress.as_ref(),
            cancel: &self.cancel,
        };
        let binaries = compiler.compile(services.names()).await?;
        let mut made = Vec::new();
        let mut references = BTreeMap::new();
        for (name, binary) in binaries {
            let reference = self.image_of(name, &binary).await?;
            if let Some(image) = self.engine.image(&reference).await? {
                let why = "its sources were compiled";
                made.push(acquired(name, &reference, image, How::Built, why));
            }
            references.insert(name.to_owned(), reference);
        }
        Record::new(sources, references).write(&self.dirs.state, &services.root)?;
        Ok(made)
    }

    /// The image of a binary, made where it is not there.
    async fn image_of(&self, name: &str, binary: &Path) -> Result<String, ImageError> {
        let doing = || ImageError::io(format!("read {}", binary.display()));
        let program = tokio::fs::read(binary).await.map_err(doing())?;
        let derivation = Derivation {
            component: name.to_owned(),
            told_as: SERVICES.to_owned(),
            key: Digest::of(&program),
            from: "scratch".into(),
            golden: false,
            to: "/".into(),
            labels: HashMap::new(),
            changes: vec![
                format!("USER {USER}"),
                format!("ENTRYPOINT [\"{PROGRAM}\"]"),
            ],
        };
        let reference = derivation.reference();
        if self.engine.image(&reference).await?.is_some() {
            return Ok(reference);
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
        self.build_derived(&derivation, files).await
    }
}
