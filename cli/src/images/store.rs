//! Gets an image by the shortest way that the settings allow: what is local, a
//! pull, a build.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;

use super::artifact::Fetcher;
use super::base::BaseMaker;
use super::build::Builder;
use super::catalog::{Catalog, ImageSpec};
use super::context::{self, Contents, Entry};
use super::error::{ImageError, PullRefusal};
use super::lock::DigestLock;
use super::process::{InstalledTools, Tools};
use super::progress::{Progress, Silent, Update};
use super::pull::{Puller, Registries};
use super::recipe::{Digest, Recipe, labels, local_reference};
use super::reference::Reference;
use super::services::ServiceImages;
use super::settings::{Dirs, ImageSettings, Source};
use super::{ORIGIN_BUILT, ORIGIN_PULLED};
use crate::engine::Engine;
use crate::engine::images::{BuildOptions, Image};

/// How many builds run at once. More gain nothing: they wait for the same disk and
/// network.
const PARALLEL_BUILDS: usize = 3;

/// The way in which an image was obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// It was here already.
    Local,
    /// It was pulled.
    Pulled,
    /// It was built.
    Built,
}

/// An image that can be used now.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Acquired {
    /// The component.
    pub name: String,
    /// What a container is made from.
    pub reference: String,
    /// The image's id.
    pub id: String,
    /// The way it took.
    pub how: How,
    /// Why it took that way, as a sentence's end.
    pub why: String,
}

impl fmt::Display for Acquired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.how {
            How::Local => "is here already",
            How::Pulled => "was pulled",
            How::Built => "was built",
        };
        write!(f, "{} {how}: {}", self.reference, self.why)
    }
}

/// What is done about an image that is here already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// It is used.
    Keep,
    /// It is built anew, every step.
    Rebuild,
}

/// The images of the stack on one engine.
pub struct Images {
    pub(super) engine: Engine,
    pub(super) catalog: Catalog,
    pub(super) settings: ImageSettings,
    pub(super) dirs: Dirs,
    pub(super) tools: Arc<dyn Tools>,
    pub(super) progress: Arc<dyn Progress>,
    pub(super) cancel: CancellationToken,
    pub(super) components: BTreeSet<String>,
    pub(super) services: Option<ServiceImages>,
    registries: Registries,
    builds: Semaphore,
    under_way: Mutex<HashMap<String, Arc<Mutex<()>>>>,
}

impl fmt::Debug for Images {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Images")
            .field("catalog", &self.catalog)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Images {
    /// The images of a catalogue. They are obtained silently, with the programs
    /// that are installed, until told otherwise.
    #[must_use]
    pub fn new(engine: Engine, catalog: Catalog, settings: ImageSettings, dirs: Dirs) -> Self {
        Self {
            engine,
            components: catalog.names().map(str::to_owned).collect(),
            services: None,
            catalog,
            settings,
            dirs,
            tools: Arc::new(InstalledTools),
            progress: Arc::new(Silent),
            cancel: CancellationToken::new(),
            registries: Registries::default(),
            builds: Semaphore::new(PARALLEL_BUILDS),
            under_way: Mutex::default(),
        }
    }

    /// The same, getting programs by these means.
    #[must_use]
    pub fn with_tools(mut self, tools: Arc<dyn Tools>) -> Self {
        self.tools = tools;
        self
    }

    /// The same, telling what happens.
    #[must_use]
    pub fn with_progress(mut self, progress: Arc<dyn Progress>) -> Self {
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
        if let Some(services) = self.services_with(name) {
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
            Source::Auto => format!("{built} {official}"),
            Source::Build => built,
            Source::Pull => official.to_owned(),
        })
    }

    /// Whether the name is a service's: those images are built together.
    #[must_use]
    pub fn is_service(&self, name: &str) -> bool {
        self.services_with(name).is_some()
    }

    /// The services, if the name is one of theirs.
    fn services_with(&self, name: &str) -> Option<&ServiceImages> {
        self.services
            .as_ref()
            .filter(|services| services.names().contains(&name))
    }

