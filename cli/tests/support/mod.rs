//! What the tests with an engine have in common.

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
use dm_images::Images;
use dm_images::catalog::Catalog;
use dm_images::progress::{Progress, Update};
use dm_images::recipe::LABEL_COMPONENT;
use dm_images::settings::{Dirs, ImageSettings};
use futures_util::StreamExt;

/// How long something that happens on the engine's own account may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// One test's place on the engine: names of its own, and nothing left at the end.
pub(crate) struct Bench {
    docker: Docker,
    engine: Engine,
    prefix: String,
    dir: tempfile::TempDir,
    told: Arc<Told>,
}

impl Bench {
    /// A place on the engine that answers where the usual clients look.
    pub(crate) async fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let docker = Docker::connect_with_local_defaults().expect("no engine is configured");
        docker
            .ping()
            .await
            .expect("these tests need a container engine: `dm engine start` starts one");
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let engine = Engine::connect(&EngineSettings::default())
            .await
            .expect("it answered just now");
        Self {
            docker,
            engine,
            prefix: format!("test-{}-{number}", std::process::id()),
            dir: tempfile::tempdir().unwrap(),
            told: Arc::default(),
        }
    }

    /// A component's name that no other test has.
    pub(crate) fn name(&self, component: &str) -> String {
        format!("{}-{component}", self.prefix)
    }

    /// A text that no other test has.
    pub(crate) fn unique(&self) -> String {
        self.prefix.clone()
    }

    /// A path in a folder of the test's own.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What was told so far.
    pub(crate) fn told(&self) -> &Told {
        &self.told
    }

    /// The images of a catalogue, as a run of `dm` would have them.
    pub(crate) fn images(&self, catalog: Catalog, settings: ImageSettings) -> Images {
        let dirs = Dirs {
            state: self.path("state"),
            cache: self.path("cache"),
        };
        Images::new(self.engine.clone(), catalog, settings, dirs)
            .with_components([self.name("golden")])
            .with_progress(self.told.clone())
    }

    /// True where no work in progress is left.
    pub(crate) fn work_is_clear(&self) -> bool {
        std::fs::read_dir(self.path("state/work")).map_or(true, |mut left| left.next().is_none())
    }

    /// A tar of a root file system in which `/bin/sleep` runs.
    pub(crate) fn sleeping_root(&self) -> Vec<u8> {
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

    /// An image without any label, under a name of the test's own.
    pub(crate) async fn foreign_image(&self, name: &str) -> String {
        self.import(&format!("{}/{name}", self.prefix)).await
    }

    /// Imports an image of some megabytes that don't compress.
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

    /// Puts an image into a registry, and forgets it here.
    async fn push(&self, repository: &str, login: Option<&RegistryLogin>) -> String {
        let reference = self.import(repository).await;
        let options = PushImageOptionsBuilder::default().tag("1").build();
        let credentials = login.map(|login| DockerCredentials {
            username: Some(login.username.clone()),
            password: Some(login.password.clone()),
            ..DockerCredentials::default()
        });
        // bollard writes the header in the alphabet that engines don't read.
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

    /// Gives an image a reference.
    pub(crate) async fn tag(&self, id: &str, reference: &str) {
        let (repository, tag) = reference.rsplit_once(':').unwrap();
        let options = TagImageOptionsBuilder::default()
            .repo(repository)
            .tag(tag)
            .build();
        self.docker.tag_image(id, Some(options)).await.unwrap();
    }

    /// Takes an image from the engine.
    pub(crate) async fn remove(&self, reference: &str) {
        let options = RemoveImageOptionsBuilder::default().force(true).build();
        drop(
            self.docker
                .remove_image(reference, Some(options), None)
                .await,
        );
    }

    /// True where the engine has an image.
    pub(crate) async fn has(&self, reference: &str) -> bool {
        self.docker.inspect_image(reference).await.is_ok()
    }

    /// A container of an instance called `bench`, made and not started.
    pub(crate) async fn container_of(&self, reference: &str) -> String {
        let body = ContainerCreateBody {
            image: Some(reference.to_owned()),
            cmd: Some(vec!["/none".into()]),
            labels: Some(HashMap::from([(
                "com.dundermifflin.dm.instance".into(),
                "bench".into(),
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

    /// Who owns a file in an image: user and group.
    pub(crate) async fn owner_in(&self, reference: &str, path: &str) -> (u64, u64) {
        let container = self.container_of(reference).await;
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

    fn is_ours(&self, labels: &HashMap<String, String>) -> bool {
        labels
            .get(LABEL_COMPONENT)
            .is_some_and(|component| component.starts_with(&format!("{}-", self.prefix)))
    }

    /// The images of this test, intermediate ones included.
    pub(crate) async fn image_ids(&self) -> BTreeSet<String> {
        let options = ListImagesOptionsBuilder::default().all(true).build();
        let images = self.docker.list_images(Some(options)).await.unwrap();
        images
            .into_iter()
            .filter(|image| self.is_ours(&image.labels))
            .map(|image| image.id)
            .collect()
    }

    /// The containers of this test, those of builds included.
    pub(crate) async fn container_ids(&self) -> BTreeSet<String> {
        let options = ListContainersOptionsBuilder::default().all(true).build();
        let containers = self.docker.list_containers(Some(options)).await.unwrap();
        containers
            .into_iter()
            .filter(|container| {
                container
                    .labels
                    .as_ref()
                    .is_some_and(|labels| self.is_ours(labels))
            })
            .filter_map(|container| container.id)
            .collect()
    }

    /// Waits until something is so.
    pub(crate) async fn eventually(&self, mut is_so: impl AsyncFnMut() -> bool) {
        let wait = async {
            while !is_so().await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait)
            .await
            .expect("it never came about");
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
            for reference in &image.repo_tags {
                // A name's end, so that test 1 does not take test 10's.
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

impl Drop for Bench {
    fn drop(&mut self) {
        // Also where the test failed: the tests run on several threads.
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(self.clean());
        });
    }
}

type Watch = Box<dyn Fn(&str, &Update) + Send>;

/// Remembers what is told.
#[derive(Default)]
pub(crate) struct Told {
    updates: Mutex<Vec<(String, Update)>>,
    notes: Mutex<Vec<String>>,
    watch: Mutex<Option<Watch>>,
}

impl Told {
    /// What was told of an image and an activity.
    pub(crate) fn doing(&self, image: &str, doing: &str) -> Vec<Update> {
        let updates = self.updates.lock().unwrap();
        updates
            .iter()
            .filter(|(name, update)| name == image && update.doing == doing)
            .map(|(_, update)| update.clone())
            .collect()
    }

    /// The notes so far.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap().clone()
    }

    /// Calls this at every update.
    pub(crate) fn when(&self, watch: impl Fn(&str, &Update) + Send + 'static) {
        *self.watch.lock().unwrap() = Some(Box::new(watch));
    }
}

impl Progress for Told {
    fn working(&self, image: &str, update: Update) {
        if let Some(watch) = &*self.watch.lock().unwrap() {
            watch(image, &update);
        }
        self.updates
            .lock()
            .unwrap()
            .push((image.to_owned(), update));
    }

    fn note(&self, _: &str, text: String) {
        self.notes.lock().unwrap().push(text);
    }
}
