//! Builds, pulls, saves and loads images, with progress as events of nodes.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use dm_core::error::{Result, UserError as _};
use dm_images::archive::ArchiveSummary;
use dm_images::{
    AcquiredImage, ImageError, ImageOrigin, ImageProgress, ImageStore, NoImageProgress,
    ProgressUpdate, SERVICES_PROGRESS_NAME,
};
use dm_stack::event::{Node, NodeKind, NodeState};
use dm_stack::executor::EventEmitter;
use dm_stack::failure;

use crate::session::{Project, Session};

/// The node of operations on all images: save and load.
const ALL_IMAGES_NODE: &str = "images";

/// Opens the image store of the project without progress.
///
/// # Errors
/// If the engine cannot be reached or the settings cannot be read.
pub async fn open(session: &Session, project: &Project) -> Result<ImageStore> {
    open_with_progress(session, project, Arc::new(NoImageProgress), false).await
}

/// Opens the image store of the project and reports to `progress`.
async fn open_with_progress(
    session: &Session,
    project: &Project,
    progress: Arc<dyn ImageProgress>,
    yes: bool,
) -> Result<ImageStore> {
    let engine = session.engine(project.config()).await?;
    project.images(
        &engine,
        progress,
        session.consent(yes),
        session.interrupt.child_token(),
    )
}

/// Builds images from their recipes, or all if `names` is empty. `no_cache` rebuilds existing
/// images.
///
/// # Errors
/// If a name is unknown or a recipe fails.
pub async fn build(
    session: &Session,
    project: &Project,
    names: &[String],
    no_cache: bool,
    yes: bool,
) -> Result<Vec<AcquiredImage>> {
    let default_names = |images: &ImageStore| {
        let names = images.catalog().image_names();
        let services = images.service_names().iter().copied();
        names.chain(services).map(str::to_owned).collect()
    };
    let work = async |images: &ImageStore, names: &[&str]| images.build(names, no_cache).await;
    obtain_images(
        session,
        project,
        "images build",
        (names, default_names),
        yes,
        work,
    )
    .await
}

/// Pulls official images, or all that a registry provides if `names` is empty.
///
/// # Errors
/// If a name is unknown or no registry can be reached.
pub async fn pull(
    session: &Session,
    project: &Project,
    names: &[String],
) -> Result<Vec<AcquiredImage>> {
    let default_names = |images: &ImageStore| {
        images
            .official_image_names()
            .into_iter()
            .map(str::to_owned)
            .collect()
    };
    let work = async |images: &ImageStore, names: &[&str]| images.pull(names).await;
    obtain_images(
        session,
        project,
        "images pull",
        (names, default_names),
        false,
        work,
    )
    .await
}

async fn obtain_images(
    session: &Session,
    project: &Project,
    command: &'static str,
    (names, default_names): (&[String], impl FnOnce(&ImageStore) -> Vec<String>),
    yes: bool,
    work: impl AsyncFnOnce(&ImageStore, &[&str]) -> Result<Vec<AcquiredImage>, ImageError>,
) -> Result<Vec<AcquiredImage>> {
    let (obtained, _) = session
        .run_with_progress(
            command,
            None,
            async |emitter| {
                let progress = Arc::new(ImageProgressEvents::new(emitter.clone()));
                let images = open_with_progress(session, project, progress.clone(), yes).await?;
                let names = match names {
                    [] => default_names(&images),
                    names => names.to_vec(),
                };
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                for name in &names {
                    images.check_name(name)?;
                }
                let (services, mut nodes): (Vec<&str>, Vec<&str>) =
                    names.iter().partition(|name| images.is_service(name));
                if !services.is_empty() {
                    nodes.push(SERVICES_PROGRESS_NAME);
                }
                progress.announce(project, NodeKind::Image, &nodes);
                let result = work(&images, &names).await;
                match &result {
                    Ok(obtained) => report_services(&emitter, obtained, &services),
                    Err(error) => report_failure(&emitter, error),
                }
                Ok(result?)
            },
            |_| true,
        )
        .await?;
    Ok(obtained)
}

