//! What `dm` asks of the engine about images: find, pull, build, import, save,
//! load, tag and remove them.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::models::{BuildInfo, CreateImageInfo, ImageSummary, ProgressDetail};
use bollard::query_parameters::{
    BuildImageOptionsBuilder, CreateImageOptionsBuilder, ImportImageOptionsBuilder,
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptionsBuilder,
    TagImageOptionsBuilder,
};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt};

use super::{Engine, EngineError};

/// Imports, loads and uploads of a build context answer only when the engine has
/// read all of it. The caller's cancellation ends them earlier.
const BULK_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// An image that the engine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its id, with the `sha256:` in front.
    pub id: String,
    /// Its references, each `repository:tag`. Empty for a dangling image.
    pub references: Vec<String>,
    /// Bytes on disk, layers shared with other images included.
    pub size: u64,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// Its labels.
    pub labels: HashMap<String, String>,
    /// The digests of its layers, lowest first. Empty where it comes from a list.
    pub layers: Vec<String>,
    /// Its digests in registries, each `repository@sha256:…`. Empty for one that was made
    /// here.
    pub digests: Vec<String>,
}

/// A container that was made from an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageContainer {
    /// The container's name.
    pub container: String,
    /// Its labels.
    pub labels: HashMap<String, String>,
}

/// Name and password for a registry.
#[derive(Clone, PartialEq, Eq)]
pub struct RegistryLogin {
    /// The registry that it is for, `host[:port]`: no other one gets it.
    pub registry: String,
    /// The user.
    pub username: String,
    /// The password or token.
    pub password: String,
}

impl std::fmt::Debug for RegistryLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegistryLogin")
            .field("registry", &self.registry)
            .field("username", &self.username)
            .field("password", &"***")
            .finish()
    }
}

/// Something that the engine tells while it pulls or loads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TransferEvent {
    /// The layer it is about, if it is about one.
    pub layer: Option<String>,
    /// What happens, e.g. `Downloading`.
    pub status: String,
    /// Bytes done.
    pub current: Option<u64>,
    /// Bytes in all.
    pub total: Option<u64>,
}

/// Something that the engine tells while it builds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildEvent {
    /// Text that the builder or a step wrote; not necessarily a whole line.
    Output(String),
    /// Progress of the pull of a base image.
    Transfer(TransferEvent),
    /// The id of the finished image.
    Built(String),
}

/// What a build is called with, beside its context.
#[derive(Debug, Clone, Default)]
pub struct BuildOptions {
    /// The file in the context with the instructions.
    pub dockerfile: String,
    /// Values for the `ARG`s.
    pub args: HashMap<String, String>,
    /// True to run every step, even those whose result is known.
    pub no_cache: bool,
}

impl Engine {
    /// The image of a reference or id, or `None` where the engine has none.
    ///
    /// # Errors
    /// Where the engine fails to answer.
    pub async fn inspect_image(&self, reference: &str) -> Result<Option<Image>, EngineError> {
        match self.docker().inspect_image(reference).await {
            Ok(image) => Ok(Some(Image {
                id: image.id.unwrap_or_default(),
                references: without_untagged(image.repo_tags.unwrap_or_default()),
                digests: image.repo_digests.unwrap_or_default(),
                size: to_unsigned(image.size).unwrap_or_default(),
                created: image
                    .created
                    .and_then(|text| text.parse().ok())
                    .unwrap_or_default(),
                layers: image
                    .root_fs
                    .and_then(|root| root.layers)
                    .unwrap_or_default(),
                labels: image
                    .config
                    .and_then(|config| config.labels)
                    .unwrap_or_default(),
            })),
            Err(bollard::errors::Error::DockerResponseServerError {
                status_code: 404, ..
            }) => Ok(None),
            Err(source) => Err(EngineError::api(format!("inspect image {reference}"))(
                source,
            )),
        }
    }

    /// All images that carry a label, tagged or dangling, without the
    /// intermediate ones below them.
    ///
    /// # Errors
    /// Where the engine fails to answer.
    pub async fn list_images_with_label(&self, label: &str) -> Result<Vec<Image>, EngineError> {
        let filters = HashMap::from([("label", vec![label])]);
        let options = ListImagesOptionsBuilder::default()
            .filters(&filters)
            .build();
        let found = self
            .docker()
            .list_images(Some(options))
            .await
            .map_err(EngineError::api("list images"))?;
        Ok(found.into_iter().map(Image::from).collect())
    }

