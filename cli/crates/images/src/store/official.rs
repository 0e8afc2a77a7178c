//! Images that a registry has.

use dm_engine::images::Image;
use tokio_util::sync::CancellationToken;

use super::{Acquired, Again, How, Images, acquired};
use crate::catalog::ImageSpec;
use crate::error::{ImageError, PullRefusal};
use crate::pin::Pin;
use crate::pull::Puller;
use crate::recipe::local_reference;
use crate::reference::Reference;

/// Which version of a reference is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// The one that it stood for when it was used first.
    Pinned,
    /// The one that it stands for now.
    Newest,
}

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
                    "could not reach the registry {}: building {name} here",
                    Reference::parse(reference).registry()
                )
            }
            // It answered, so somebody may want to know what.
            _ => format!("could not pull {reference} ({said}): building {name} here"),
        };
        self.progress.note(name, text);
    }

    /// The official reference of an image, behind the mirror if there is one.
    pub(crate) fn official(&self, spec: &ImageSpec) -> Option<Reference> {
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
            Some(image) => {
                self.check_pin(&spec.recipe.name, &official, &image)?;
                self.usable_reference(spec, &official, &image)
            }
        };
        let image = self.engine.image(&reference).await?;
        Ok(image.map(|image| {
            acquired(
                &spec.recipe.name,
                &reference,
                image,
                How::Local,
                "it is on the engine",
            )
        }))
    }

    /// What a container is made from once an official image is here: that image,
    /// or what stands on top of it.
    pub(crate) fn usable_reference(
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

    /// Compares an image with the one that its reference stood for first; the first one is
    /// recorded.
    fn check_pin(&self, name: &str, official: &Reference, image: &Image) -> Result<(), ImageError> {
        if official.has_digest() {
            // The engine has compared it.
            return Ok(());
        }
        let found = Pin::of(official, image);
        match Pin::read(&self.dirs.state, official)? {
            Some(pin) if pin.is(image) => Ok(()),
            Some(pin) => Err(ImageError::Moved {
                name: name.to_owned(),
                reference: official.to_string(),
                pinned: pin.shown().to_owned(),
                found: found.shown().to_owned(),
            }),
            None => found.write(&self.dirs.state, official),
        }
    }

    /// Takes an image that came by a file as what its official reference stands for.
    pub(crate) fn adopt_official(
        &self,
        name: &str,
        reference: &str,
        image: &Image,
    ) -> Result<(), ImageError> {
        let spec = self.catalog.get(name).ok();
        match spec.and_then(|spec| self.official(spec)) {
            Some(official) if official.to_string() == reference => {
                self.move_pin(name, &official, image)
            }
            _ => Ok(()),
        }
    }

    /// Records an image that was asked for, whatever the reference stood for before.
    fn move_pin(&self, name: &str, official: &Reference, image: &Image) -> Result<(), ImageError> {
        if official.has_digest() {
            return Ok(());
        }
        let found = Pin::of(official, image);
        // One that can't be read is in the way of nothing here.
        if let Ok(Some(pin)) = Pin::read(&self.dirs.state, official)
            && !pin.is(image)
        {
            let text = format!(
                "{official} now points to {} instead of {}",
                found.shown(),
                pin.shown()
            );
            self.progress.note(name, text);
        }
        found.write(&self.dirs.state, official)
    }

    pub(super) async fn pull_official(
        &self,
        spec: &ImageSpec,
        why: String,
        version: Version,
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
        let official_name = official.to_string();
        let pin = match version {
            Version::Pinned => Pin::read(&self.dirs.state, &official)?,
            Version::Newest => None,
        };
        match pin.as_ref().and_then(|pin| pin.by_digest(&official)) {
            Some(pinned) => {
                puller.pull(name, &pinned).await?;
                let image = self.present(&pinned.to_string()).await?;
                self.engine.tag_image(&image.id, &official_name).await?;
            }
            None => puller.pull(name, &official).await?,
        }
        let image = self.present(&official_name).await?;
        match version {
            Version::Pinned => self.check_pin(name, &official, &image)?,
            Version::Newest => self.move_pin(name, &official, &image)?,
        }
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
