//! Golden images: initialised data directories, stored in images.
//!
//! A scratch instance is brought up once from empty volumes, stopped cleanly, and
//! its data directories become images: the database with every role, migration
//! and the realm in it, the broker with its topology, the directory with its
//! users. A new volume is filled from its image, by the engine itself or by the
//! image's entrypoint, so a fresh start with golden images skips initialisation.
//!
//! All images of a set carry one digest of all their inputs. A different
//! configuration never finds them.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;
use dm_components::{Component, GoldenData, HostPorts, InstanceLayout};
use dm_core::error::Result;
use dm_images::DerivedImageSpec;
use dm_images::recipe::Sha256Digest;
use futures_util::future::try_join_all;
use serde::Serialize;

use super::Stack;
use super::local_images::LocalImages;

/// The scratch instance in which golden images are built.
pub const SCRATCH_INSTANCE: &str = "golden";

/// The iterations of the digest of a set. The digest is part of the images' references, and
/// its inputs are passwords and public data: without iterations, a short password could be
/// guessed. It has no key, so that a saved set is found on another machine.
const PBKDF2_ITERATIONS: NonZeroU32 = NonZeroU32::MIN.saturating_add(49_999);

/// A golden image of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GoldenImage {
    /// Its reference.
    pub image: String,
}

/// Computes the digest of all inputs of a stack's golden images.
///
/// # Errors
/// If a fixture or a migration cannot be read.
pub(crate) fn compute_digest(stack: &Stack) -> Result<Sha256Digest> {
    let mut input = Vec::new();
    // The same for every instance: names, ports and volumes are no inputs.
    let mut instance = stack.instance.clone();
    instance.name = SCRATCH_INSTANCE.to_owned();
    instance.project = SCRATCH_INSTANCE.to_owned();
    let ports = HostPorts::new();
    let layout = InstanceLayout {
        instance: &instance,
        ports: &ports,
        root: &stack.root,
        state_dir: &stack.state_dir,
    };
    // Also components that write into the data of another one, as Keycloak does with the realm.
    for component in &stack.components {
        let has_schema = component.prebuilt_schema(&ports).is_some();
        if component.golden_data().is_some() || has_schema {
            input.extend(
                stack
                    .container_spec(component.as_ref(), &layout)?
                    .canonical_json(),
            );
        }
    }
    input.extend(stack.database.digest_input()?);
    let mut key = [0; 32];
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
    pbkdf2::derive(
        algorithm,
        PBKDF2_ITERATIONS,
        b"dm golden 4",
        &input,
        &mut key,
    );
    Ok(Sha256Digest::compute(&key))
}

/// Returns the golden images of the stack's current configuration, by component:
/// all or none, since their data belongs together.
///
/// # Errors
/// If a fixture cannot be read or an engine request fails.
pub async fn find_golden_images(stack: &Stack) -> Result<BTreeMap<String, GoldenImage>> {
    find_golden_images_with(stack, &mut LocalImages::new(&stack.images)).await
}

/// Like [`find_golden_images`], with a cache of the images that they are built from.
pub(crate) async fn find_golden_images_with(
    stack: &Stack,
    local: &mut LocalImages<'_>,
) -> Result<BTreeMap<String, GoldenImage>> {
    let digest = compute_digest(stack)?;
    let mut base_images = Vec::new();
    for (component, data) in golden_components(stack) {
        let Some(base_image) = local.find_reference(component.name()).await? else {
            return Ok(BTreeMap::new());
        };
        base_images.push((component.name(), data, base_image));
    }
    let golden_images = expected_images(base_images, &digest);
    let inspections = golden_images
        .values()
        .map(|golden| stack.engine.inspect_image(&golden.image));
    let inspected = try_join_all(inspections).await?;
    if inspected.iter().any(Option::is_none) {
        return Ok(BTreeMap::new());
    }
    Ok(golden_images)
}

/// Returns the golden images that belong to a configuration with this digest, by component.
/// `base_images` are the components with their data and the references of their base images.
fn expected_images(
    base_images: Vec<(&str, GoldenData, String)>,
    digest: &Sha256Digest,
) -> BTreeMap<String, GoldenImage> {
    base_images
        .into_iter()
        .map(|(component, data, base_image)| {
            let image = golden_derivation(component, data, digest, base_image).reference();
            (component.to_owned(), GoldenImage { image })
        })
        .collect()
}

/// Returns the components with data for golden images, and the paths of the data.
pub(crate) fn golden_components(
    stack: &Stack,
) -> impl Iterator<Item = (&dyn Component, GoldenData)> {
    let components = stack.components.iter().map(AsRef::as_ref);
    components.filter_map(|component| Some((component, component.golden_data()?)))
}

/// Returns how a component's golden image is derived from its base image.
pub(crate) fn golden_derivation(
    component: &str,
    data: GoldenData,
    digest: &Sha256Digest,
    base_image: String,
) -> DerivedImageSpec {
    DerivedImageSpec {
        component: component.to_owned(),
        progress_name: component.to_owned(),
        content_digest: digest.clone(),
        base_image,
        golden: true,
        target_dir: format!("{}/", data.image_path()),
        labels: HashMap::new(),
        instructions: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: GoldenData = GoldenData::InPlace("/var/lib/data");

    /// Returns the expected images of two components, whose base images have these references.
    fn expected(configuration: &str, references: [&str; 2]) -> BTreeMap<String, GoldenImage> {
        let base_images = ["postgres", "rabbitmq"].into_iter().zip(references);
        let base_images =
            base_images.map(|(component, reference)| (component, DATA, reference.to_owned()));
        let digest = Sha256Digest::compute(configuration.as_bytes());
        expected_images(base_images.collect(), &digest)
    }

    #[test]
    fn expected_images_are_those_that_a_build_for_the_same_inputs_tags() {
        let images = expected("current", ["dm/postgres:1", "dm/rabbitmq:1"]);
        assert_eq!(
            images.keys().collect::<Vec<_>>(),
            ["postgres", "rabbitmq"],
            "{images:?}"
        );
        let digest = Sha256Digest::compute(b"current");
        let built = golden_derivation("postgres", DATA, &digest, "dm/postgres:1".into());
        assert_eq!(images["postgres"].image, built.reference());
        assert!(built.reference().starts_with("dm/postgres:golden-"));
    }

    #[test]
    fn expected_images_depend_on_the_configuration_and_on_their_base_images() {
        let references = ["dm/postgres:1", "dm/rabbitmq:1"];
        let current = expected("current", references);
        let changed = expected("changed", references);
        assert_ne!(changed["postgres"], current["postgres"]);
        assert_ne!(changed["rabbitmq"], current["rabbitmq"]);
        // The other image of the set stays the same.
        let updated = expected("current", ["dm/postgres:2", "dm/rabbitmq:1"]);
        assert_ne!(updated["postgres"], current["postgres"]);
        assert_eq!(updated["rabbitmq"], current["rabbitmq"]);
    }
}