/// Saves all current images to a file, including golden images if `golden` is set.
///
/// # Errors
/// If the file cannot be written or the engine fails.
pub async fn save(
    session: &Session,
    project: &Project,
    file: &Path,
    golden: bool,
) -> Result<ArchiveSummary> {
    let work = async |images: &ImageStore| images.save_archive(file, golden).await;
    transfer(session, project, "images save", work).await
}

/// Loads the images of a file.
///
/// # Errors
/// If the file cannot be read or the engine fails.
pub async fn load(session: &Session, project: &Project, file: &Path) -> Result<ArchiveSummary> {
    let work = async |images: &ImageStore| images.load_archive(file).await;
    transfer(session, project, "images load", work).await
}

async fn transfer(
    session: &Session,
    project: &Project,
    command: &'static str,
    work: impl AsyncFnOnce(&ImageStore) -> Result<ArchiveSummary, ImageError>,
) -> Result<ArchiveSummary> {
    let (transferred, _) = session
        .run_with_progress(
            command,
            None,
            async |emitter| {
                let progress = Arc::new(ImageProgressEvents::new(emitter.clone()));
                let images = open_with_progress(session, project, progress.clone(), false).await?;
                progress.announce(project, NodeKind::Job, &[ALL_IMAGES_NODE]);
                let result = work(&images).await;
                let state = match &result {
                    Ok(_) => NodeState::Ready { unchanged: false },
                    Err(_) => NodeState::Failed,
                };
                emitter.emit_state(ALL_IMAGES_NODE, state);
                Ok(result?)
            },
            |_| true,
        )
        .await?;
    Ok(transferred)
}

/// Reports that the services are compiled. Other images are reported by the store.
fn report_services(emitter: &EventEmitter, images: &[AcquiredImage], services: &[&str]) {
    if services.is_empty() {
        return;
    }
    let mut compiled = images
        .iter()
        .filter(|image| services.contains(&image.name.as_str()));
    let unchanged = compiled.all(|image| image.origin == ImageOrigin::Local);
    emitter.emit_state(SERVICES_PROGRESS_NAME, NodeState::Ready { unchanged });
}

/// Reports a failure with its output. The error itself is returned in any case.
fn report_failure(emitter: &EventEmitter, error: &ImageError) {
    let name = match error {
        ImageError::Build { name, .. } | ImageError::Pull { name, .. } => name,
        ImageError::Compile { .. } => SERVICES_PROGRESS_NAME,
        _ => return,
    };
    emitter.emit_state(name, NodeState::Failed);
    if !error.log_tail().is_empty() || !error.compiler_errors().is_empty() {
        emitter.emit_failure(failure::from_error(name, error, emitter.elapsed()));
    }
}

/// Emits the progress of images as events of nodes with the same names. A base image that was
/// not requested has no node: its progress is reported for all nodes.
struct ImageProgressEvents {
    emitter: EventEmitter,
    nodes: Mutex<BTreeSet<String>>,
}

impl ImageProgressEvents {
    fn new(emitter: EventEmitter) -> Self {
        Self {
            emitter,
            nodes: Mutex::default(),
        }
    }

    fn announce(&self, project: &Project, kind: NodeKind, names: &[&str]) {
        if let Ok(mut nodes) = self.nodes.lock() {
            nodes.extend(names.iter().map(|&name| name.to_owned()));
        }
        let nodes = names.iter().map(|&name| Node {
            name: name.to_owned(),
            kind,
            after: Vec::new(),
        });
        self.emitter
            .emit_started(&project.instance.name, nodes.collect());
    }
}

impl ImageProgress for ImageProgressEvents {
    fn on_progress(&self, image: &str, update: ProgressUpdate) {
        let state = NodeState::from(update);
        let Ok(nodes) = self.nodes.lock() else {
            return;
        };
        if nodes.contains(image) {
            self.emitter.emit_state(image, state);
        } else {
            for node in nodes.iter() {
                self.emitter.emit_state(node, state.clone());
            }
        }
    }

    fn on_acquired(&self, image: &str, was_local: bool) {
        self.emitter.emit_state(
            image,
            NodeState::Ready {
                unchanged: was_local,
            },
        );
    }

    fn on_note(&self, image: &str, text: String) {
        let is_announced = self.nodes.lock().is_ok_and(|nodes| nodes.contains(image));
        self.emitter.emit_note(is_announced.then_some(image), text);
    }
}
