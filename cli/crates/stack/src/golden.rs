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

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;
use dm_components::{Component, GoldenPart, Ports, Site};
use dm_core::error::Result;
use dm_images::Derivation;
use dm_images::recipe::Digest;
use serde::Serialize;

use super::Stack;
use super::local::LocalImages;

/// The scratch instance that golden images are made in.
pub const INSTANCE: &str = "golden";

/// Rounds of the digest of a set. It stands in the images' references, and what goes into it
/// are passwords and what everybody knows: without any, a short password could be guessed. It
/// has no key, so that a saved set is found on another machine.
const ROUNDS: NonZeroU32 = NonZeroU32::MIN.saturating_add(49_999);

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
pub(crate) fn digest(stack: &Stack) -> Result<Digest> {
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
    find_among(stack, &mut LocalImages::new(&stack.images)).await
}

/// As [`find`], with what is known already of the images that they are made from.
pub(crate) async fn find_among(
    stack: &Stack,
    local: &mut LocalImages<'_>,
) -> Result<BTreeMap<String, Golden>> {
    let digest = digest(stack)?;
    let mut found = BTreeMap::new();
    for (component, part) in kept(stack) {
        let Some(from) = local.reference(component.name()).await? else {
            return Ok(BTreeMap::new());
        };
        let image = derivation(component, part, &digest, from).reference();
        if stack.engine.image(&image).await?.is_none() {
            return Ok(BTreeMap::new());
        }
        found.insert(component.name().to_owned(), Golden { image });
    }
    Ok(found)
}

/// The components that have data to keep, and which.
pub(crate) fn kept(stack: &Stack) -> impl Iterator<Item = (&dyn Component, GoldenPart)> {
    let components = stack.components.iter().map(AsRef::as_ref);
    components.filter_map(|component| Some((component, component.golden()?)))
}

/// How a component's golden image is made.
pub(crate) fn derivation(
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