    /// Where an image would come from if it were acquired now, if it is here.
    /// Asks the engine alone, so it is quick.
    ///
    /// # Errors
    /// Where there is no such image, or the engine fails.
    pub async fn local(&self, name: &str) -> Result<Option<Acquired>, ImageError> {
        if let Some(services) = self.services_with(name) {
            return self.local_service(services, name).await;
        }
        let spec = self.catalog.get(name)?;
        if self.settings.source != Source::Pull
            && let Some(found) = self.local_build(name).await?
        {
            return Ok(Some(found));
        }
        if self.settings.source != Source::Build {
            return self.local_official(spec).await;
        }
        Ok(None)
    }

    /// Gets an image ready for use.
    ///
    /// # Errors
    /// Where none of the allowed ways leads to it, or on cancellation.
    pub async fn acquire(&self, name: &str) -> Result<Acquired, ImageError> {
        self.obtain(name, &self.cancel).await
    }

    /// Gets several images ready, in parallel. The first failure stops the others.
    ///
    /// # Errors
    /// The first failure.
    pub async fn acquire_all(&self, names: &[&str]) -> Result<Vec<Acquired>, ImageError> {
        self.together(names, async |name, cancel| self.obtain(name, cancel).await)
            .await
    }

    /// Builds images whatever the source, those that are here already only where
    /// `no_cache` asks for it. Services are compiled together, whichever is named.
    ///
    /// # Errors
    /// The first failure; what else was under way is stopped.
    pub async fn build(&self, names: &[&str], no_cache: bool) -> Result<Vec<Acquired>, ImageError> {
        let (services, recipes): (Vec<&str>, Vec<&str>) =
            names.iter().partition(|name| self.is_service(name));
        let (built, compiled) = tokio::join!(
            self.stopping_others(self.build_recipes(&recipes, no_cache)),
            self.stopping_others(async {
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
    ) -> Result<Vec<Acquired>, ImageError> {
        let again = if no_cache {
            Again::Rebuild
        } else {
            Again::Keep
        };
        self.together(names, async |name, cancel| {
            if let (Again::Keep, Some(found)) = (again, self.local_build(name).await?) {
                return Ok(found);
            }
            self.make(name, "it was asked for".into(), again, cancel)
                .await
        })
        .await
    }

    /// Ends everything that is under way for images where this fails.
    async fn stopping_others<T>(
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
    pub fn check(&self, name: &str) -> Result<(), ImageError> {
        if self.is_service(name) {
            return Ok(());
        }
        match self.catalog.get(name) {
            Err(ImageError::Unknown { name, mut known }) => {
                known.extend(self.service_names().iter().map(|&name| name.to_owned()));
                Err(ImageError::Unknown { name, known })
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
    pub async fn pull(&self, names: &[&str]) -> Result<Vec<Acquired>, ImageError> {
        self.together(names, async |name, cancel| {
            let spec = self.catalog.get(name)?;
            self.pull_official(spec, "it was asked for".into(), cancel)
                .await
        })
        .await
    }

    /// The names of the images that a registry has.
    #[must_use]
    pub fn published(&self) -> Vec<&str> {
        self.catalog
            .specs()
            .filter(|spec| spec.official.is_some())
            .map(|spec| spec.recipe.name.as_str())
            .collect()
    }

    async fn together(
        &self,
        names: &[&str],
        one: impl AsyncFn(&str, &CancellationToken) -> Result<Acquired, ImageError>,
    ) -> Result<Vec<Acquired>, ImageError> {
        // A wrong name must not cost a build first.
        for name in names {
            self.catalog.get(name)?;
        }
        let cancel = self.cancel.child_token();
        let all = join_all(names.iter().map(async |name| {
            let result = one(name, &cancel).await;
            if result.is_err() {
                cancel.cancel();
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

    async fn obtain(&self, name: &str, cancel: &CancellationToken) -> Result<Acquired, ImageError> {
        let spec = self.catalog.get(name)?;
        if let Some(found) = self.local(name).await? {
            return Ok(found);
        }
        match self.settings.source {
            Source::Pull => {
                self.pull_official(spec, "images.source is \"pull\"".into(), cancel)
                    .await
            }
            Source::Build => {
                let why = "images.source is \"build\"".into();
                self.make(name, why, Again::Keep, cancel).await
            }
            Source::Auto => {
                let why = match self
                    .pull_official(spec, "it was not here".into(), cancel)
                    .await
                {
                    Ok(pulled) => return Ok(pulled),
                    Err(ImageError::Pull {
                        reference,
                        refusal,
                        source,
                        ..
                    }) => {
                        self.tell_of_refusal(name, &reference, &refusal, &source.0);
                        format!("{reference} could not be pulled")
                    }
                    Err(ImageError::NotPublished { .. }) => "no registry has it".into(),
                    Err(error) => return Err(error),
                };
                self.make(name, why, Again::Keep, cancel).await
            }
        }
    }

    fn tell_of_refusal(&self, name: &str, reference: &str, refusal: &PullRefusal, said: &str) {
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

    async fn local_build(&self, name: &str) -> Result<Option<Acquired>, ImageError> {
        let reference = self.catalog.local_reference(name)?;
        let image = self.engine.image(&reference).await?;
        Ok(image.map(|image| acquired(name, &reference, image, How::Local, "it is here")))
    }

    /// The official reference of an image, behind the mirror if there is one.
    pub(super) fn official(&self, spec: &ImageSpec) -> Option<Reference> {
        let official = Reference::parse(spec.official.as_ref()?);
        Some(official.mirrored(self.settings.mirror.as_deref()))
    }

    async fn local_official(&self, spec: &ImageSpec) -> Result<Option<Acquired>, ImageError> {
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
    pub(super) fn usable_reference(
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

    async fn pull_official(
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

    /// Builds an image and what it stands on.
    async fn make(
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
            let why = "another image stands on it".into();
            self.make(base, why, Again::Keep, cancel).await?
        };
        Ok(found.reference)
    }

    /// Runs a Dockerfile, at most once for a digest whoever asks for it.
    async fn build_recipe(
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
        if recipe.text(super::base::ARGUMENTS).is_none() {
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
            .pull_official(spec, "no bootstrap tool is here".into(), cancel)
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
    async fn base_from(
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

    /// The right to make the image of a digest, in this process and among all
    /// others of the machine. `None` where somebody else has made it meanwhile.
    pub(super) async fn exclusively(
        &self,
        name: &str,
        reference: &str,
        digest: &Digest,
        again: Again,
        cancel: &CancellationToken,
    ) -> Result<Option<(tokio::sync::OwnedMutexGuard<()>, DigestLock)>, ImageError> {
        let turn = {
            let mut under_way = self.under_way.lock().await;
            Arc::clone(under_way.entry(reference.to_owned()).or_default())
        };
        let turn = tokio::select! {
            () = cancel.cancelled() => return Err(ImageError::Cancelled),
            turn = turn.lock_owned() => turn,
        };
        let lock = DigestLock::acquire(&self.dirs.state, digest.short(), cancel, || {
            self.progress.working(
                name,
                Update::doing("waiting").with("for another dm that makes it"),
            );
        })
        .await?;
        if again == Again::Keep && self.engine.image(reference).await?.is_some() {
            return Ok(None);
        }
        Ok(Some((turn, lock)))
    }

    pub(super) async fn slot(
        &self,
        name: &str,
        cancel: &CancellationToken,
    ) -> Result<tokio::sync::SemaphorePermit<'_>, ImageError> {
        if self.builds.available_permits() == 0 {
            self.progress.working(
                name,
                Update::doing("waiting").with("for other images to be built first"),
            );
        }
        tokio::select! {
            () = cancel.cancelled() => Err(ImageError::Cancelled),
            slot = self.builds.acquire() => slot.map_err(|_| ImageError::Cancelled),
        }
    }

    /// Makes an image that is complete findable: the last thing that is done to it.
    pub(super) async fn publish(
        &self,
        id: &str,
        reference: &str,
        _lock: &DigestLock,
    ) -> Result<(), ImageError> {
        Ok(self.engine.tag_image(id, reference).await?)
    }

    /// An image that was here a moment ago.
    pub(super) async fn present(&self, reference: &str) -> Result<Image, ImageError> {
        self.engine
            .image(reference)
            .await?
            .ok_or_else(|| ImageError::Build {
                name: reference.to_owned(),
                step: None,
                reason: "somebody removed it while it was made".into(),
                log: Vec::new(),
                hints: vec!["run it again".into()],
            })
    }
}

pub(super) fn acquired(
    name: &str,
    reference: &str,
    image: Image,
    how: How,
    why: impl Into<String>,
) -> Acquired {
    Acquired {
        name: name.to_owned(),
        reference: reference.to_owned(),
        id: image.id,
        how,
        why: why.into(),
    }
}
