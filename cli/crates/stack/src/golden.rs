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
use dm_components::{Component, GoldenData, HostPorts, InstanceLayout};
use dm_core::error::Result;
use dm_images::DerivedImageSpec;
use dm_images::recipe::Sha256Digest;
use serde::Serialize;

use super::Stack;
use super::local_images::LocalImages;

/// The scratch instance that golden images are made in.
pub const SCRATCH_INSTANCE: &str = "golden";

/// Rounds of the digest of a set. It stands in the images' references, and what goes into it
/// are passwords and what everybody knows: without any, a short password could be guessed. It
/// has no key, so that a saved set is found on another machine.
const PBKDF2_ITERATIONS: NonZeroU32 = NonZeroU32::MIN.saturating_add(49_999);

/// A golden image of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GoldenImage {
    /// Its reference.
    pub image: String,
}

/// A digest of everything that goes into the golden images of a stack.
///
/// # Errors
/// Unreadable fixtures or migrations.
pub(crate) fn compute_digest(stack: &Stack) -> Result<Sha256Digest> {
    let mut text = Vec::new();
    // The same for every instance: names, ports and volumes don't go in.
    let mut instance = stack.instance.clone();
    instance.name = SCRATCH_INSTANCE.to_owned();
    instance.project = SCRATCH_INSTANCE.to_owned();
    let ports = HostPorts::new();
    let site = InstanceLayout {
        instance: &instance,
        ports: &ports,
        root: &stack.root,
        state_dir: &stack.state_dir,
    };
    // Also what writes into another one's data, as Keycloak does with the realm.
    for component in &stack.components {
        let writes = component.prebuilt_schema(&ports).is_some();
        if component.golden_data().is_some() || writes {
            text.extend(
                stack
                    .container_spec(component.as_ref(), &site)?
                    .canonical_json(),
            );
        }
    }
    text.extend(stack.database.digest_input()?);
    let mut key = [0; 32];
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
    pbkdf2::derive(
        algorithm,
        PBKDF2_ITERATIONS,
        b"dm golden 3",
        &text,
        &mut key,
    );
    Ok(Sha256Digest::compute(&key))
}

/// The golden images that fit the stack as it is configured now, by component.
/// All or none, since their data belongs together.
///
/// # Errors
/// Unreadable fixtures, or a failing engine.
pub async fn find_golden_images(stack: &Stack) -> Result<BTreeMap<String, GoldenImage>> {
    find_golden_images_with(stack, &mut LocalImages::new(&stack.images)).await
}

/// As [`find`], with what is known already of the images that they are made from.
pub(crate) async fn find_golden_images_with(
    stack: &Stack,
    local: &mut LocalImages<'_>,
) -> Result<BTreeMap<String, GoldenImage>> {
    let digest = compute_digest(stack)?;
    let mut found = BTreeMap::new();
    for (component, part) in golden_components(stack) {
        let Some(from) = local.find_reference(component.name()).await? else {
            return Ok(BTreeMap::new());
        };
        let image = golden_derivation(component, part, &digest, from).reference();
        if stack.engine.inspect_image(&image).await?.is_none() {
            return Ok(BTreeMap::new());
        }
        found.insert(component.name().to_owned(), GoldenImage { image });
    }
    Ok(found)
}

/// The components that have data to keep, and which.
pub(crate) fn golden_components(
    stack: &Stack,
) -> impl Iterator<Item = (&dyn Component, GoldenData)> {
    let components = stack.components.iter().map(AsRef::as_ref);
    components.filter_map(|component| Some((component, component.golden_data()?)))
}

/// How a component's golden image is made.
pub(crate) fn golden_derivation(
    component: &dyn Component,
    part: GoldenData,
    digest: &Sha256Digest,
    from: String,
) -> DerivedImageSpec {
    DerivedImageSpec {
        component: component.name().to_owned(),
        progress_name: component.name().to_owned(),
        content_digest: digest.clone(),
        base_image: from,
        golden: true,
        target_dir: format!("{}/", part.image_path()),
        labels: HashMap::new(),
        instructions: Vec::new(),
    }
}
