//! Builds images and their base images.

use std::collections::HashMap;

use dm_engine::images::BuildOptions;
use tokio_util::sync::CancellationToken;

use super::official::PullVersion;
use super::{AcquiredImage, ImageOrigin, ImageStore, RecipeBase, ReusePolicy, acquired_image};
use crate::artifact::ArtifactFetcher;
use crate::base::{self, BaseImageBuilder};
use crate::build_context::{self, ContextEntry, EntrySource};
use crate::catalog::ImageSpec;
use crate::error::ImageError;
use crate::image_builder::ImageBuilder;
use crate::lock::BuildLock;
use crate::recipe::{Recipe, Sha256Digest, local_reference, recipe_labels};
use crate::settings::SourcePolicy;
use crate::{ORIGIN_BUILT, ORIGIN_PULLED};

/// Runs two operations at the same time. If one fails, the other is cancelled and awaited,
/// so that it leaves nothing behind. Returns the error of the one that failed by itself.
async fn join_or_cancel<A, B, FutureA, FutureB>(
    cancel: &CancellationToken,
    first: impl FnOnce(CancellationToken) -> FutureA,
    second: impl FnOnce(CancellationToken) -> FutureB,
) -> Result<(A, B), ImageError>
where
    FutureA: Future<Output = Result<A, ImageError>>,
    FutureB: Future<Output = Result<B, ImageError>>,
{
    let both = cancel.child_token();
    let (first, second) = (first(both.clone()), second(both.clone()));
    let (first, second) = tokio::join!(
        async { first.await.inspect_err(|_| both.cancel()) },
        async { second.await.inspect_err(|_| both.cancel()) },
    );
    match (first, second) {
        (Ok(first), Ok(second)) => Ok((first, second)),
        // The cancelled one failed second.
        (Err(ImageError::Cancelled), Err(error)) | (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

impl ImageStore {
    /// Builds an image and its base.
    pub(super) async fn build_with_base(
        &self,
        name: &str,
        reason: String,
        reuse: ReusePolicy,
        cancel: &CancellationToken,
    ) -> Result<AcquiredImage, ImageError> {
        let spec = self.catalog.get(name)?;
        let digest = self.catalog.recipe_digest(name)?;
        let reference = local_reference(name, &digest);
        match &spec.recipe.base {
            None => self.build_base(spec, &digest, reuse, cancel).await?,
            Some(base) => {
                let base = RecipeBase::Named(base);
                self.build_recipe(&spec.recipe, &digest, base, reuse, cancel)
                    .await?;
            }
        }
        let image = self.require_image(&reference).await?;
        Ok(acquired_image(
            name,
            &reference,
            image,
            ImageOrigin::Built,
            reason,
        ))
    }

    /// Returns the reference of the base of a recipe, which is obtained if it is missing.
    async fn acquire_recipe_base(
        &self,
        base: RecipeBase<'_>,
        cancel: &CancellationToken,
    ) -> Result<Option<String>, ImageError> {
        match base {
            RecipeBase::Scratch => Ok(None),
            RecipeBase::Present(reference) => Ok(Some(reference.to_owned())),
            // Boxed, because a base may have a base.
            RecipeBase::Named(name) => Box::pin(self.acquire_base(name, cancel)).await.map(Some),
        }
    }

    /// Fetches the artifacts of a recipe, one after the other.
    async fn fetch_artifacts(
        &self,
        recipe: &Recipe,
        lock: &BuildLock,
        cancel: &CancellationToken,
    ) -> Result<Vec<ContextEntry>, ImageError> {
        let fetcher = ArtifactFetcher {
            settings: &self.settings,
            cache: &self.dirs.cache_dir,
            tools: self.tools.as_ref(),
            progress: self.progress.as_ref(),
            cancel,
            image_name: &recipe.name,
        };
        let mut entries = Vec::new();
        for artifact in &recipe.artifacts {
            entries.push(ContextEntry {
                path: artifact.context_path.clone(),
                mode: 0o644,
                source: EntrySource::File(fetcher.fetch(artifact, lock).await?),
            });
        }
        Ok(entries)
    }

    /// Returns the reference of a base image, which is obtained if it is missing.
    async fn acquire_base(
        &self,
        base: &str,
        cancel: &CancellationToken,
    ) -> Result<String, ImageError> {
        if let Some(local) = self.find_local_build(base).await? {
            return Ok(local.reference);
        }
        let acquired = if self.settings.source == SourcePolicy::Auto {
            self.acquire_cancellable(base, cancel).await?
        } else {
            let reason = "another image is based on it".into();
            self.build_with_base(base, reason, ReusePolicy::Reuse, cancel)
                .await?
        };
        Ok(acquired.reference)
    }

    /// Builds a recipe, at most once per digest across all processes.
    pub(super) async fn build_recipe(
        &self,
        recipe: &Recipe,
        digest: &Sha256Digest,
        base: RecipeBase<'_>,
        reuse: ReusePolicy,
        cancel: &CancellationToken,
    ) -> Result<(), ImageError> {
        let reference = local_reference(&recipe.name, digest);
        let Some((_guard, lock)) = self
            .acquire_build_lock(&recipe.name, &reference, digest, reuse, cancel)
            .await?
        else {
            return Ok(());
        };
        let mut entries = Vec::new();
        for file in &recipe.files {
            entries.push(ContextEntry {
                path: file.path.clone(),
                mode: file.mode,
                source: EntrySource::Bytes(file.contents.clone()),
            });
        }
        let (base, artifacts) = join_or_cancel(
            cancel,
            |cancel| async move { self.acquire_recipe_base(base, &cancel).await },
            |cancel| {
                let lock = &lock;
                async move { self.fetch_artifacts(recipe, lock, &cancel).await }
            },
        )
        .await?;
        entries.extend(artifacts);
        build_context::append_labels(&mut entries, &recipe_labels(recipe, digest, ORIGIN_BUILT));
        let mut args: HashMap<_, _> = recipe.build_args.clone().into_iter().collect();
        if let Some(base) = base {
            args.insert("BASE".to_owned(), base);
        }
        let options = BuildOptions {
            dockerfile: build_context::DOCKERFILE.into(),
            args,
            no_cache: reuse == ReusePolicy::Rebuild,
        };
        let builder = ImageBuilder {
            engine: &self.engine,
            progress: self.progress.as_ref(),
            cancel,
        };
        let _slot = self.acquire_build_slot(&recipe.name, cancel).await?;
        let id = builder.build(&recipe.name, options, entries).await?;
        self.tag_finished(&id, &reference, &lock).await
    }

    /// Builds the base: bootstraps it if possible, otherwise pulls it.
    async fn build_base(
        &self,
        spec: &ImageSpec,
        digest: &Sha256Digest,
        reuse: ReusePolicy,
        cancel: &CancellationToken,
    ) -> Result<(), ImageError> {
        let recipe = &spec.recipe;
        if recipe.file_text(base::MMDEBSTRAP_ARGUMENTS).is_none() {
            // A base with its own Dockerfile, e.g. from scratch.
            return self
                .build_recipe(recipe, digest, RecipeBase::Scratch, reuse, cancel)
                .await;
        }
        let reference = local_reference(&recipe.name, digest);
        let mut unavailable = {
            let Some((_guard, lock)) = self
                .acquire_build_lock(&recipe.name, &reference, digest, reuse, cancel)
                .await?
            else {
                return Ok(());
            };
            let _slot = self.acquire_build_slot(&recipe.name, cancel).await?;
            let builder = self.base_image_builder(recipe, digest, cancel);
            match builder.bootstrap(&lock).await? {
                Ok((id, tool)) => {
                    let id = builder.customize(&id, tool).await?;
                    return self.tag_finished(&id, &reference, &lock).await;
                }
                Err(unavailable) => unavailable,
            }
        };
        match self
            .pull_official(
                spec,
                "no bootstrap tool is available".into(),
                PullVersion::Pinned,
                cancel,
            )
            .await
        {
            Ok(_) => Ok(()),
            Err(error @ (ImageError::Pull { .. } | ImageError::NotPublished { .. })) => {
                unavailable.push(error.to_string());
                Err(ImageError::NoBaseImage { tried: unavailable })
            }
            Err(error) => Err(error),
        }
    }

    /// Builds the base on top of a pulled image.
    pub(super) async fn build_base_from(
        &self,
        spec: &ImageSpec,
        official: &str,
        cancel: &CancellationToken,
    ) -> Result<(), ImageError> {
        let recipe = &spec.recipe;
        let digest = self.catalog.recipe_digest(&recipe.name)?;
        let reference = local_reference(&recipe.name, &digest);
        let Some((_guard, lock)) = self
            .acquire_build_lock(
                &recipe.name,
                &reference,
                &digest,
                ReusePolicy::Reuse,
                cancel,
            )
            .await?
        else {
            return Ok(());
        };
        let id = self
            .base_image_builder(recipe, &digest, cancel)
            .customize(official, ORIGIN_PULLED)
            .await?;
        self.tag_finished(&id, &reference, &lock).await
    }

    fn base_image_builder<'a>(
        &'a self,
        recipe: &'a Recipe,
        digest: &'a Sha256Digest,
        cancel: &'a CancellationToken,
    ) -> BaseImageBuilder<'a> {
        BaseImageBuilder {
            engine: &self.engine,
            tools: self.tools.as_ref(),
            progress: self.progress.as_ref(),
            cancel,
            recipe,
            digest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn fail() -> Result<(), ImageError> {
        Err(ImageError::NotPublished {
            name: "keycloak".into(),
        })
    }

    async fn wait_for(cancel: CancellationToken) -> Result<(), ImageError> {
        cancel.cancelled().await;
        Err(ImageError::Cancelled)
    }

    #[tokio::test]
    async fn failure_cancels_the_other_operation_and_is_returned() {
        let cancel = CancellationToken::new();
        for error in [
            join_or_cancel(&cancel, wait_for, |_| fail()).await,
            join_or_cancel(&cancel, |_| fail(), wait_for).await,
        ] {
            assert!(matches!(error, Err(ImageError::NotPublished { .. })));
        }
        assert!(!cancel.is_cancelled(), "other images are still built");
    }
}
