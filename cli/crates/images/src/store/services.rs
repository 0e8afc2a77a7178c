//! The images of the services: found by what their sources became, made of their binaries.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::{Acquired, How, Images, acquired};
use crate::context;
use crate::derived::{Derivation, SCRATCH};
use crate::error::ImageError;
use crate::recipe::Digest;
use crate::services::{self, SERVICES, ServiceImages};

/// Where the binary is in an image.
const PROGRAM: &str = "/service";

/// Nobody in particular: a service needs no right to anything in its container.
const USER: u32 = dm_core::service_user::UID;

impl Images {
    /// What the image of a service should be: its reference where these sources
    /// were compiled before, and otherwise something that no image is called.
    pub(crate) fn service_identity(
        &self,
        services: &ServiceImages,
        name: &str,
    ) -> Result<String, ImageError> {
        match services.recorded(&self.dirs.state, name)? {
            Some(reference) => Ok(reference),
            None => Ok(format!("sources {}", services.digest()?)),
        }
    }

    /// The image of a service, if its sources were compiled before and it is here.
    pub(crate) async fn local_service(
        &self,
        services: &ServiceImages,
        name: &str,
    ) -> Result<Option<Acquired>, ImageError> {
        let Some(reference) = services.recorded(&self.dirs.state, name)? else {
            return Ok(None);
        };
        let image = self.engine.image(&reference).await?;
        Ok(image.map(|image| acquired(name, &reference, image, How::Local, "it is on the engine")))
    }

    /// The digest of the services' sources, where the images that they become are
    /// all here.
    pub(crate) async fn complete_services(&self) -> Result<Option<Digest>, ImageError> {
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
    pub(crate) fn adopt_services(
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
        services::record(&self.dirs.state, &own, references)?;
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
        let (progress, cancel) = (self.progress.as_ref(), &self.cancel);
        let compiled = services.compile(cargo, &self.dirs.cache, progress, cancel);
        let (sources, binaries) = compiled.await?;
        let mut images = Vec::new();
        for (name, binary) in binaries {
            images.push(self.image_of(name, &binary).await?);
        }
        let references = images
            .iter()
            .map(|image| (image.name.clone(), image.reference.clone()))
            .collect();
        services::record(&self.dirs.state, &sources, references)?;
        self.remove_superseded(services).await?;
        Ok(images)
    }

    /// The image of a binary, made where it is not there.
    async fn image_of(&self, name: &str, binary: &Path) -> Result<Acquired, ImageError> {
        let program = services::program(name, binary).await?;
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
            let why = "its binary has not changed";
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
