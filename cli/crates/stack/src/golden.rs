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

use std::collections::{BTreeMap, BTreeSet, HashMap};
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
    let mut candidates = Vec::new();
    for (component, data) in golden_components(stack) {
        candidates.push(GoldenCandidate {
            component: component.name(),
            data,
            base_image: local.find_reference(component.name()).await?,
        });
    }
    let expected = expected_images(candidates, &digest);
    let inspections = expected
        .values()
        .map(|golden| stack.engine.inspect_image(&golden.image));
    let inspected = try_join_all(inspections).await?;
    let existing = expected
        .values()
        .zip(inspected)
        .filter_map(|(golden, image)| image.map(|_| golden.image.clone()))
        .collect();
    Ok(complete_set(expected, &existing))
}

/// A component with data for a golden image.
struct GoldenCandidate<'a> {
    component: &'a str,
    data: GoldenData,
    /// The reference of its base image, if the engine has this image.
    base_image: Option<String>,
}

/// Returns the golden images that belong to a configuration with this digest, by component. There
/// are none if a base image is missing: the set cannot be complete, since the reference of a
/// golden image depends on that of its base image.
fn expected_images(
    candidates: Vec<GoldenCandidate<'_>>,
    digest: &Sha256Digest,
) -> BTreeMap<String, GoldenImage> {
    let expected: Option<BTreeMap<String, GoldenImage>> = candidates
        .into_iter()
        .map(|candidate| {
            let GoldenCandidate {
                component,
                data,
                base_image,
            } = candidate;
            let image = golden_derivation(component, data, digest, base_image?).reference();
            Some((component.to_owned(), GoldenImage { image }))
        })
        .collect();
    expected.unwrap_or_default()
}

/// Returns the expected images if all of them are `existing`, and none otherwise, since their data
/// belongs together.
fn complete_set(
    expected: BTreeMap<String, GoldenImage>,
    existing: &BTreeSet<String>,
) -> BTreeMap<String, GoldenImage> {
    let is_complete = expected
        .values()
        .all(|golden| existing.contains(&golden.image));
    if is_complete {
        expected
    } else {
        BTreeMap::new()
    }
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

    fn candidate<'a>(component: &'a str, base_image: Option<&str>) -> GoldenCandidate<'a> {
        GoldenCandidate {
            component,
            data: DATA,
            base_image: base_image.map(str::to_owned),
        }
    }

    /// Returns the expected images of two components, whose base images have these tags.
    fn expected(configuration: &str, tags: [Option<&str>; 2]) -> BTreeMap<String, GoldenImage> {
        let candidates = ["postgres", "rabbitmq"].into_iter().zip(tags);
        let candidates = candidates.map(|(component, tag)| candidate(component, tag));
        let digest = Sha256Digest::compute(configuration.as_bytes());
        expected_images(candidates.collect(), &digest)
    }

    fn references(images: &BTreeMap<String, GoldenImage>) -> BTreeSet<String> {
        images.values().map(|golden| golden.image.clone()).collect()
    }

    #[test]
    fn expected_images_are_those_that_a_build_for_the_same_inputs_tags() {
        let images = expected("current", [Some("dm/postgres:1"), Some("dm/rabbitmq:1")]);
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
    fn no_image_is_expected_if_a_base_image_is_missing() {
        for tags in [
            [None, Some("dm/rabbitmq:1")],
            [Some("dm/postgres:1"), None],
            [None, None],
        ] {
            assert!(expected("current", tags).is_empty(), "{tags:?}");
        }
        let digest = Sha256Digest::compute(b"current");
        assert!(expected_images(Vec::new(), &digest).is_empty());
    }

    #[test]
    fn golden_images_are_reused_only_as_a_complete_set() {
        let images = expected("current", [Some("dm/postgres:1"), Some("dm/rabbitmq:1")]);
        let existing = references(&images);
        assert_eq!(complete_set(images.clone(), &existing), images);
        for missing in &existing {
            let mut incomplete = existing.clone();
            incomplete.remove(missing);
            assert!(complete_set(images.clone(), &incomplete).is_empty());
        }
        assert!(complete_set(images, &BTreeSet::new()).is_empty());
        assert!(complete_set(BTreeMap::new(), &existing).is_empty());
    }

    #[test]
    fn golden_images_of_another_configuration_or_base_image_are_stale() {
        let base_images = [Some("dm/postgres:1"), Some("dm/rabbitmq:1")];
        let existing = references(&expected("current", base_images));
        assert!(complete_set(expected("changed", base_images), &existing).is_empty());
        // One new base image is enough: the other image of the set still exists.
        let updated = expected("current", [Some("dm/postgres:2"), Some("dm/rabbitmq:1")]);
        assert_eq!(references(&updated).intersection(&existing).count(), 1);
        assert!(complete_set(updated, &existing).is_empty());
    }
}
