//! The images of the services: found by the record of their sources, built from their binaries.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::{AcquiredImage, ImageOrigin, ImageStore, acquired_image};
use crate::build_context;
use crate::derived::{DerivedImageSpec, SCRATCH};
use crate::error::ImageError;
use crate::recipe::Sha256Digest;
use crate::services::{self, SERVICES_PROGRESS_NAME, ServiceImages};

/// The path of the binary in an image.
const BINARY_PATH: &str = "/service";

/// An unprivileged user: a service needs no permissions in its container.
const SERVICE_UID: u32 = dm_core::service_user::SERVICE_UID;

impl ImageStore {
    /// Returns the identity of a service's image: its reference if these sources were compiled
    /// before, otherwise a text that is never the reference of an image.
    pub(crate) fn service_identity(
        &self,
        services: &ServiceImages,
        name: &str,
    ) -> Result<String, ImageError> {
        match services.recorded_reference(&self.dirs.state_dir, name)? {
            Some(reference) => Ok(reference),
            None => Ok(format!("sources {}", services.sources_digest()?)),
        }
    }

    /// Returns the image of a service, if its sources were compiled before and it is present.
    pub(crate) async fn find_local_service(
        &self,
        services: &ServiceImages,
        name: &str,
    ) -> Result<Option<AcquiredImage>, ImageError> {
        let Some(reference) = services.recorded_reference(&self.dirs.state_dir, name)? else {
            return Ok(None);
        };
        let image = self.engine.inspect_image(&reference).await?;
        Ok(image.map(|image| {
            acquired_image(
                name,
                &reference,
                image,
                ImageOrigin::Local,
                "it is on the engine",
            )
        }))
    }

    /// Returns the digest of the services' sources, if all images built from them are present.
    pub(crate) async fn complete_services_digest(
        &self,
    ) -> Result<Option<Sha256Digest>, ImageError> {
        let Some(services) = &self.services else {
            return Ok(None);
        };
        for name in services.names() {
            if self.find_local_service(services, name).await?.is_none() {
                return Ok(None);
            }
        }
        services.sources_digest().map(Some)
    }

    /// Records loaded images as built from the current sources. Returns false if they were
    /// built from other sources.
    pub(crate) fn record_loaded_services(
        &self,
        sources: &str,
        references: BTreeMap<String, String>,
    ) -> Result<bool, ImageError> {
        let Some(services) = &self.services else {
            return Ok(false);
        };
        let current = services.refresh_digest()?;
        if current.as_str() != sources {
            return Ok(false);
        }
        services::record_images(&self.dirs.state_dir, &current, references)?;
        Ok(true)
    }

    /// Compiles the services and builds an image for each new binary. Unused stale images
    /// are removed.
    ///
    /// # Errors
    /// Returns [`ImageError::Compile`] with the errors of the compiler,
    /// [`ImageError::ToolMissing`] if cargo is not installed, [`ImageError::Engine`] if the
    /// engine fails, and [`ImageError::Cancelled`] on cancellation.
    pub async fn build_services(&self) -> Result<Vec<AcquiredImage>, ImageError> {
        let Some(services) = &self.services else {
            return Ok(Vec::new());
        };
        let cargo =
            self.tools
                .ensure_tool("cargo")
                .await
                .map_err(|reason| ImageError::ToolMissing {
                    tool: "cargo".into(),
                    reason,
                })?;
        let (progress, cancel) = (self.progress.as_ref(), &self.cancel);
        let compiled = services.compile(cargo, &self.dirs.cache_dir, progress, cancel);
        let (sources, binaries) = compiled.await?;
        let mut images = Vec::new();
        for (name, binary) in binaries {
            images.push(self.build_service_image(name, &binary).await?);
        }
        let references = images
            .iter()
            .map(|image| (image.name.clone(), image.reference.clone()))
            .collect();
        services::record_images(&self.dirs.state_dir, &sources, references)?;
        self.remove_stale_service_images(services).await?;
        Ok(images)
    }

    /// Returns the image of a binary, which is built if it is missing.
    async fn build_service_image(
        &self,
        name: &str,
        binary: &Path,
    ) -> Result<AcquiredImage, ImageError> {
        let program = services::read_static_binary(name, binary).await?;
        let spec = DerivedImageSpec {
            component: name.to_owned(),
            progress_name: SERVICES_PROGRESS_NAME.to_owned(),
            content_digest: Sha256Digest::compute(&program),
            base_image: SCRATCH.into(),
            golden: false,
            target_dir: "/".into(),
            labels: HashMap::new(),
            instructions: vec![
                format!("USER {SERVICE_UID}:{SERVICE_UID}"),
                format!("ENTRYPOINT [\"{BINARY_PATH}\"]"),
            ],
        };
        let reference = spec.reference();
        if let Some(image) = self.engine.inspect_image(&reference).await? {
            let reason = "its binary has not changed";
            return Ok(acquired_image(
                name,
                &reference,
                image,
                ImageOrigin::Local,
                reason,
            ));
        }
        let files = build_context::stream_from_writer(move |writer| {
            let mut tar = tar::Builder::new(writer);
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o755);
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(program.len() as u64);
            let path = BINARY_PATH.trim_start_matches('/');
            tar.append_data(&mut header, path, program.as_slice())?;
            tar.into_inner()?.flush()
        });
        self.build_derived(&spec, files).await?;
        let image = self.require_image(&reference).await?;
        let reason = "its sources were compiled";
        Ok(acquired_image(
            name,
            &reference,
            image,
            ImageOrigin::Built,
            reason,
        ))
    }
}
