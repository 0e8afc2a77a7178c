//! Golden start: what is slow to make and the same every time is kept in images.
//!
//! A scratch instance is brought up once from empty volumes, stopped cleanly, and
//! its data directories become images: the database with every role, migration
//! and the realm in it, the broker with its topology, the directory with its
//! people. A new volume is filled from its image, by the engine itself or by the
//! image's entrypoint, so a fresh start with golden images has nothing left to do
//! but to start.
//!
//! All images of a set carry one digest of everything that went into them;
//! another configuration never finds them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::pbkdf2;
use dm_components::{Component, GoldenPart, Ports, Site, postgres};
use dm_core::error::Result;
use dm_images::Derivation;
use dm_images::derived::LABEL_GOLDEN;
use dm_images::recipe::{Digest, LABEL_COMPONENT};
use futures_util::TryStreamExt as _;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::event::{Node, NodeKind, NodeState, Unit};
use super::executor::{Emitter, Outcome};
use super::images::node as image_node;
use super::{Stack, StackError, down, up};

/// The scratch instance that golden images are made in.
pub const INSTANCE: &str = "golden";

/// The label of a golden image with the project that made it.
const LABEL_PROJECT: &str = "com.dundermifflin.dm.golden-project";

/// Rounds of the digest of a set. It stands in the images' references, and what goes into it
/// are passwords and what everybody knows: without any, a short password could be guessed. It
/// has no key, so that a saved set is found on another machine.
const ROUNDS: NonZeroU32 = NonZeroU32::MIN.saturating_add(49_999);

/// How long a component may take to stop: one that is killed leaves no data to
/// keep.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// A golden image of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Golden {
    /// Its reference.
    pub image: String,
}

/// A digest of everything that goes into the golden images of a stack.
///
/// # Errors
/// Unreadable fixtures or migrations.
pub fn digest(stack: &Stack) -> Result<Digest> {
    let mut text = Vec::new();
    // The same for every instance: names, ports and volumes don't go in.
    let mut instance = stack.instance.clone();
    instance.name = INSTANCE.to_owned();
    instance.project = INSTANCE.to_owned();
    let ports = Ports::new();
    let site = Site {
        instance: &instance,
        ports: &ports,
        root: &stack.root,
        state: &stack.state,
    };
    // Also what writes into another one's data, as Keycloak does with the realm.
    for component in &stack.components {
        let writes = component.recorded_schema(&ports).is_some();
        if component.golden().is_some() || writes {
            text.extend(stack.specify(component.as_ref(), &site)?.text());
        }
    }
    text.extend(stack.database.text()?);
    let mut key = [0; 32];
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
    pbkdf2::derive(algorithm, ROUNDS, b"dm golden 3", &text, &mut key);
    Ok(Digest::of(&key))
}

/// The golden images that fit the stack as it is configured now, by component.
/// All or none, since their data belongs together.
///
/// # Errors
/// Unreadable fixtures, or a failing engine.
pub async fn find(stack: &Stack) -> Result<BTreeMap<String, Golden>> {
    let digest = digest(stack)?;
    let mut found = BTreeMap::new();
    for (component, part) in kept(stack) {
        let Some(from) = stack.images.local(component.name()).await? else {
            return Ok(BTreeMap::new());
        };
        let image = derivation(component, part, &digest, from.reference).reference();
        if stack.engine.image(&image).await?.is_none() {
            return Ok(BTreeMap::new());
        }
        found.insert(component.name().to_owned(), Golden { image });
    }
    Ok(found)
}

/// Makes the golden images in the scratch instance that `stack` is.
///
/// Killed at any moment it leaves at most a scratch instance, which the next
/// run removes first, and images that are only taken as a whole set.
///
/// # Errors
/// A failing engine or image build; a component that fails is in the outcome.
pub async fn make(
    stack: &Arc<Stack>,
    request: &up::Request,
    emitter: &Emitter,
    interrupt: &CancellationToken,
) -> Result<Outcome> {
    let digest = digest(stack)?;
    down::down(stack, true, emitter, interrupt).await?;
    let made = fill(stack, request, &digest, emitter, interrupt).await;
    // Not with the run's token: an interrupted run is tidied up all the same.
    let tidied = down::down(stack, true, emitter, &CancellationToken::new()).await;
    let outcome = made?;
    tidied?;
    if outcome.ok() {
        remove_superseded(stack).await?;
    }
    Ok(outcome)
}