    /// The containers, running or not, by the id of the image they were made from.
    ///
    /// # Errors
    /// Where the engine fails to answer.
    pub async fn containers_by_image(
        &self,
    ) -> Result<HashMap<String, Vec<ImageContainer>>, EngineError> {
        let options = ListContainersOptionsBuilder::default().all(true).build();
        let containers = self
            .docker()
            .list_containers(Some(options))
            .await
            .map_err(EngineError::api("list containers"))?;
        let mut users: HashMap<String, Vec<ImageContainer>> = HashMap::new();
        for container in containers {
            let name = container
                .names
                .unwrap_or_default()
                .into_iter()
                .next()
                .map(|name| name.trim_start_matches('/').to_owned())
                .or(container.id)
                .unwrap_or_default();
            users
                .entry(container.image_id.unwrap_or_default())
                .or_default()
                .push(ImageContainer {
                    container: name,
                    labels: container.labels.unwrap_or_default(),
                });
        }
        Ok(users)
    }

    /// Pulls an image. Dropping the stream cancels the pull.
    ///
    /// # Errors
    /// Each item may be the registry's or the engine's refusal.
    pub fn pull_image(
        &self,
        reference: &str,
        login: Option<&RegistryLogin>,
    ) -> impl Stream<Item = Result<TransferEvent, EngineError>> + Send + Unpin + 'static {
        let options = CreateImageOptionsBuilder::default()
            .from_image(reference)
            .build();
        let credentials = login.map(|login| DockerCredentials {
            username: Some(login.username.clone()),
            password: Some(login.password.clone()),
            serveraddress: Some(login.registry.clone()),
            ..DockerCredentials::default()
        });
        let doing = format!("pull image {reference}");
        self.bulk_client()
            .create_image(Some(options), None, credentials)
            .map(move |event| {
                event
                    .map(TransferEvent::from)
                    .map_err(EngineError::api(doing.clone()))
            })
            .boxed()
    }

    /// Makes an image out of a tar of its root file system. It gets no tag, so
    /// that nothing finds it before [`Engine::tag_image`].
    ///
    /// # Errors
    /// Where the body ends in an error, or the engine refuses it.
    pub async fn import_image(
        &self,
        root: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        changes: &[String],
    ) -> Result<String, EngineError> {
        let options = CreateImageOptionsBuilder::default()
            .from_src("-")
            .changes(changes.to_vec())
            .build();
        let docker = self.bulk_client();
        let mut events =
            docker.create_image(Some(options), Some(bollard::body_try_stream(root)), None);
        let mut id = None;
        while let Some(event) = events.next().await {
            let event = event.map_err(EngineError::api("import an image"))?;
            id = event
                .status
                .filter(|status| status.starts_with("sha256:"))
                .or(id);
        }
        id.ok_or_else(|| {
            EngineError::api("import an image")(bollard::errors::Error::DockerStreamError {
                error: "the engine returned no image".into(),
            })
        })
    }

    /// Builds an image with the classic builder from a context, a tar. It gets no
    /// tag. Dropping the stream cancels the build.
    ///
    /// # Errors
    /// Each item may be the failure of a step or of the engine.
    pub fn build_image(
        &self,
        options: BuildOptions,
        context: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> impl Stream<Item = Result<BuildEvent, EngineError>> + Send + Unpin + 'static {
        let query = BuildImageOptionsBuilder::default()
            .dockerfile(&options.dockerfile)
            .buildargs(&options.args)
            .nocache(options.no_cache)
            .rm(true)
            .forcerm(true)
            .build();
        let docker = self.bulk_client();
        let (events, received) = tokio::sync::mpsc::channel(16);
        // bollard ties the stream to the client, which is ours alone: a task keeps
        // both, and ends as soon as nobody listens.
        tokio::spawn(async move {
            let body = bollard::body_try_stream(context);
            let mut build = std::pin::pin!(docker.build_image(query, None, Some(body)));
            loop {
                tokio::select! {
                    () = events.closed() => break,
                    event = build.next() => match event {
                        None => break,
                        Some(event) => {
                            let event = event
                                .map(BuildEvent::from)
                                .map_err(EngineError::api("build an image"));
                            if events.send(event).await.is_err() {
                                break;
                            }
                        }
                    },
                }
            }
        });
        receiver_stream(received)
    }

    /// Gives an image a further reference.
    ///
    /// # Errors
    /// Where the engine refuses it.
    pub async fn tag_image(&self, id: &str, reference: &str) -> Result<(), EngineError> {
        let (repository, tag) = reference.rsplit_once(':').unwrap_or((reference, "latest"));
        let options = TagImageOptionsBuilder::default()
            .repo(repository)
            .tag(tag)
            .build();
        self.docker()
            .tag_image(id, Some(options))
            .await
            .map_err(EngineError::api(format!("tag image {reference}")))
    }

    /// Removes a reference, or an image by its id, with the layers that nothing
    /// else needs. Never forces. `false` where there was none, or where something
    /// still needs it.
    ///
    /// # Errors
    /// Where the engine fails otherwise.
    pub async fn remove_image(&self, reference: &str) -> Result<bool, EngineError> {
        let options = RemoveImageOptionsBuilder::default().force(false).build();
        match self
            .docker()
            .remove_image(reference, Some(options), None)
            .await
        {
            Ok(_) => Ok(true),
            Err(bollard::errors::Error::DockerResponseServerError {
                status_code: 404 | 409,
                ..
            }) => Ok(false),
            Err(source) => Err(EngineError::api(format!("remove image {reference}"))(
                source,
            )),
        }
    }

    /// The images as one tar, layers that they share once.
    ///
    /// # Errors
    /// Each item may be the engine's failure.
    pub fn save_images(
        &self,
        references: &[&str],
    ) -> impl Stream<Item = Result<Bytes, EngineError>> + Send + Unpin + 'static {
        self.bulk_client()
            .export_images(references)
            .map(|chunk| chunk.map_err(EngineError::api("save images")))
            .boxed()
    }

    /// Loads images from a tar as [`Engine::save_images`] gives.
    ///
    /// # Errors
    /// Where the body ends in an error, or the engine refuses it.
    pub async fn load_images(
        &self,
        tar: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<(), EngineError> {
        let options = ImportImageOptionsBuilder::default().quiet(true).build();
        let docker = self.bulk_client();
        let mut events = docker.import_image(options, bollard::body_try_stream(tar), None);
        while let Some(event) = events.next().await {
            event.map_err(EngineError::api("load images"))?;
        }
        Ok(())
    }

    /// A client for calls that move hundreds of megabytes. It also writes the
    /// registry credentials in the URL-safe alphabet, which engines expect and
    /// bollard does not use: with the other one a password that encodes to `+` or
    /// `/` is dropped without a word.
    fn bulk_client(&self) -> bollard::Docker {
        self.docker()
            .clone()
            .with_timeout(BULK_TIMEOUT)
            .with_request_modifier(|mut request| {
                if let Some(header) = request.headers_mut().get_mut("X-Registry-Auth") {
                    let url_safe = header
                        .to_str()
                        .ok()
                        .and_then(|text| text.replace('+', "-").replace('/', "_").parse().ok());
                    if let Some(url_safe) = url_safe {
                        *header = url_safe;
                    }
                }
                request
            })
    }
}

