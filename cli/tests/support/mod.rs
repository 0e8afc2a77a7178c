//! Helpers of the tests that use a container engine.

pub(crate) mod registry;

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, CreateImageOptionsBuilder, DownloadFromContainerOptionsBuilder,
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, PushImageOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder, TagImageOptionsBuilder,
};
use bytes::Bytes;
use dm_engine::images::RegistryLogin;
use dm_engine::{Engine, EngineSettings};
use dm_images::ImageStore;
use dm_images::catalog::Catalog;
use dm_images::progress::{ImageProgress, ProgressUpdate};
use dm_images::settings::{ImageDirs, ImageSettings};
use futures_util::StreamExt;

/// Maximum time for what the engine does asynchronously.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The value of the instance label of containers that tests create.
pub(crate) const INSTANCE: &str = "test";

/// The objects of one test on the engine. They have names of their own and are removed on drop.
pub(crate) struct EngineFixture {
    docker: Docker,
    engine: Engine,
    prefix: String,
    dir: tempfile::TempDir,
    progress: Arc<RecordedProgress>,
}

impl EngineFixture {
    /// Connects to the engine at the address that Docker clients use by default.
    pub(crate) async fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let docker =
            Docker::connect_with_local_defaults().expect("the engine client cannot be configured");
        docker
            .ping()
            .await
            .expect("these tests need a container engine: `dm engine start` starts one");
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let engine = Engine::connect(&EngineSettings::default())
            .await
            .expect("the engine stopped answering");
        Self {
            docker,
            engine,
            prefix: format!("test-{}-{number}", std::process::id()),
            dir: tempfile::tempdir().unwrap(),
            progress: Arc::default(),
        }
    }

    /// Returns a component name that no other test uses.
    pub(crate) fn name(&self, component: &str) -> String {
        format!("{}-{component}", self.prefix)
    }

    /// Returns a text that no other test uses.
    pub(crate) fn unique(&self) -> String {
        self.prefix.clone()
    }

    /// Returns a path in the test's own directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Returns the progress that was reported so far.
    pub(crate) fn progress(&self) -> &RecordedProgress {
        &self.progress
    }

    /// Returns the images of a catalog, configured as in a run of `dm`.
    pub(crate) fn images(&self, catalog: Catalog, settings: ImageSettings) -> ImageStore {
        let dirs = ImageDirs {
            state_dir: self.path("state"),
            cache_dir: self.path("cache"),
        };
        ImageStore::new(self.engine.clone(), catalog, settings, dirs)
            .with_progress(self.progress.clone())
    }

    /// Returns whether no build or save has left files in its work directory.
    pub(crate) fn work_directory_is_empty(&self) -> bool {
        std::fs::read_dir(self.path("state/work"))
            .map_or(true, |mut entries| entries.next().is_none())
    }

    /// Returns a tar of a root file system that contains `/bin/sleep` and its libraries.
    pub(crate) fn root_with_sleep(&self) -> Vec<u8> {
        let linked = Command::new("ldd").arg("/bin/sleep").output().unwrap();
        let linked = String::from_utf8(linked.stdout).unwrap();
        let mut tar = tar::Builder::new(Vec::new());
        let files = linked
            .split_whitespace()
            .filter(|word| word.starts_with('/'))
            .chain(["/bin/sleep"]);
        for file in files {
            let path = Path::new(file).strip_prefix("/").unwrap();
            tar.append_path_with_name(file, path).unwrap();
        }
        tar.into_inner().unwrap()
    }

    /// Imports an image without labels under a name of the test's own.
    pub(crate) async fn foreign_image(&self, name: &str) -> String {
        self.import(&format!("{}/{name}", self.prefix)).await
    }

    /// Imports an image of a few megabytes that cannot be compressed.
    async fn import(&self, repository: &str) -> String {
        let mut random = self.prefix.bytes().fold(1_u32, |state, byte| {
            state.wrapping_mul(31).wrapping_add(u32::from(byte))
        });
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 24) as u8
        })
        .take(3 << 20)
        .collect();
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(noise.len() as u64);
        tar.append_data(&mut header, "noise", noise.as_slice())
            .unwrap();
        let body = bollard::body_full(Bytes::from(tar.into_inner().unwrap()));
        let options = CreateImageOptionsBuilder::default().from_src("-").build();
        let mut id = String::new();
        let mut events = self.docker.create_image(Some(options), Some(body), None);
        while let Some(event) = events.next().await {
            id = event.unwrap().status.unwrap_or(id);
        }
        let options = TagImageOptionsBuilder::default()
            .repo(repository)
            .tag("1")
            .build();
        self.docker.tag_image(&id, Some(options)).await.unwrap();
        format!("{repository}:1")
    }

    /// Pushes an image to a registry and removes it from the engine.
    async fn push(&self, repository: &str, login: Option<&RegistryLogin>) -> String {
        let reference = self.import(repository).await;
        let options = PushImageOptionsBuilder::default().tag("1").build();
        let credentials = login.map(|login| DockerCredentials {
            username: Some(login.username.clone()),
            password: Some(login.password.clone()),
            ..DockerCredentials::default()
        });
        // bollard encodes this header in standard base64, but engines expect the URL-safe
        // alphabet.
        let docker = self.docker.clone().with_request_modifier(|mut request| {
            if let Some(header) = request.headers_mut().get_mut("X-Registry-Auth") {
                let text = header.to_str().unwrap().replace('+', "-").replace('/', "_");
                *header = text.parse().unwrap();
            }
            request
        });
        let mut events = docker.push_image(repository, Some(options), credentials);
        while let Some(event) = events.next().await {
            event.unwrap();
        }
        self.remove(&reference).await;
        reference
    }

    /// Tags an image with a reference.
    pub(crate) async fn tag(&self, id: &str, reference: &str) {
        let (repository, tag) = reference.rsplit_once(':').unwrap();
        let options = TagImageOptionsBuilder::default()
            .repo(repository)
            .tag(tag)
            .build();
        self.docker.tag_image(id, Some(options)).await.unwrap();
    }

    /// Removes an image from the engine.
    pub(crate) async fn remove(&self, reference: &str) {
        let options = RemoveImageOptionsBuilder::default().force(true).build();
        drop(
            self.docker
                .remove_image(reference, Some(options), None)
                .await,
        );
    }

    /// Returns whether the engine has an image.
    pub(crate) async fn has(&self, reference: &str) -> bool {
        self.docker.inspect_image(reference).await.is_ok()
    }

    /// Creates a container with the label of [`INSTANCE`], without starting it.
    pub(crate) async fn create_container(&self, reference: &str) -> String {
        let body = ContainerCreateBody {
            image: Some(reference.to_owned()),
            cmd: Some(vec!["/none".into()]),
            labels: Some(HashMap::from([(
                "com.dundermifflin.dm.instance".into(),
                INSTANCE.into(),
            )])),
            ..ContainerCreateBody::default()
        };
        let name = self.name("container");
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let created = self
            .docker
            .create_container(Some(options), body)
            .await
            .unwrap();
        created.id
    }

    /// Returns the user and the group that own a file in an image.
    pub(crate) async fn owner_of_file(&self, reference: &str, path: &str) -> (u64, u64) {
        let container = self.create_container(reference).await;
        let options = DownloadFromContainerOptionsBuilder::default()
            .path(path)
            .build();
        let mut stream = self
            .docker
            .download_from_container(&container, Some(options));
        let mut tar = Vec::new();
        while let Some(chunk) = stream.next().await {
            tar.extend_from_slice(&chunk.unwrap());
        }
        let mut archive = tar::Archive::new(tar.as_slice());
        let entry = archive.entries().unwrap().next().unwrap().unwrap();
        (entry.header().uid().unwrap(), entry.header().gid().unwrap())
    }

    fn belongs_to_test(&self, labels: &HashMap<String, String>) -> bool {
        labels
            .get(dm_core::labels::COMPONENT)
            .is_some_and(|component| component.starts_with(&format!("{}-", self.prefix)))
    }

    /// Returns the images of this test, intermediate ones included.
    pub(crate) async fn image_ids(&self) -> BTreeSet<String> {
        let options = ListImagesOptionsBuilder::default().all(true).build();
        let images = self.docker.list_images(Some(options)).await.unwrap();
        images
            .into_iter()
            .filter(|image| self.belongs_to_test(&image.labels))
            .map(|image| image.id)
            .collect()
    }

    /// Returns the containers of this test, those of builds included.
    pub(crate) async fn container_ids(&self) -> BTreeSet<String> {
        let options = ListContainersOptionsBuilder::default().all(true).build();
        let containers = self.docker.list_containers(Some(options)).await.unwrap();
        containers
            .into_iter()
            .filter(|container| {
                container
                    .labels
                    .as_ref()
                    .is_some_and(|labels| self.belongs_to_test(labels))
            })
            .filter_map(|container| container.id)
            .collect()
    }

    /// Waits until a condition holds.
    pub(crate) async fn eventually(&self, mut condition: impl AsyncFnMut() -> bool) {
        let wait = async {
            while !condition().await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(TIMEOUT, wait)
            .await
            .expect("the condition did not hold in time");
    }

    async fn clean(&self) {
        for id in self.container_ids().await {
            let options = RemoveContainerOptionsBuilder::default().force(true).build();
            drop(self.docker.remove_container(&id, Some(options)).await);
        }
        let options = ListImagesOptionsBuilder::default().build();
        let images = self
            .docker
            .list_images(Some(options))
            .await
            .unwrap_or_default();
        for image in images {
            // An image that was pulled by its digest has no tag.
            for reference in image.repo_tags.iter().chain(&image.repo_digests) {
                // The separator behind the prefix prevents test 1 from removing the images of
                // test 10.
                if reference.contains(&format!("{}-", self.prefix))
                    || reference.contains(&format!("{}/", self.prefix))
                {
                    self.remove(reference).await;
                }
            }
        }
        for id in self.image_ids().await {
            self.remove(&id).await;
        }
    }
}