/// Removes the golden images of this project that another configuration made, as far as no
/// container uses them. The newest of those stay: a configuration that is tried out and taken
/// back finds its set again.
///
/// # Errors
/// A failing engine.
pub async fn remove_superseded(stack: &Stack) -> Result<()> {
    let current = find(stack).await?;
    let label = format!("{LABEL_PROJECT}={}", stack.instance.project);
    let mut images = stack.engine.images_labelled(&label).await?;
    images.retain(|image| image.labels.contains_key(LABEL_GOLDEN));
    images.sort_by_key(|image| std::cmp::Reverse(image.created));
    let users = stack.engine.image_users().await?;
    let mut previous = BTreeSet::new();
    for image in images {
        let is_current = image
            .references
            .iter()
            .any(|reference| current.values().any(|golden| golden.image == *reference));
        let component = image.labels.get(LABEL_COMPONENT).cloned();
        if is_current || previous.insert(component) || users.contains_key(&image.id) {
            continue;
        }
        for reference in &image.references {
            stack.engine.remove_image(reference).await?;
        }
    }
    Ok(())
}

async fn fill(
    stack: &Arc<Stack>,
    request: &up::Request,
    digest: &Digest,
    emitter: &Emitter,
    interrupt: &CancellationToken,
) -> Result<Outcome> {
    let plan = up::prepare(stack, request).await?;
    let outcome = up::execute(stack, plan, request, emitter, interrupt).await?;
    if !outcome.ok() {
        return Ok(outcome);
    }
    // The database stops last: Keycloak still writes while it stops.
    let running = stack
        .components
        .iter()
        .filter(|component| request.only.iter().any(|name| name == component.name()));
    for component in running.rev() {
        let name = component.name();
        if name == postgres::NAME {
            stack.database.prepare_golden(&stack.ports).await?;
        }
        emitter.note(Some(name), "stopping, to be kept as it is");
        let container = stack.instance.container(name);
        let stopping = stack.engine.stop(&container, STOP_PATIENCE);
        tokio::select! {
            stopped = stopping => stopped?,
            () = interrupt.cancelled() => {
                return Ok(Outcome { interrupted: true, ..Outcome::default() });
            }
        }
    }
    let images = kept(stack).map(|(component, _)| Node {
        name: image_node(component.name()),
        kind: NodeKind::Image,
        after: vec![component.name().to_owned()],
    });
    emitter.announce(&stack.instance.name, images.collect());
    for (component, part) in kept(stack) {
        let name = component.name();
        let from = stack
            .images
            .local(name)
            .await?
            .ok_or_else(|| StackError::ImageGone {
                component: name.to_owned(),
            })?;
        emitter.node(
            &image_node(name),
            NodeState::Working {
                doing: "packing".into(),
                detail: None,
                current: None,
                total: None,
                unit: Unit::Bytes,
            },
        );
        let container = stack.instance.container(name);
        let files = stack.engine.export_path(&container, part.path());
        let files = Box::pin(files.map_err(std::io::Error::other));
        let mut derivation = derivation(component, part, digest, from.reference);
        let project = stack.instance.project.clone();
        derivation.labels.insert(LABEL_PROJECT.to_owned(), project);
        stack.images.build_derived(&derivation, files).await?;
        emitter.node(&image_node(name), NodeState::Ready { kept: false });
    }
    Ok(outcome)
}

/// The components that have data to keep, and which.
fn kept(stack: &Stack) -> impl Iterator<Item = (&dyn Component, GoldenPart)> {
    let components = stack.components.iter().map(AsRef::as_ref);
    components.filter_map(|component| Some((component, component.golden()?)))
}

/// How a component's golden image is made.
fn derivation(
    component: &dyn Component,
    part: GoldenPart,
    digest: &Digest,
    from: String,
) -> Derivation {
    Derivation {
        component: component.name().to_owned(),
        told_as: component.name().to_owned(),
        key: digest.clone(),
        from,
        golden: true,
        to: format!("{}/", part.kept()),
        labels: HashMap::new(),
        changes: Vec::new(),
    }
}
