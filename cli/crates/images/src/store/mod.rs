//! Gets an image by the shortest way that the settings allow: what is local, a
//! pull, a build.
//!
//! ```text
//! acquired   what was got, and the way it took
//! official   from a registry
//! make       built here, with what it stands on
//! derive     of another image and some files
//! services   of the services' binaries
//! superseded those of services that nothing needs any more, and go
//! turn       one maker of an image at a time, and few of all images
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

/// How many builds run at once. More gain nothing: they wait for the same disk and
/// network.
const MAX_PARALLEL_BUILDS: usize = 3;

/// What is done about an image that is here already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReusePolicy {
    /// It is used.
    Reuse,
    /// It is built anew, every step.
    Rebuild,
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
    pub(super) components: BTreeSet<String>,
    pub(super) services: Option<ServiceImages>,
    registries: RegistryStates,
    build_slots: Semaphore,
    builds_in_progress: Mutex<HashMap<String, Arc<Mutex<()>>>>,
}

impl fmt::Debug for ImageStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Images")
            .field("catalog", &self.catalog)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl ImageStore {
    /// The images of a catalogue. They are obtained silently, with the programs
    /// that are installed, until told otherwise.
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

    /// The same, getting programs by these means.
    #[must_use]
    pub fn with_tools(mut self, tools: Arc<dyn ToolProvider>) -> Self {
        self.tools = tools;
        self
    }

    /// The same, telling what happens.
    #[must_use]
    pub fn with_progress(mut self, progress: Arc<dyn ImageProgress>) -> Self {
        self.progress = progress;
        self
    }

    /// The same, ending promptly and cleanly when the token is cancelled.
    #[must_use]
    pub fn with_cancel(mut self, cancel: CancellationToken) -> Self {
        self.cancel = cancel;
        self
    }

    /// The same, listing, saving and pruning the images of these components, too.
    /// Those of other components are never touched, whatever their labels.
    #[must_use]
    pub fn with_components(mut self, components: impl IntoIterator<Item = String>) -> Self {
        self.components.extend(components);
        self
    }

    /// The same with those of the services.
    #[must_use]
    pub fn with_services(mut self, services: ServiceImages) -> Self {
        self.components
            .extend(services.names().iter().map(|&name| name.to_owned()));
        self.services = Some(services);
        self
    }

    /// The catalogue.
    #[must_use]
    pub const fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// What an image should be, however it is come by: it changes when another
    /// image would be used.
    ///
    /// # Errors
    /// Where there is no such image.
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

    /// Whether the name is a service's: those images are built together.
    #[must_use]
    pub fn is_service(&self, name: &str) -> bool {
        self.services_containing(name).is_some()
    }

    /// The services, if the name is one of theirs.
    fn services_containing(&self, name: &str) -> Option<&ServiceImages> {
        self.services
            .as_ref()
            .filter(|services| services.names().contains(&name))
    }

    /// Where an image would come from if it were acquired now, if it is here.
    /// Asks the engine alone, so it is quick.
    ///
    /// # Errors
    /// Where there is no such image, or the engine fails.
    pub async fn find_local(&self, name: &str) -> Result<Option<AcquiredImage>, ImageError> {
        if let Some(services) = self.services_containing(name) {
            return self.find_local_service(services, name).await;
        }
        let spec = self.catalog.get(name)?;
        if self.settings.source != SourcePolicy::Pull
            && let Some(found) = self.find_local_build(name).await?
        {
            return Ok(Some(found));
        }
        if self.settings.source != SourcePolicy::Build {
            return self.find_local_official(spec).await;
        }
        Ok(None)
    }

    /// Gets an image ready for use.
    ///
    /// # Errors
    /// Where none of the allowed ways leads to it, or on cancellation.
    pub async fn acquire(&self, name: &str) -> Result<AcquiredImage, ImageError> {
        self.acquire_cancellable(name, &self.cancel).await
    }

    /// Builds images whatever the source, those that are here already only where
    /// `no_cache` asks for it. Services are compiled together, whichever is named.
    ///
    /// # Errors
    /// The first failure; what else was under way is stopped.
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
            // What was stopped says less than what stopped it.
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
        let again = if no_cache {
            ReusePolicy::Rebuild
        } else {
            ReusePolicy::Reuse
        };
        self.run_concurrently(names, async |name, cancel| {
            if let (ReusePolicy::Reuse, Some(found)) = (again, self.find_local_build(name).await?) {
                return Ok(found);
            }
            self.build_with_base(name, "it was requested".into(), again, cancel)
                .await
        })
        .await
    }

    /// Ends everything that is under way for images where this fails.
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

    /// Checks that there is an image of that name.
    ///
    /// # Errors
    /// [`ImageError::Unknown`] with the names that there are.
    pub fn check_name(&self, name: &str) -> Result<(), ImageError> {
        if self.is_service(name) {
            return Ok(());
        }
        match self.catalog.get(name) {
            Err(ImageError::UnknownImage { name, mut known }) => {
                known.extend(self.service_names().iter().map(|&name| name.to_owned()));
                Err(ImageError::UnknownImage { name, known })
            }
            found => found.map(drop),
        }
    }

    /// The names of the services.
    #[must_use]
    pub fn service_names(&self) -> &[&'static str] {
        self.services
            .as_ref()
            .map_or(&[], |services| services.names())
    }

    /// Pulls images whatever the source and whatever is here. What no registry has
    /// is left out.
    ///
    /// # Errors
    /// The first failure.
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

    /// The names of the images that a registry has.
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
        one: impl AsyncFn(&str, &CancellationToken) -> Result<AcquiredImage, ImageError>,
    ) -> Result<Vec<AcquiredImage>, ImageError> {
        // A wrong name must not cost a build first.
        for name in names {
            self.catalog.get(name)?;
        }
        let cancel = self.cancel.child_token();
        let all = join_all(names.iter().map(async |name| {
            let result = one(name, &cancel).await;
            match &result {
                Ok(image) => self
                    .progress
                    .on_acquired(name, image.how == ImageOrigin::Local),
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
                // Those that were stopped say less than the one that stopped them.
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
        if let Some(found) = self.find_local(name).await? {
            return Ok(found);
        }
        match self.settings.source {
            SourcePolicy::Pull => {
                let why = "images.source is \"pull\"".into();
                self.pull_official(spec, why, PullVersion::Pinned, cancel)
                    .await
            }
            SourcePolicy::Build => {
                let why = "images.source is \"build\"".into();
                self.build_with_base(name, why, ReusePolicy::Reuse, cancel)
                    .await
            }
            SourcePolicy::Auto => {
                let why = match self
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
                        refusal,
                        source,
                        ..
                    }) => {
                        self.report_pull_failure(name, &reference, &refusal, &source.0);
                        format!("could not pull {reference}")
                    }
                    Err(ImageError::NotPublished { .. }) => {
                        "it is not published in any registry".into()
                    }
                    Err(error) => return Err(error),
                };
                self.build_with_base(name, why, ReusePolicy::Reuse, cancel)
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
