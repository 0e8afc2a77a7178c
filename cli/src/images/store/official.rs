//! Images that a registry has.

use tokio_util::sync::CancellationToken;

use super::{Acquired, Again, How, Images, acquired};
use crate::engine::images::Image;
use crate::images::catalog::ImageSpec;
use crate::images::error::{ImageError, PullRefusal};
use crate::images::pull::Puller;
use crate::images::recipe::local_reference;
use crate::images::reference::Reference;

impl Images {
    pub(super) fn tell_of_refusal(
        &self,
        name: &str,
        reference: &str,
        refusal: &PullRefusal,
        said: &str,
    ) {
        let text = match refusal {
            PullRefusal::Unreachable | PullRefusal::TimedOut { .. } => {
                format!(
                    "no registry answers at {}: building {name} here",
                    Reference::parse(reference).registry()
                )
            }
            // It answered, so somebody may want to know what.
            _ => format!("{reference} could not be pulled ({said}): building {name} here"),
        };
        self.progress.note(name, text);
    }

    /// The official reference of an image, behind the mirror if there is one.
    pub(in crate::images) fn official(&self, spec: &ImageSpec) -> Option<Reference> {
        let official = Reference::parse(spec.official.as_ref()?);
        Some(official.mirrored(self.settings.mirror.as_deref()))
    }

    pub(super) async fn local_official(
        &self,
        spec: &ImageSpec,
    ) -> Result<Option<Acquired>, ImageError> {
        let Some(official) = self.official(spec) else {
            return Ok(None);
        };
        let reference = match self.engine.image(&official.to_string()).await? {
            None => return Ok(None),
            Some(image) => self.usable_reference(spec, &official, &image),
        };
        let image = self.engine.image(&reference).await?;
        Ok(image.map(|image| {
            acquired(
                &spec.recipe.name,
                &reference,
                image,
                How::Local,
                "it is here",
            )
        }))
    }

    /// What a container is made from once an official image is here: that image,
    /// or what stands on top of it.
    pub(in crate::images) fn usable_reference(
        &self,
        spec: &ImageSpec,
        official: &Reference,
        image: &Image,
    ) -> String {
        let own = match (&spec.on_top, spec.recipe.base.is_none()) {
            (Some(on_top), _) => Some(on_top.digest(Some(&image.id))),
            // A base is known by its recipe however it was obtained.
            (None, true) => self.catalog.digest(&spec.recipe.name).ok(),
            (None, false) => None,
        };
        own.map_or_else(
            || official.to_string(),
            |digest| local_reference(&spec.recipe.name, &digest),
        )
    }

    pub(super) async fn pull_official(
        &self,
        spec: &ImageSpec,
        why: String,
        cancel: &CancellationToken,
    ) -> Result<Acquired, ImageError> {
        let name = spec.recipe.name.as_str();
        let Some(official) = self.official(spec) else {
            return Err(ImageError::NotPublished {
                name: name.to_owned(),
            });
        };
        let puller = Puller {
            engine: &self.engine,
            settings: &self.settings,
            registries: &self.registries,
            progress: self.progress.as_ref(),
            cancel,
        };
        puller.pull(name, &official).await?;
        let official_name = official.to_string();
        let image = self.present(&official_name).await?;
        let reference = self.usable_reference(spec, &official, &image);
        if reference != official_name && self.engine.image(&reference).await?.is_none() {
            match &spec.on_top {
                Some(on_top) => {
                    let digest = on_top.digest(Some(&image.id));
                    self.build_recipe(on_top, &digest, Some(&official_name), Again::Keep, cancel)
                        .await?;
                }
                None => self.base_from(spec, &official_name, cancel).await?,
            }
        }
        let image = self.present(&reference).await?;
        Ok(acquired(name, &reference, image, How::Pulled, why))
    }
}
