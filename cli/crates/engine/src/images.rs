//! Finds, pulls, builds, imports, saves, loads, tags and removes images.

use std::collections::HashMap;
use std::io;
use std::pin::pin;
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
use crate::message_stream::messages;

/// The timeout of imports, loads and uploads of a build context, which answer only after the
/// engine has read all data. The caller can cancel them earlier.
const BULK_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// An image on the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its id, with the prefix `sha256:`.
    pub id: String,
    /// Its references, each `repository:tag`. Empty for a dangling image.
    pub references: Vec<String>,
    /// Its size on disk in bytes, including layers that are shared with other images.
    pub size: u64,
    /// The time of its creation.
    pub created: DateTime<Utc>,
    /// Its labels.
    pub labels: HashMap<String, String>,
    /// The digests of its layers, lowest first. Empty if the image comes from a list.
    pub layers: Vec<String>,
    /// Its digests in registries, each `repository@sha256:…`. Empty for a locally built image.
    pub digests: Vec<String>,
}

/// A container of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageContainer {
    /// The container's name.
    pub container: String,
    /// Its labels.
    pub labels: HashMap<String, String>,
}

/// The credentials for a registry.
#[derive(Clone, PartialEq, Eq)]
pub struct RegistryLogin {
    /// The registry, `host[:port]`. The credentials are sent to no other.
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

/// A progress event of a pull or load.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TransferEvent {
    /// The layer, if the event belongs to one.
    pub layer: Option<String>,
    /// The current activity, e.g. `Downloading`.
    pub status: String,
    /// The completed bytes.
    pub current: Option<u64>,
    /// The total bytes.
    pub total: Option<u64>,
}

/// An event of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildEvent {
    /// Output of the builder or a step; not necessarily a whole line.
    Output(String),
    /// Progress of the pull of a base image.
    Transfer(TransferEvent),
    /// The id of the finished image.
    Built(String),
}

/// The options of a build.
#[derive(Debug, Clone, Default)]
pub struct BuildOptions {
    /// The path of the Dockerfile in the context.
    pub dockerfile: String,
    /// Values for the `ARG`s.
    pub args: HashMap<String, String>,
    /// Whether to run every step, ignoring the cache.
    pub no_cache: bool,
}

impl Engine {
    /// Returns the image with a reference or id, or `None` if it does not exist.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] or [`EngineError::Unreachable`] if the call fails.
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

    /// Lists the images that carry a label, tagged or dangling, without intermediate images.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] or [`EngineError::Unreachable`] if the call fails.
    pub async fn list_images_with_label(&self, label: &str) -> Result<Vec<Image>, EngineError> {
        let filters = HashMap::from([("label", vec![label])]);
        let options = ListImagesOptionsBuilder::default()
            .filters(&filters)
            .build();
        let summaries = self
            .docker()
            .list_images(Some(options))
            .await
            .map_err(EngineError::api("list images"))?;
        Ok(summaries.into_iter().map(Image::from).collect())
    }

    /// Lists the containers, running or not, by the id of their image.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] or [`EngineError::Unreachable`] if the call fails.
    pub async fn containers_by_image(
        &self,
    ) -> Result<HashMap<String, Vec<ImageContainer>>, EngineError> {
        let options = ListContainersOptionsBuilder::default().all(true).build();
        let containers = self
            .docker()
            .list_containers(Some(options))
            .await
            .map_err(EngineError::api("list containers"))?;
        let mut by_image: HashMap<String, Vec<ImageContainer>> = HashMap::new();
        for container in containers {
            let name = container
                .names
                .unwrap_or_default()
                .into_iter()
                .next()
                .map(|name| name.trim_start_matches('/').to_owned())
                .or(container.id)
                .unwrap_or_default();
            by_image
                .entry(container.image_id.unwrap_or_default())
                .or_default()
                .push(ImageContainer {
                    container: name,
                    labels: container.labels.unwrap_or_default(),
                });
        }
        Ok(by_image)
    }

    /// Pulls an image. Dropping the stream cancels the pull.
    ///
    /// # Errors
    /// An item is [`EngineError::Api`] if the registry or the engine refuses the pull.
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
        let action = format!("pull image {reference}");
        messages(
            self.bulk_client()
                .create_image(Some(options), None, credentials),
        )
        .map(move |event| {
            event
                .map(TransferEvent::from)
                .map_err(EngineError::api(action.clone()))
        })
        .boxed()
    }

    /// Creates an image from a tar of its root file system and returns its id. It has no tag,
    /// so that it is not found before [`Engine::tag_image`].
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the body ends in an error, or the engine refuses it.
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
        let body = bollard::body_try_stream(root);
        let mut events = pin!(messages(docker.create_image(
            Some(options),
            Some(body),
            None
        )));
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

    /// Builds an untagged image with the classic builder from a context, a tar. Dropping the
    /// stream cancels the build.
    ///
    /// # Errors
    /// An item is [`EngineError::Api`] if a step fails or the engine refuses the build.
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
        // bollard ties the stream to the client, which is local to this function: a task owns
        // both, and ends as soon as the receiver is dropped.
        tokio::spawn(async move {
            let body = bollard::body_try_stream(context);
            let mut build = pin!(messages(docker.build_image(query, None, Some(body))));
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

    /// Adds a reference to an image.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the engine refuses the call.
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

    /// Removes a reference, or an image by its id, with its unused layers. Never forces.
    /// Returns false if it does not exist or is in use.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] or [`EngineError::Unreachable`] for any other failure.
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

    /// Returns the images as one tar, with shared layers included once.
    ///
    /// # Errors
    /// An item is [`EngineError::Api`] or [`EngineError::Unreachable`] if the engine fails.
    pub fn save_images(
        &self,
        references: &[&str],
    ) -> impl Stream<Item = Result<Bytes, EngineError>> + Send + Unpin + 'static {
        self.bulk_client()
            .export_images(references)
            .map(|chunk| chunk.map_err(EngineError::api("save images")))
            .boxed()
    }

    /// Loads images from a tar that [`Engine::save_images`] wrote.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the body ends in an error, or the engine refuses it.
    pub async fn load_images(
        &self,
        tar: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<(), EngineError> {
        let options = ImportImageOptionsBuilder::default().quiet(true).build();
        let docker = self.bulk_client();
        let body = bollard::body_try_stream(tar);
        let mut events = pin!(messages(docker.import_image(options, body, None)));
        while let Some(event) = events.next().await {
            event.map_err(EngineError::api("load images"))?;
        }
        Ok(())
    }

    /// Returns a client for calls that transfer hundreds of megabytes. It also encodes the
    /// registry credentials in the URL-safe alphabet, which engines expect and bollard does
    /// not use: with the default alphabet, a password that encodes to `+` or `/` is silently
    /// dropped.
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

/// Returns the receiver of a channel as a stream.
fn receiver_stream<T: Send + 'static>(
    mut received: tokio::sync::mpsc::Receiver<T>,
) -> impl Stream<Item = T> + Send + Unpin + 'static {
    futures_util::stream::poll_fn(move |context| received.poll_recv(context))
}

/// Removes `<none>:<none>`, which engines before API 1.43 report for an untagged image.
fn without_untagged(references: Vec<String>) -> Vec<String> {
    references
        .into_iter()
        .filter(|reference| !reference.contains("<none>"))
        .collect()
}

/// Converts a size or count that the API declares as signed. A negative one means unknown.
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