/// The receiving end of a channel as a stream.
fn receiver_stream<T: Send + 'static>(
    mut received: tokio::sync::mpsc::Receiver<T>,
) -> impl Stream<Item = T> + Send + Unpin + 'static {
    futures_util::stream::poll_fn(move |context| received.poll_recv(context))
}

/// Engines before API 1.43 write `<none>:<none>` for an image without a tag.
fn without_untagged(references: Vec<String>) -> Vec<String> {
    references
        .into_iter()
        .filter(|reference| !reference.contains("<none>"))
        .collect()
}

/// A size or count that the API declares signed; a negative one means unknown.
fn to_unsigned(value: Option<i64>) -> Option<u64> {
    value.and_then(|value| u64::try_from(value).ok())
}

impl From<ImageSummary> for Image {
    fn from(image: ImageSummary) -> Self {
        Self {
            id: image.id,
            references: without_untagged(image.repo_tags),
            digests: image.repo_digests,
            size: to_unsigned(Some(image.size)).unwrap_or_default(),
            created: DateTime::from_timestamp(image.created, 0).unwrap_or_default(),
            labels: image.labels,
            layers: Vec::new(),
        }
    }
}

impl TransferEvent {
    fn new(id: Option<String>, status: Option<String>, detail: Option<ProgressDetail>) -> Self {
        let detail = detail.unwrap_or_default();
        Self {
            layer: id,
            status: status.unwrap_or_default(),
            current: to_unsigned(detail.current),
            total: to_unsigned(detail.total).filter(|total| *total > 0),
        }
    }
}

impl From<CreateImageInfo> for TransferEvent {
    fn from(info: CreateImageInfo) -> Self {
        Self::new(info.id, info.status, info.progress_detail)
    }
}

impl From<BuildInfo> for BuildEvent {
    fn from(info: BuildInfo) -> Self {
        if let Some(id) = info.aux.and_then(|aux| aux.id) {
            Self::Built(id)
        } else if let Some(text) = info.stream {
            Self::Output(text)
        } else {
            Self::Transfer(TransferEvent::new(
                info.id,
                info.status,
                info.progress_detail,
            ))
        }
    }
}