impl Drop for EngineFixture {
    fn drop(&mut self) {
        // Blocking is allowed here because the tests use a multi-threaded runtime.
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(self.clean());
        });
    }
}

type UpdateHook = Box<dyn Fn(&str, &ProgressUpdate) + Send>;

/// Records the progress that a run reports.
#[derive(Default)]
pub(crate) struct RecordedProgress {
    updates: Mutex<Vec<(String, ProgressUpdate)>>,
    notes: Mutex<Vec<String>>,
    hook: Mutex<Option<UpdateHook>>,
}

impl RecordedProgress {
    /// Returns the updates about an activity on an image.
    pub(crate) fn updates(&self, image: &str, activity: &str) -> Vec<ProgressUpdate> {
        let updates = self.updates.lock().unwrap();
        updates
            .iter()
            .filter(|(name, update)| name == image && update.activity == activity)
            .map(|(_, update)| update.clone())
            .collect()
    }

    /// Returns the notes so far.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap().clone()
    }

    /// Calls a hook at every update.
    pub(crate) fn on_update(&self, hook: impl Fn(&str, &ProgressUpdate) + Send + 'static) {
        *self.hook.lock().unwrap() = Some(Box::new(hook));
    }
}

impl ImageProgress for RecordedProgress {
    fn on_progress(&self, image: &str, update: ProgressUpdate) {
        if let Some(hook) = &*self.hook.lock().unwrap() {
            hook(image, &update);
        }
        self.updates
            .lock()
            .unwrap()
            .push((image.to_owned(), update));
    }

    fn on_note(&self, _: &str, text: String) {
        self.notes.lock().unwrap().push(text);
    }
}
