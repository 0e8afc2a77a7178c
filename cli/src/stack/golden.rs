//! Golden start: what is slow to make and the same every time is kept in images.
//!
//! A scratch instance is brought up once from empty volumes, trained, stopped
//! cleanly, and its data directories become images: the database with every
//! role, migration and the realm in it, the broker with its topology, the
//! directory with its people, and Keycloak's ahead-of-time cache. The engine
//! fills a new named volume from its image by itself, so a fresh start with
//! golden images has nothing left to do but to start.
//!
//! All images of a set carry one digest of everything that went into them;
//! another configuration never finds them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use super::executor::{Emitter, Outcome};
use super::{Stack, StackError, down, up};
use crate::components::{Component, GoldenPart, Ports, Site, keycloak};
use crate::error::Result;
use crate::images::Derivation;
use crate::images::recipe::Digest;

/// The scratch instance that golden images are made in.
pub const INSTANCE: &str = "golden";

/// A golden image of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Golden {
    /// Its reference.
    pub image: String,
    /// True where it holds data for the component's volume, so that it may
    /// only be used with a new one.
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
    for component in &stack.components {
        digest.update(stack.specify(component.as_ref(), &site)?.digest());
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
    for component in &stack.components {
        let component = component.as_ref();
        let Some(from) = stack.images.local(component.name()).await? else {
            return Ok(BTreeMap::new());
        };
        let image = derivation(component, &digest, from.reference).reference();
        if stack.engine.image(&image).await?.is_none() {
            if fills_volume(component) {
                return Ok(BTreeMap::new());
            }
            continue;
        }
        let golden = Golden {
            image,
            fills_volume: fills_volume(component),
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
    for component in stack.components.iter().rev() {
        let container = stack.instance.container(component.name());
        emitter.note(Some(component.name()), "stopping, to be kept as it is");
        // Keycloak writes its ahead-of-time cache when it ends.
        stack
            .engine
            .stop(&container, std::time::Duration::from_secs(120))
            .await?;
    }
    for component in &stack.components {
        let component = component.as_ref();
        let name = component.name();
        let from = stack
            .images
            .local(name)
            .await?
            .ok_or_else(|| StackError::ImageGone {
                component: name.to_owned(),
            })?;
        emitter.note(Some(name), "packing its golden image");
        let container = stack.instance.container(name);
        let files = stack
            .engine
            .export_path(&container, component.golden().path());
        let files = Box::pin(files.map_err(std::io::Error::other));
        let derivation = derivation(component, digest, from.reference);
        match stack.images.build_derived(&derivation, files).await {
            Err(error) if !fills_volume(component) => {
                emitter.note(Some(name), format!("has no golden image: {error}"));
            }
            built => drop(built?),
        }
    }
    Ok(outcome)
}

/// Asks Keycloak for what every first user of a fresh stack asks for, so that
/// the classes behind it are in the cache. Whatever fails here costs time
/// later and nothing else.
async fn train(stack: &Stack) {
    let base = keycloak::base_url(&stack.ports);
    let Ok(client) = keycloak::client().build() else {
        return;
    };
    for path in [
        "/realms/master/protocol/openid-connect/certs",
        "/admin/",
        "/realms/master/account/",
    ] {
        let _ = client.get(format!("{base}{path}")).send().await;
    }
}

fn fills_volume(component: &dyn Component) -> bool {
    matches!(component.golden(), GoldenPart::Data(_))
}

/// How a component's golden image is made.
fn derivation(component: &dyn Component, digest: &Digest, from: String) -> Derivation {
    let parent = Path::new(component.golden().path())
        .parent()
        .unwrap_or(Path::new("/"));
    Derivation {
        component: component.name().to_owned(),
        key: digest.clone(),
        from,
        golden: true,
        to: format!("{}/", parent.display()),
        labels: HashMap::new(),
        changes: Vec::new(),
    }
}
