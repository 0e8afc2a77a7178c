//! Images that are built, with what they stand on.

use std::collections::HashMap;

use dm_engine::images::BuildOptions;
use tokio_util::sync::CancellationToken;

use super::official::Version;
use super::{Acquired, Again, How, Images, acquired};
use crate::artifact::Fetcher;
use crate::base::{self, BaseMaker};
use crate::build::Builder;
use crate::catalog::ImageSpec;
use crate::context::{self, Contents, Entry};
use crate::error::ImageError;
use crate::recipe::{Digest, Recipe, labels, local_reference};
use crate::settings::Source;
use crate::{ORIGIN_BUILT, ORIGIN_PULLED};

impl Images {
    /// Builds an image and what it stands on.
    pub(super) async fn make(
        &self,
        name: &str,
        why: String,
        again: Again,
        cancel: &CancellationToken,
    ) -> Result<Acquired, ImageError> {
        let spec = self.catalog.get(name)?;
        let digest = self.catalog.digest(name)?;
        let reference = local_reference(name, &digest);
        match &spec.recipe.base {
            None => self.make_base(spec, &digest, again, cancel).await?,
            Some(base) => {
                // Boxed, because a base may have a base.
                let base = Box::pin(self.base_of(base, cancel)).await?;
                self.build_recipe(&spec.recipe, &digest, Some(&base), again, cancel)
                    .await?;
            }
        }
        let image = self.present(&reference).await?;
        Ok(acquired(name, &reference, image, How::Built, why))
    }

    /// The reference of a base, made if it isn't here. Nothing is said of it where
    /// it is.
    async fn base_of(&self, base: &str, cancel: &CancellationToken) -> Result<String, ImageError> {
        if let Some(found) = self.local_build(base).await? {
            return Ok(found.reference);
        }
        let found = if self.settings.source == Source::Auto {
            self.obtain(base, cancel).await?
        } else {
            let why = "another image is based on it".into();
            self.make(base, why, Again::Keep, cancel).await?
        };
        Ok(found.reference)
    }

    /// Runs a Dockerfile, at most once for a digest whoever asks for it.
    pub(super) async fn build_recipe(
        &self,
        recipe: &Recipe,
        digest: &Digest,
        base: Option<&str>,
        again: Again,
        cancel: &CancellationToken,
    ) -> Result<(), ImageError> {
        let reference = local_reference(&recipe.name, digest);
        let Some((_turn, lock)) = self
            .exclusively(&recipe.name, &reference, digest, again, cancel)
            .await?
        else {
            return Ok(());
        };
        let mut entries = Vec::new();
        for file in &recipe.files {
            entries.push(Entry {
                path: file.path.clone(),
                mode: file.mode,
                contents: Contents::Bytes(file.contents.clone()),
            });
        }
        let fetcher = Fetcher {
            settings: &self.settings,
            cache: &self.dirs.cache,
            tools: self.tools.as_ref(),
            progress: self.progress.as_ref(),
            cancel,
            image: &recipe.name,
        };
        for artifact in &recipe.artifacts {
            entries.push(Entry {
                path: artifact.file.clone(),
                mode: 0o644,
                contents: Contents::File(fetcher.fetch(artifact, &lock).await?),
            });
        }
        context::label(&mut entries, &labels(recipe, digest, ORIGIN_BUILT));
        let mut args: HashMap<_, _> = recipe.build_args.clone().into_iter().collect();
        if let Some(base) = base {
            args.insert("BASE".to_owned(), base.to_owned());
        }
        let options = BuildOptions {
            dockerfile: context::DOCKERFILE.into(),
            args,
            no_cache: again == Again::Rebuild,
        };
        let builder = Builder {
            engine: &self.engine,
            progress: self.progress.as_ref(),
            cancel,
        };
        let _slot = self.slot(&recipe.name, cancel).await?;
        let id = builder
            .build(&recipe.name, options, context::stream(entries))
            .await?;
        self.publish(&id, &reference, &lock).await
    }

    /// Makes the base: bootstrapped where that is possible, else from a pull.
    async fn make_base(
        &self,
        spec: &ImageSpec,
        digest: &Digest,
        again: Again,
        cancel: &CancellationToken,
    ) -> Result<(), ImageError> {
        let recipe = &spec.recipe;
        if recipe.text(base::ARGUMENTS).is_none() {
            // A base of its own making, e.g. from scratch.
            return self.build_recipe(recipe, digest, None, again, cancel).await;
        }
        let reference = local_reference(&recipe.name, digest);
        let mut closed = {
            let Some((_turn, lock)) = self
                .exclusively(&recipe.name, &reference, digest, again, cancel)
                .await?
            else {
                return Ok(());
            };
            let _slot = self.slot(&recipe.name, cancel).await?;
            let maker = self.base_maker(recipe, digest, cancel);
            match maker.bootstrap(&lock).await? {
                Ok((id, tool)) => {
                    let id = maker.finish(&id, tool).await?;
                    return self.publish(&id, &reference, &lock).await;
                }
                Err(closed) => closed,
            }
        };
        match self
            .pull_official(
                spec,
                "no bootstrap tool is available".into(),
                Version::Pinned,
                cancel,
            )
            .await
        {
            Ok(_) => Ok(()),
            Err(error @ (ImageError::Pull { .. } | ImageError::NotPublished { .. })) => {
                closed.push(error.to_string());
                Err(ImageError::NoBase { tried: closed })
            }
            Err(error) => Err(error),
        }
    }

    /// Makes the base on top of an image that was pulled.
    pub(super) async fn base_from(
        &self,
        spec: &ImageSpec,
        official: &str,
        cancel: &CancellationToken,
    ) -> Result<(), ImageError> {
        let recipe = &spec.recipe;
        let digest = self.catalog.digest(&recipe.name)?;
        let reference = local_reference(&recipe.name, &digest);
        let Some((_turn, lock)) = self
            .exclusively(&recipe.name, &reference, &digest, Again::Keep, cancel)
            .await?
        else {
            return Ok(());
        };
        let id = self
            .base_maker(recipe, &digest, cancel)
            .finish(official, ORIGIN_PULLED)
            .await?;
        self.publish(&id, &reference, &lock).await
    }

    fn base_maker<'a>(
        &'a self,
        recipe: &'a Recipe,
        digest: &'a Digest,
        cancel: &'a CancellationToken,
    ) -> BaseMaker<'a> {
        BaseMaker {
            engine: &self.engine,
            tools: self.tools.as_ref(),
            progress: self.progress.as_ref(),
            cancel,
            recipe,
            digest,
        }
    }
}
