//! Obtains an image by the fastest way that the settings allow: local, pulled or built.
//!
//! ```text
//! acquired        an available image and its origin
//! official        pulls images from a registry
//! build           builds images and their base images
//! derive          builds images from another image and some files
//! services        builds images from the services' binaries
//! stale_services  removes unused images of services
//! concurrency     one build per image, and few builds in total
//! ```

mod acquired;
mod build;
mod concurrency;
mod derive;
mod official;
mod services;
mod stale_services;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use dm_engine::Engine;
use futures_util::future::join_all;
use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;

use self::official::PullVersion;
use super::catalog::Catalog;
use super::error::ImageError;
use super::process::{PathTools, ToolProvider};
use super::progress::{ImageProgress, NoImageProgress};
use super::pull::RegistryStates;
use super::services::ServiceImages;
use super::settings::{ImageDirs, ImageSettings, SourcePolicy};

pub(super) use acquired::acquired_image;
pub use acquired::{AcquiredImage, ImageOrigin};

/// The number of concurrent builds. More builds are not faster: they share the same disk
/// and network.
const MAX_PARALLEL_BUILDS: usize = 3;

/// Whether an existing image is reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReusePolicy {
    /// An existing image is used.
    Reuse,
    /// The image is built again, without the cache.
    Rebuild,
}

