//! `dm images`.

mod render;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use clap::{Args, Subcommand};
use dm_core::error::{Coded, Exit, Result};
use dm_images::archive::Transferred;
use dm_images::{Acquired, How, ImageError, Images, Progress, SERVICES, Silent, Update};
use dm_stack::event::{Event, Node, NodeKind, NodeState};
use dm_stack::executor::Emitter;
use dm_stack::failure;
use dm_terminal::text;
use serde::Serialize;

use super::context::{Context, Project};
use super::run::reported;

/// The node of what concerns all images at once: saving and loading.
const ALL: &str = "images";

/// The schemas of what the other commands print with `--json`.
mod schema {
    pub const OBTAINED: &str = "dm.images-obtained/1";
    pub const PRUNED: &str = "dm.images-pruned/1";
    pub const TRANSFERRED: &str = "dm.images-transferred/1";
}

/// Show, get, remove and move the images of the stack.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Show the images that are here, whether they are current, and who uses them.
    Ls,
    /// Build images from their recipes, without a registry, and the services' from
    /// their sources.
    Build {
        /// Which ones; all if none is named. Services are compiled together.
        names: Vec<String>,
        /// Build them anew even if they are here, every step.
        #[arg(long)]
        no_cache: bool,
        /// Install missing programs without asking.
        #[arg(long, short)]
        yes: bool,
    },
    /// Pull the official images of those that have one.
    Pull {
        /// Which ones; all that a registry has if none is named.
        names: Vec<String>,
    },
    /// Remove the images of the stack that are stale and not in use.
    Prune {
        /// Remove the current ones, too, as far as they are not in use.
        #[arg(long)]
        all: bool,
    },
    /// Save all current images to a file, for a machine without network.
    Save {
        /// The file. Its owner alone may read it.
        file: PathBuf,
        /// Save golden images, too. They hold hashes of passwords and the broker's
        /// cookie.
        #[arg(long)]
        golden: bool,
    },
    /// Load the images of a file that `dm images save` made.
    Load {
        /// The file.
        file: PathBuf,
    },
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let project = context.project()?;
    match arguments.command {
        Command::Ls => list(context, &project).await,
        Command::Build {
            names,
            no_cache,
            yes,
        } => {
            obtain(
                context,
                &project,
                "images build",
                &names,
                yes,
                async |images, names| images.build(names, no_cache).await,
            )
            .await
        }
        Command::Pull { names } => {
            obtain(
                context,
                &project,
                "images pull",
                &names,
                false,
                async |images, names| images.pull(names).await,
            )
            .await
        }
        Command::Prune { all } => prune(context, &project, all).await,
        Command::Save { file, golden } => {
            transfer(
                context,
                &project,
                ("images save", "saved"),
                async |images| images.save(&file, golden).await,
            )
            .await
        }
        Command::Load { file } => {
            transfer(
                context,
                &project,
                ("images load", "loaded"),
                async |images| images.load(&file).await,
            )
            .await
        }
    }
}

/// The images, obtained with `progress` told.
async fn images(
    context: &Context,
    project: &Project,
    progress: Arc<dyn Progress>,
    yes: bool,
) -> Result<Images> {
    let engine = context.engine(project.config()).await?;
    project.images(
        &engine,
        progress,
        context.consent(yes),
        context.interrupt.child_token(),
    )
}

async fn list(context: &Context, project: &Project) -> Result<Exit> {
    let rows = images(context, project, Arc::new(Silent), false)
        .await?
        .list()
        .await?;
    let printer = &context.printer;
    if printer.is_json() {
        let document = render::Document { images: &rows };
        printer.document(render::SCHEMA, &document)?;
    } else if rows.is_empty() {
        printer.note("there are no images yet; dm up or dm images build makes them");
    } else {
        printer.data(&render::render(&rows, &printer.out()))?;
    }
    Ok(Exit::Success)
}

#[derive(Serialize)]
struct Obtained {
    images: Vec<Acquired>,
}

async fn obtain(
    context: &Context,
    project: &Project,
    command: &'static str,
    names: &[String],
    yes: bool,
    work: impl AsyncFnOnce(&Images, &[&str]) -> Result<Vec<Acquired>, ImageError>,
) -> Result<Exit> {
    let (obtained, _) = reported(
        context,
        command,
        None,
        async |emitter| {
            let progress = Arc::new(ImageEvents::new(emitter.clone()));
            let images = images(context, project, progress.clone(), yes).await?;
            let named: Vec<&str> = match (names.is_empty(), command) {
                (false, _) => names.iter().map(String::as_str).collect(),
                (true, "images pull") => images.published(),
                (true, _) => images
                    .catalog()
                    .names()
                    .chain(images.service_names().iter().copied())
                    .collect(),
            };
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
    let printer = &context.printer;
    if printer.is_json() {
        printer.document(schema::OBTAINED, &Obtained { images: obtained })?;
    } else {
        for image in &obtained {
            printer.data(&image.reference)?;
        }
    }
    Ok(Exit::Success)
}

async fn prune(context: &Context, project: &Project, all: bool) -> Result<Exit> {
    let pruned = images(context, project, Arc::new(Silent), false)
        .await?
        .prune(all)
        .await?;
    let printer = &context.printer;
    if printer.is_json() {
        printer.document(schema::PRUNED, &pruned)?;
        return Ok(Exit::Success);
    }
    for row in &pruned.removed {
        printer.data(row.reference.as_deref().unwrap_or(&row.id))?;
    }
    printer.done(&format!(
        "{} removed, {} freed",
        text::count(pruned.removed.len(), "image"),
        text::bytes(pruned.freed)
    ));
    if !pruned.kept.is_empty() {
        printer.note(&format!(
            "{} kept, because containers or other images need them",
            text::count(pruned.kept.len(), "image")
        ));
    }
    Ok(Exit::Success)
}

async fn transfer(
    context: &Context,
    project: &Project,
    (command, done): (&'static str, &str),
    work: impl AsyncFnOnce(&Images) -> Result<Transferred, ImageError>,
) -> Result<Exit> {
    let (transferred, _) = reported(
        context,
        command,
        None,
        async |emitter| {
            let progress = Arc::new(ImageEvents::new(emitter.clone()));
            let images = images(context, project, progress.clone(), false).await?;
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
    let printer = &context.printer;
    if printer.is_json() {
        printer.document(schema::TRANSFERRED, &transferred)?;
    } else {
        printer.done(&format!(
            "{} {done}, {}",
            text::count(transferred.images.len(), "image"),
            text::bytes(transferred.size)
        ));
    }
    Ok(Exit::Success)
}

fn tell_done(emitter: &Emitter, images: &[Acquired], services: &[&str]) {
    let is_kept = |image: &Acquired| image.how == How::Local;
    let (compiled, others): (Vec<_>, Vec<_>) = images
        .iter()
        .partition(|image| services.contains(&image.name.as_str()));
    for image in others {
        let kept = is_kept(image);
        emitter.node(&image.name, NodeState::Ready { kept });
    }
    if !compiled.is_empty() {
        let kept = compiled.into_iter().all(is_kept);
        emitter.node(SERVICES, NodeState::Ready { kept });
    }
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

    fn note(&self, image: &str, text: String) {
        let announced = self.nodes.lock().is_ok_and(|nodes| nodes.contains(image));
        self.emitter.note(announced.then_some(image), text);
    }
}
