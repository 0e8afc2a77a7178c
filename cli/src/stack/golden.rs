//! Golden start: what is slow to make and the same every time is kept in images.
//!
//! A scratch instance is brought up once from empty volumes, trained, stopped
//! cleanly, and its data directories become images: the database with every
//! role, migration and the realm in it, the broker with its topology, the
//! directory with its people, and Keycloak's ahead-of-time cache. A new
//! volume is filled from its image, by the engine itself or by the image's
//! entrypoint, so a fresh start with golden images has nothing left to do but to
//! start.
//!
//! All images of a set carry one digest of everything that went into them;
//! another configuration never finds them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use super::event::{Node, NodeKind, NodeState, Unit};
use super::executor::{Emitter, Outcome};
use super::images::node as image_node;
use super::{Stack, StackError, down, up};
use crate::components::{Component, GoldenPart, Ports, Site, keycloak, postgres};
use crate::error::Result;
use crate::images::Derivation;
use crate::images::recipe::Digest;

/// The scratch instance that golden images are made in.
pub const INSTANCE: &str = "golden";

/// How long a component may take to stop: Keycloak then writes its
/// ahead-of-time cache, for more than a minute on a busy machine.
const STOP_PATIENCE: Duration = Duration::from_secs(240);

/// A golden image of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Golden {
    /// Its reference.
    pub image: String,
    /// True where it holds data for the component's volume, which the engine
    /// puts into an empty one.
    pub fills_volume: bool,
}

/// A digest of everything that goes into the golden images of a stack.
///
/// # Errors
/// Unreadable fixtures or migrations.
pub fn digest(stack: &Stack) -> Result<Digest> {
    let mut digest = Sha256::new();
    digest.update("dm golden 1");
    // The same for every instance: names, ports and volumes don't go in.
    let mut instance = stack.instance.clone();
    instance.name = INSTANCE.to_owned();
    instance.project = INSTANCE.to_owned();
    let ports = Ports::new();
    let site = Site {
        instance: &instance,
        ports: &ports,
        root: &stack.root,
    };
    for (component, _) in kept(stack) {
        digest.update(stack.specify(component, &site)?.digest());
    }
    digest.update(stack.database.digest()?);
    Ok(Digest::from_hash(digest))
}

/// The golden images that fit the stack as it is configured now, by component.
/// All that hold data or none, since their data belongs together.
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
            if fills_volume(part) {
                return Ok(BTreeMap::new());
            }
            continue;
        }
        let golden = Golden {
            image,
            fills_volume: fills_volume(part),
        };
        found.insert(component.name().to_owned(), golden);
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
    Ok(outcome)
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
    train(stack).await;
    // The database stops last: Keycloak still writes while it stops.
    for (component, _) in kept(stack).rev() {
        let name = component.name();
        if name == postgres::NAME {
            stack.database.settle(&stack.ports).await?;
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
        let derivation = derivation(component, part, digest, from.reference);
        let state = match stack.images.build_derived(&derivation, files).await {
            Err(error) if !fills_volume(part) => {
                emitter.note(Some(name), format!("has no golden image: {error}"));
                NodeState::Gone
            }
            built => {
                drop(built?);
                NodeState::Ready { kept: false }
            }
        };
        emitter.node(&image_node(name), state);
    }
    Ok(outcome)
}

/// Asks Keycloak for what every first user of a fresh stack asks for, so that
/// the classes behind it are in the cache. Whatever fails here costs time
/// later and nothing else.
async fn train(stack: &Stack) {
    let base = keycloak::base_url(&stack.ports);
    let Ok(client) = crate::components::http_client().build() else {
        return;
    };
    let login = format!(
        "/realms/master/protocol/openid-connect/auth?client_id=security-admin-console\
         &response_type=code&scope=openid&redirect_uri={base}/admin/master/console/"
    );
    // A page alone: somebody who signed in would stay in the data.
    for path in [
        login.as_str(),
        "/realms/master/protocol/openid-connect/certs",
    ] {
        let _ = client.get(format!("{base}{path}")).send().await;
    }
}

/// The components of which something is kept, with what that is.
fn kept(stack: &Stack) -> impl DoubleEndedIterator<Item = (&dyn Component, GoldenPart)> {
    stack
        .components
        .iter()
        .filter_map(|component| Some((component.as_ref(), component.golden()?)))
}

fn fills_volume(part: GoldenPart) -> bool {
    !matches!(part, GoldenPart::Accelerator(_))
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