/// The image that a recipe is based on.
#[derive(Debug, Clone, Copy)]
enum RecipeBase<'a> {
    /// None.
    Scratch,
    /// An image of the catalog, by its name. It is obtained if it is missing.
    Named(&'a str),
    /// An image that the engine has, by its reference.
    Present(&'a str),
}

/// The images of the stack on one engine.
pub struct ImageStore {
    pub(super) engine: Engine,
    pub(super) catalog: Catalog,
    pub(super) settings: ImageSettings,
    pub(super) dirs: ImageDirs,
    pub(super) tools: Arc<dyn ToolProvider>,
    pub(super) progress: Arc<dyn ImageProgress>,
    pub(super) cancel: CancellationToken,
    /// The components whose images are listed, saved and pruned. Images of other components are
    /// never modified, regardless of their labels.
    pub(super) components: BTreeSet<String>,
    pub(super) services: Option<ServiceImages>,
    registries: RegistryStates,
    build_slots: Semaphore,
    builds_in_progress: Mutex<HashMap<String, Arc<Mutex<()>>>>,
}

impl fmt::Debug for ImageStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImageStore")
            .field("catalog", &self.catalog)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl ImageStore {
    /// Creates a store for the images of a catalogue. By default it reports no progress and
    /// uses the installed programs.
    #[must_use]
    pub fn new(engine: Engine, catalog: Catalog, settings: ImageSettings, dirs: ImageDirs) -> Self {
        Self {
            engine,
            components: catalog.image_names().map(str::to_owned).collect(),
            services: None,
            catalog,
            settings,
            dirs,
            tools: Arc::new(PathTools),
            progress: Arc::new(NoImageProgress),
            cancel: CancellationToken::new(),
            registries: RegistryStates::default(),
            build_slots: Semaphore::new(MAX_PARALLEL_BUILDS),
            builds_in_progress: Mutex::default(),
        }
    }

    /// Sets the provider of host programs.
    #[must_use]
    pub fn with_tools(mut self, tools: Arc<dyn ToolProvider>) -> Self {
        self.tools = tools;
        self
    }

    /// Sets the receiver of progress events.
    #[must_use]
    pub fn with_progress(mut self, progress: Arc<dyn ImageProgress>) -> Self {
        self.progress = progress;
        self
    }

    /// Sets the token that cancels all operations.
    #[must_use]
    pub fn with_cancel(mut self, cancel: CancellationToken) -> Self {
        self.cancel = cancel;
        self
    }

    /// Adds the images of the services.
    #[must_use]
    pub fn with_services(mut self, services: ServiceImages) -> Self {
        self.components
            .extend(services.names().iter().map(|&name| name.to_owned()));
        self.services = Some(services);
        self
    }

    /// Returns the catalogue.
    #[must_use]
    pub const fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Returns the identity of an image, independent of its origin. It changes if another
    /// image would be used.
    ///
    /// # Errors
    /// Returns [`ImageError::UnknownImage`] if the name is unknown.
    pub fn identity(&self, name: &str) -> Result<String, ImageError> {
        if let Some(services) = self.services_containing(name) {
            return self.service_identity(services, name);
        }
        let official = self
            .catalog
            .get(name)?
            .official
            .as_deref()
            .unwrap_or_default();
        let built = self.catalog.local_reference(name)?;
        Ok(match self.settings.source {
            SourcePolicy::Auto => format!("{built} {official}"),
            SourcePolicy::Build => built,
            SourcePolicy::Pull => official.to_owned(),
        })
    }

    /// Returns whether the image is one of a service. These images are built together.
    #[must_use]
    pub fn is_service(&self, name: &str) -> bool {
        self.services_containing(name).is_some()
    }

    /// Returns the services, if they include the name.
    fn services_containing(&self, name: &str) -> Option<&ServiceImages> {
        self.services
            .as_ref()
            .filter(|services| services.names().contains(&name))
    }

    /// Returns the local image that would be used now, if it is present. This is fast, since
    /// it only queries the engine.
    ///
    /// # Errors
    /// Returns [`ImageError::UnknownImage`] if the name is unknown, and
    /// [`ImageError::Engine`] if the engine fails.
    pub async fn find_local(&self, name: &str) -> Result<Option<AcquiredImage>, ImageError> {
        if let Some(services) = self.services_containing(name) {
            return self.find_local_service(services, name).await;
        }
        let spec = self.catalog.get(name)?;
        if self.settings.source != SourcePolicy::Pull
            && let Some(local) = self.find_local_build(name).await?
        {
            return Ok(Some(local));
        }
        if self.settings.source != SourcePolicy::Build {
            return self.find_local_official(spec).await;
        }
        Ok(None)
    }

    /// Obtains an image.
    ///
    /// # Errors
    /// Returns the [`ImageError`] of the last allowed way, or [`ImageError::Cancelled`] on
    /// cancellation.
    pub async fn acquire(&self, name: &str) -> Result<AcquiredImage, ImageError> {
        self.acquire_cancellable(name, &self.cancel).await
    }

    /// Builds images regardless of the configured source. Existing images are rebuilt only
    /// with `no_cache`. Services are always compiled together.
    ///
    /// # Errors
    /// Returns the first [`ImageError`]; all other builds are cancelled.
    pub async fn build(
        &self,
        names: &[&str],
        no_cache: bool,
    ) -> Result<Vec<AcquiredImage>, ImageError> {
        let (services, recipes): (Vec<&str>, Vec<&str>) =
            names.iter().partition(|name| self.is_service(name));
        let (built, compiled) = tokio::join!(
            self.cancel_all_on_error(self.build_recipes(&recipes, no_cache)),
            self.cancel_all_on_error(async {
                if services.is_empty() {
                    return Ok(Vec::new());
                }
                self.build_services().await
            }),
        );
        let (mut built, compiled) = match (built, compiled) {
            // A cancellation is less informative than its cause.
            (Err(ImageError::Cancelled), compiled) => {
                (Vec::new(), compiled.and(Err(ImageError::Cancelled))?)
            }
            (built, compiled) => (built?, compiled?),
        };
        built.extend(
            compiled
                .into_iter()
                .filter(|image| services.contains(&image.name.as_str())),
        );
        Ok(built)
    }

    async fn build_recipes(
        &self,
        names: &[&str],
        no_cache: bool,
    ) -> Result<Vec<AcquiredImage>, ImageError> {
        let reuse = if no_cache {
            ReusePolicy::Rebuild
        } else {
            ReusePolicy::Reuse
        };
        self.run_concurrently(names, async |name, cancel| {
            if let (ReusePolicy::Reuse, Some(local)) = (reuse, self.find_local_build(name).await?) {
                return Ok(local);
            }
            self.build_with_base(name, "it was requested".into(), reuse, cancel)
                .await
        })
        .await
    }

    /// Cancels all operations of the store if this one fails.
    async fn cancel_all_on_error<T>(
        &self,
        work: impl Future<Output = Result<T, ImageError>>,
    ) -> Result<T, ImageError> {
        let result = work.await;
        if result.is_err() {
            self.cancel.cancel();
        }
        result
    }

    /// Checks that an image name is known.
    ///
    /// # Errors
    /// Returns [`ImageError::UnknownImage`] with the known names otherwise.
    pub fn check_name(&self, name: &str) -> Result<(), ImageError> {
        if self.is_service(name) {
            return Ok(());
        }
        match self.catalog.get(name) {
            Err(ImageError::UnknownImage { name, mut known }) => {
                known.extend(self.service_names().iter().map(|&name| name.to_owned()));
                Err(ImageError::UnknownImage { name, known })
            }
            result => result.map(drop),
        }
    }

    /// Returns the names of the services.
    #[must_use]
    pub fn service_names(&self) -> &[&'static str] {
        self.services
            .as_ref()
            .map_or(&[], |services| services.names())
    }

    /// Pulls images regardless of the configured source and of local images.
    ///
    /// # Errors
    /// Returns the first [`ImageError`], which is [`ImageError::NotPublished`] for an image that no
    /// registry has.
    pub async fn pull(&self, names: &[&str]) -> Result<Vec<AcquiredImage>, ImageError> {
        if let Some(service) = names.iter().find(|name| self.is_service(name)) {
            return Err(ImageError::NotPublished {
                name: (*service).to_owned(),
            });
        }
        self.run_concurrently(names, async |name, cancel| {
            let spec = self.catalog.get(name)?;
            self.pull_official(spec, "it was requested".into(), PullVersion::Latest, cancel)
                .await
        })
        .await
    }

    /// Returns the names of the images that have an official image.
    #[must_use]
    pub fn official_image_names(&self) -> Vec<&str> {
        self.catalog
            .specs()
            .filter(|spec| spec.official.is_some())
            .map(|spec| spec.recipe.name.as_str())
            .collect()
    }

    async fn run_concurrently(
        &self,
        names: &[&str],
        acquire: impl AsyncFn(&str, &CancellationToken) -> Result<AcquiredImage, ImageError>,
    ) -> Result<Vec<AcquiredImage>, ImageError> {
        // All names are checked before the first build.
        for name in names {
            self.catalog.get(name)?;
        }
        let cancel = self.cancel.child_token();
        let all = join_all(names.iter().map(async |name| {
            let result = acquire(name, &cancel).await;
            match &result {
                Ok(image) => self
                    .progress
                    .on_acquired(name, image.origin == ImageOrigin::Local),
                Err(_) => cancel.cancel(),
            }
            result
        }))
        .await;
        let mut acquired = Vec::new();
        let mut failure = None;
        for result in all {
            match result {
                Ok(image) => acquired.push(image),
                // Cancellations are less informative than their cause.
                Err(ImageError::Cancelled) if failure.is_some() => {}
                Err(error) => match failure {
                    None | Some(ImageError::Cancelled) => failure = Some(error),
                    Some(_) => {}
                },
            }
        }
        failure.map_or(Ok(acquired), Err)
    }

    async fn acquire_cancellable(
        &self,
        name: &str,
        cancel: &CancellationToken,
    ) -> Result<AcquiredImage, ImageError> {
        let spec = self.catalog.get(name)?;
        if let Some(local) = self.find_local(name).await? {
            return Ok(local);
        }
        match self.settings.source {
            SourcePolicy::Pull => {
                let reason = "images.source is \"pull\"".into();
                self.pull_official(spec, reason, PullVersion::Pinned, cancel)
                    .await
            }
            SourcePolicy::Build => {
                let reason = "images.source is \"build\"".into();
                self.build_with_base(name, reason, ReusePolicy::Reuse, cancel)
                    .await
            }
            SourcePolicy::Auto => {
                let reason = match self
                    .pull_official(
                        spec,
                        "it was not on the engine".into(),
                        PullVersion::Pinned,
                        cancel,
                    )
                    .await
                {
                    Ok(pulled) => return Ok(pulled),
                    Err(ImageError::Pull {
                        reference,
                        failure,
                        source,
                        ..
                    }) => {
                        self.report_pull_failure(name, &reference, &failure, &source.0);
                        format!("could not pull {reference}")
                    }
                    Err(ImageError::NotPublished { .. }) => {
                        "it is not published in any registry".into()
                    }
                    Err(error) => return Err(error),
                };
                self.build_with_base(name, reason, ReusePolicy::Reuse, cancel)
                    .await
            }
        }
    }

    async fn find_local_build(&self, name: &str) -> Result<Option<AcquiredImage>, ImageError> {
        let reference = self.catalog.local_reference(name)?;
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
}
