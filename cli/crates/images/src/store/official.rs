//! Official images, which are pulled from a registry.

use dm_engine::images::Image;
use tokio_util::sync::CancellationToken;

use super::{AcquiredImage, ImageOrigin, ImageStore, RecipeBase, ReusePolicy, acquired_image};
use crate::catalog::ImageSpec;
use crate::error::{ImageError, PullFailure};
use crate::pin::ImagePin;
use crate::pull::ImagePuller;
use crate::recipe::local_reference;
use crate::reference::RegistryReference;

/// The version of a reference that is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PullVersion {
    /// The version at the first use of the reference.
    Pinned,
    /// The current version.
    Latest,
}

impl ImageStore {
    pub(super) fn report_pull_failure(
        &self,
        name: &str,
        reference: &str,
        failure: &PullFailure,
        message: &str,
    ) {
        let text = match failure {
            PullFailure::Unreachable | PullFailure::TimedOut { .. } => {
                format!(
                    "could not reach the registry {}: building {name} here",
                    RegistryReference::parse(reference).registry()
                )
            }
            // The registry answered, and its message may help the user.
            _ => format!("could not pull {reference} ({message}): building {name} here"),
        };
        self.progress.on_note(name, text);
    }

    /// Returns the official reference of an image, in the mirror if one is configured.
    pub(crate) fn official_reference(&self, spec: &ImageSpec) -> Option<RegistryReference> {
        let official = RegistryReference::parse(spec.official.as_ref()?);
        Some(official.with_mirror(self.settings.mirror.as_deref()))
    }

    pub(super) async fn find_local_official(
        &self,
        spec: &ImageSpec,
    ) -> Result<Option<AcquiredImage>, ImageError> {
        let Some(official) = self.official_reference(spec) else {
            return Ok(None);
        };
        let reference = match self.engine.inspect_image(&official.to_string()).await? {
            None => return Ok(None),
            Some(image) => {
                self.check_pin(&spec.recipe.name, &official, &image)?;
                self.container_reference(spec, &official, &image)
            }
        };
        let image = self.engine.inspect_image(&reference).await?;
        Ok(image.map(|image| {
            acquired_image(
                &spec.recipe.name,
                &reference,
                image,
                ImageOrigin::Local,
                "it is on the engine",
            )
        }))
    }

    /// Returns the reference that containers are created from if an official image is present:
    /// that image, or the image built on top of it.
    pub(crate) fn container_reference(
        &self,
        spec: &ImageSpec,
        official: &RegistryReference,
        image: &Image,
    ) -> String {
        let derived_digest = match (&spec.overlay, spec.recipe.base.is_none()) {
            (Some(overlay), _) => Some(overlay.digest(Some(&image.id))),
            // A base is identified by its recipe, regardless of its origin.
            (None, true) => self.catalog.recipe_digest(&spec.recipe.name).ok(),
            (None, false) => None,
        };
        derived_digest.map_or_else(
            || official.to_string(),
            |digest| local_reference(&spec.recipe.name, &digest),
        )
    }

    /// Compares an image with the pin of its reference. The first image is pinned.
    fn check_pin(
        &self,
        name: &str,
        official: &RegistryReference,
        image: &Image,
    ) -> Result<(), ImageError> {
        if official.has_digest() {
            // The engine has verified it.
            return Ok(());
        }
        let current = ImagePin::from_image(official, image);
        match ImagePin::load(&self.dirs.state_dir, official)? {
            Some(pin) if pin.matches_image(image) => Ok(()),
            Some(pin) => Err(ImageError::PinMismatch {
                name: name.to_owned(),
                reference: official.to_string(),
                pinned: pin.display_id().to_owned(),
                found: current.display_id().to_owned(),
            }),
            None => current.save(&self.dirs.state_dir, official),
        }
    }

    /// Pins an official reference to an image that was loaded from an archive.
    pub(crate) fn pin_loaded_image(
        &self,
        name: &str,
        reference: &str,
        image: &Image,
    ) -> Result<(), ImageError> {
        let spec = self.catalog.get(name).ok();
        match spec.and_then(|spec| self.official_reference(spec)) {
            Some(official) if official.to_string() == reference => {
                self.update_pin(name, &official, image)
            }
            _ => Ok(()),
        }
    }

    /// Pins the reference to an image that was requested, replacing the previous pin.
    fn update_pin(
        &self,
        name: &str,
        official: &RegistryReference,
        image: &Image,
    ) -> Result<(), ImageError> {
        if official.has_digest() {
            return Ok(());
        }
        let current = ImagePin::from_image(official, image);
        // An unreadable pin is replaced.
        if let Ok(Some(pin)) = ImagePin::load(&self.dirs.state_dir, official)
            && !pin.matches_image(image)
        {
            let text = format!(
                "{official} now points to {} instead of {}",
                current.display_id(),
                pin.display_id()
            );
            self.progress.on_note(name, text);
        }
        current.save(&self.dirs.state_dir, official)
    }

    pub(super) async fn pull_official(
        &self,
        spec: &ImageSpec,
        reason: String,
        version: PullVersion,
        cancel: &CancellationToken,
    ) -> Result<AcquiredImage, ImageError> {
        let name = spec.recipe.name.as_str();
        let Some(official) = self.official_reference(spec) else {
            return Err(ImageError::NotPublished {
                name: name.to_owned(),
            });
        };
        let puller = ImagePuller {
            engine: &self.engine,
            settings: &self.settings,
            registries: &self.registries,
            progress: self.progress.as_ref(),
            cancel,
        };
        let official_name = official.to_string();
        let pin = match version {
            PullVersion::Pinned => ImagePin::load(&self.dirs.state_dir, &official)?,
            PullVersion::Latest => None,
        };
        match pin.as_ref().and_then(|pin| pin.digest_reference(&official)) {
            Some(pinned) => {
                puller.pull(name, &pinned).await?;
                let image = self.require_image(&pinned.to_string()).await?;
                self.engine.tag_image(&image.id, &official_name).await?;
            }
            None => puller.pull(name, &official).await?,
        }
        let image = self.require_image(&official_name).await?;
        match version {
            PullVersion::Pinned => self.check_pin(name, &official, &image)?,
            PullVersion::Latest => self.update_pin(name, &official, &image)?,
        }
        let reference = self.container_reference(spec, &official, &image);
        if reference != official_name && self.engine.inspect_image(&reference).await?.is_none() {
            match &spec.overlay {
                Some(overlay) => {
                    let digest = overlay.digest(Some(&image.id));
                    self.build_recipe(
                        overlay,
                        &digest,
                        RecipeBase::Present(&official_name),
                        ReusePolicy::Reuse,
                        cancel,
                    )
                    .await?;
                }
                None => self.build_base_from(spec, &official_name, cancel).await?,
            }
        }
        let image = self.require_image(&reference).await?;
        Ok(acquired_image(
            name,
            &reference,
            image,
            ImageOrigin::Pulled,
            reason,
        ))
    }
}
