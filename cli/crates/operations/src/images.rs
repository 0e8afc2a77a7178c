//! Images are obtained, saved and loaded, and their progress is told as events of nodes.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use dm_core::error::{Coded as _, Result};
use dm_images::archive::Transferred;
use dm_images::{Acquired, How, ImageError, Images, Progress, SERVICES, Silent, Update};
use dm_stack::event::{Event, Node, NodeKind, NodeState};
use dm_stack::executor::Emitter;
use dm_stack::failure;

use crate::session::{Project, Session};

/// The node of what concerns all images at once: saving and loading.
const ALL: &str = "images";

/// The images of the project, for a look at them.
///
/// # Errors
/// No engine, or unreadable settings.
pub async fn images(session: &Session, project: &Project) -> Result<Images> {
    followed(session, project, Arc::new(Silent), false).await
}

/// The images, obtained with `progress` told.
async fn followed(
    session: &Session,
    project: &Project,
    progress: Arc<dyn Progress>,
    yes: bool,
) -> Result<Images> {
    let engine = session.engine(project.config()).await?;
    project.images(
        &engine,
        progress,
        session.consent(yes),
        session.interrupt.child_token(),
    )
}

/// Builds images from their recipes, or all where none is named. `no_cache` builds them anew
/// even where they are here.
///
/// # Errors
/// An unknown name, or a recipe that fails.
pub async fn build(
    session: &Session,
    project: &Project,
    names: &[String],
    no_cache: bool,
    yes: bool,
) -> Result<Vec<Acquired>> {
    let all = |images: &Images| {
        let names = images.catalog().names();
        let services = images.service_names().iter().copied();
        names.chain(services).map(str::to_owned).collect()
    };
    let work = async |images: &Images, names: &[&str]| images.build(names, no_cache).await;
    obtain(session, project, "images build", (names, all), yes, work).await
}

/// Pulls the official images, or all that a registry has where none is named.
///
/// # Errors
/// An unknown name, or no registry.
pub async fn pull(session: &Session, project: &Project, names: &[String]) -> Result<Vec<Acquired>> {
    let all = |images: &Images| images.published().into_iter().map(str::to_owned).collect();
    let work = async |images: &Images, names: &[&str]| images.pull(names).await;
    obtain(session, project, "images pull", (names, all), false, work).await
}

async fn obtain(
    session: &Session,
    project: &Project,
    command: &'static str,
    (names, all): (&[String], impl FnOnce(&Images) -> Vec<String>),
    yes: bool,
    work: impl AsyncFnOnce(&Images, &[&str]) -> Result<Vec<Acquired>, ImageError>,
) -> Result<Vec<Acquired>> {
    let (obtained, _) = session
        .followed(
            command,
            None,
            async |emitter| {
                let progress = Arc::new(ImageEvents::new(emitter.clone()));
                let images = followed(session, project, progress.clone(), yes).await?;
                let names = match names {
                    [] => all(&images),
                    names => names.to_vec(),
                };
                let named: Vec<&str> = names.iter().map(String::as_str).collect();
                for name in &named {
                    images.check(name)?;
                }
                let (services, mut nodes): (Vec<&str>, Vec<&str>) =
                    named.iter().partition(|name| images.is_service(name));
                if !services.is_empty() {
                    nodes.push(SERVICES);
                }
                progress.announce(project, NodeKind::Image, &nodes);
                let result = work(&images, &named).await;
                match &result {
                    Ok(obtained) => tell_done(&emitter, obtained, &services),
                    Err(error) => tell_failure(&emitter, error),
                }
                Ok(result?)
            },
            |_| true,
        )
        .await?;
    Ok(obtained)
}

/// Saves all current images to a file, with the golden ones where that is asked for.
///
/// # Errors
/// The file can't be written, or the engine fails.
pub async fn save(
    session: &Session,
    project: &Project,
    file: &Path,
    golden: bool,
) -> Result<Transferred> {
    let work = async |images: &Images| images.save(file, golden).await;
    transfer(session, project, "images save", work).await
}

/// Loads the images of a file.
///
/// # Errors
/// The file can't be read, or the engine fails.
pub async fn load(session: &Session, project: &Project, file: &Path) -> Result<Transferred> {
    let work = async |images: &Images| images.load(file).await;
    transfer(session, project, "images load", work).await
}

async fn transfer(
    session: &Session,
    project: &Project,
    command: &'static str,
    work: impl AsyncFnOnce(&Images) -> Result<Transferred, ImageError>,
) -> Result<Transferred> {
    let (transferred, _) = session
        .followed(
            command,
            None,
            async |emitter| {
                let progress = Arc::new(ImageEvents::new(emitter.clone()));
                let images = followed(session, project, progress.clone(), false).await?;
                progress.announce(project, NodeKind::Job, &[ALL]);
                let result = work(&images).await;
                let state = match &result {
                    Ok(_) => NodeState::Ready { kept: false },
                    Err(_) => NodeState::Failed,
                };
                emitter.node(ALL, state);
                Ok(result?)
            },
            |_| true,
        )
        .await?;
    Ok(transferred)
}

/// Says that the services are compiled. Each other image has said so by itself.
fn tell_done(emitter: &Emitter, images: &[Acquired], services: &[&str]) {
    if services.is_empty() {
        return;
    }
    let mut compiled = images
        .iter()
        .filter(|image| services.contains(&image.name.as_str()));
    let kept = compiled.all(|image| image.how == How::Local);
    emitter.node(SERVICES, NodeState::Ready { kept });
}

/// Tells of a failure that has output to show; the error itself follows anyway.
fn tell_failure(emitter: &Emitter, error: &ImageError) {
    let name = match error {
        ImageError::Build { name, .. } | ImageError::Pull { name, .. } => name,
        ImageError::Compile { .. } => SERVICES,
        _ => return,
    };
    emitter.node(name, NodeState::Failed);
    if !error.log().is_empty() || !error.source_errors().is_empty() {
        emitter.send(Event::Failed(failure::of_error(name, error, emitter.at())));
    }
}

/// Sends what is told of images as events of nodes of the same names. A base that
/// nobody asked for has no node: what is told of it goes to those that wait for it.
struct ImageEvents {
    emitter: Emitter,
    nodes: Mutex<BTreeSet<String>>,
}

impl ImageEvents {
    fn new(emitter: Emitter) -> Self {
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
            .announce(&project.instance.name, nodes.collect());
    }
}

impl Progress for ImageEvents {
    fn working(&self, image: &str, update: Update) {
        let state = NodeState::from(update);
        let Ok(nodes) = self.nodes.lock() else {
            return;
        };
        if nodes.contains(image) {
            self.emitter.node(image, state);
        } else {
            for node in nodes.iter() {
                self.emitter.node(node, state.clone());
            }
        }
    }

    fn obtained(&self, image: &str, was_here: bool) {
        self.emitter
            .node(image, NodeState::Ready { kept: was_here });
    }

    fn note(&self, image: &str, text: String) {
        let announced = self.nodes.lock().is_ok_and(|nodes| nodes.contains(image));
        self.emitter.note(announced.then_some(image), text);
    }
}
