//! Builds golden images in a scratch instance.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use dm_components::postgres;
use dm_core::error::Result;
use dm_core::labels;
use dm_engine::images::Image;
use dm_images::recipe::Sha256Digest;
use futures_util::TryStreamExt as _;
use tokio_util::sync::CancellationToken;

use super::event::{Node, NodeKind, NodeState, ProgressUnit};
use super::executor::{EventEmitter, RunOutcome};
use super::golden::{self, golden_components, golden_derivation};
use super::image_progress::image_node_name as image_node;
use super::{Stack, StackError, down, up};

/// The label of a golden image with the project that built it.
const LABEL_PROJECT: &str = "com.dundermifflin.dm.golden-project";

/// How long a component may take to stop. The data of a killed one is unusable.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// Builds the golden images in the scratch instance `stack`.
///
/// Killed at any moment it leaves at most a scratch instance, which the next
/// run removes first, and images that are only used as a complete set.
///
/// # Errors
/// If an engine request or an image build fails. The failure of a component is in the outcome.
pub async fn build_golden_images(
    stack: &Arc<Stack>,
    request: &up::UpPlanRequest,
    emitter: &EventEmitter,
    interrupt: &CancellationToken,
) -> Result<RunOutcome> {
    let digest = golden::compute_digest(stack)?;
    down::down(stack, true, emitter, interrupt).await?;
    let result = populate_and_package(stack, request, &digest, emitter, interrupt).await;
    // Not with the run's token: the cleanup also follows an interrupted run.
    let removed = down::down(stack, true, emitter, &CancellationToken::new()).await;
    let outcome = result?;
    removed?;
    if outcome.is_success() {
        remove_superseded(stack).await?;
    }
    Ok(outcome)
}

/// Removes the superseded golden images of this project.
///
/// # Errors
/// If an engine request fails.
async fn remove_superseded(stack: &Stack) -> Result<()> {
    let current = golden::find_golden_images(stack).await?;
    let current: BTreeSet<&str> = current
        .values()
        .map(|golden| golden.image.as_str())
        .collect();
    let label = format!("{LABEL_PROJECT}={}", stack.instance.project);
    let images = stack.engine.list_images_with_label(&label).await?;
    let users = stack.engine.containers_by_image().await?;
    let is_used = |image: &Image| users.contains_key(&image.id);
    for image in find_superseded(images, &current, is_used) {
        for reference in &image.references {
            stack.engine.remove_image(reference).await?;
        }
    }
    Ok(())
}

/// Returns the unused golden images of other configurations among `images`, latest first. The
/// newest one of each component is not among them: a configuration that is tried out and taken
/// back finds its set again.
fn find_superseded(
    mut images: Vec<Image>,
    current: &BTreeSet<&str>,
    is_used: impl Fn(&Image) -> bool,
) -> Vec<Image> {
    images.retain(|image| image.labels.contains_key(labels::GOLDEN));
    images.sort_by_key(|image| std::cmp::Reverse(image.created));
    let mut previous = BTreeSet::new();
    images.retain(|image| {
        let is_current = image
            .references
            .iter()
            .any(|reference| current.contains(reference.as_str()));
        let component = image.labels.get(labels::COMPONENT).cloned();
        !is_current && !previous.insert(component) && !is_used(image)
    });
    images
}

/// Returns the components that a run for `only` has started, in the order in which they stop:
/// the last one first, and thus the database last. Keycloak still writes while it stops.
fn stop_order<'a>(
    components: impl DoubleEndedIterator<Item = &'a str>,
    only: &[String],
) -> Vec<&'a str> {
    components
        .filter(|component| only.iter().any(|name| name == component))
        .rev()
        .collect()
}

async fn populate_and_package(
    stack: &Arc<Stack>,
    request: &up::UpPlanRequest,
    digest: &Sha256Digest,
    emitter: &EventEmitter,
    interrupt: &CancellationToken,
) -> Result<RunOutcome> {
    let plan = up::prepare_plan(stack, request.clone(), stack.list_containers().await?).await?;
    let outcome = up::execute_plan(stack, &plan, emitter, interrupt).await?;
    if !outcome.is_success() {
        return Ok(outcome);
    }
    let components = stack.components.iter().map(|component| component.name());
    for name in stop_order(components, &request.only) {
        if name == postgres::NAME {
            stack.database.prepare_golden(&stack.ports).await?;
        }
        emitter.emit_note(Some(name), "stopping, so that its data can be saved");
        let container = stack.instance.container_name(name);
        let stopping = stack.engine.stop_container(&container, STOP_TIMEOUT);
        tokio::select! {
            result = stopping => result?,
            () = interrupt.cancelled() => {
                return Ok(RunOutcome { interrupted: true, ..RunOutcome::default() });
            }
        }
    }
    let images = golden_components(stack).map(|(component, _)| Node {
        name: image_node(component.name()),
        kind: NodeKind::Image,
        after: vec![component.name().to_owned()],
    });
    emitter.emit_started(&stack.instance.name, images.collect());
    for (component, data) in golden_components(stack) {
        let name = component.name();
        let base_image =
            stack
                .images
                .find_local(name)
                .await?
                .ok_or_else(|| StackError::ImageRemoved {
                    component: name.to_owned(),
                    image: None,
                })?;
        emitter.emit_state(
            &image_node(name),
            NodeState::Working {
                activity: "packing".into(),
                detail: None,
                current: None,
                total: None,
                unit: ProgressUnit::Bytes,
            },
        );
        let container = stack.instance.container_name(name);
        let files = stack.engine.export_path(&container, data.data_path());
        let files = Box::pin(files.map_err(std::io::Error::other));
        let mut derivation = golden_derivation(name, data, digest, base_image.reference);
        let project = stack.instance.project.clone();
        derivation.labels.insert(LABEL_PROJECT.to_owned(), project);
        stack.images.build_derived(&derivation, files).await?;
        emitter.emit_state(&image_node(name), NodeState::Ready { unchanged: false });
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use chrono::DateTime;

    use super::*;

    /// Returns an image of a component that was created in this second.
    fn image(component: &str, second: i64) -> Image {
        let name = format!("{component}-{second}");
        Image {
            id: format!("sha256:{name}"),
            references: vec![name],
            size: 0,
            created: DateTime::from_timestamp(second, 0).unwrap(),
            labels: HashMap::from([
                (labels::COMPONENT.to_owned(), component.to_owned()),
                (labels::GOLDEN.to_owned(), "true".to_owned()),
            ]),
            layers: Vec::new(),
            digests: Vec::new(),
        }
    }

    #[test]
    fn superseded_images_exclude_current_previous_and_used_ones() {
        let mut images = Vec::new();
        for component in ["postgres", "keycloak"] {
            images.extend((1..=5).map(|second| image(component, second)));
        }
        // The newest image need not belong to the current configuration.
        let current = BTreeSet::from(["postgres-4", "keycloak-5"]);
        let superseded = find_superseded(images, &current, |image| image.id == "sha256:keycloak-2");
        let superseded = superseded.into_iter();
        let mut references: Vec<_> = superseded.flat_map(|image| image.references).collect();
        references.sort_unstable();
        assert_eq!(
            references,
            [
                "keycloak-1",
                "keycloak-3",
                "postgres-1",
                "postgres-2",
                "postgres-3"
            ]
        );
    }

    fn superseded_references(images: Vec<Image>, current: &[&str]) -> Vec<String> {
        let current = current.iter().copied().collect();
        find_superseded(images, &current, |_| false)
            .into_iter()
            .flat_map(|image| image.references)
            .collect()
    }

    #[test]
    fn one_other_set_is_never_superseded() {
        assert!(superseded_references(Vec::new(), &[]).is_empty());
        let images = || vec![image("postgres", 1), image("postgres", 2)];
        assert!(superseded_references(images(), &["postgres-2"]).is_empty());
        assert!(superseded_references(images(), &["postgres-1"]).is_empty());
        assert_eq!(superseded_references(images(), &[]), ["postgres-1"]);
    }

    #[test]
    fn superseded_images_are_golden_images_and_come_latest_first() {
        let mut images: Vec<Image> = (1..=4).map(|second| image("postgres", second)).collect();
        images[1].labels.remove(labels::GOLDEN);
        assert_eq!(
            superseded_references(images, &[]),
            ["postgres-3", "postgres-1"]
        );
    }

    #[test]
    fn image_with_one_current_reference_is_not_superseded() {
        let mut images: Vec<Image> = (1..=2).map(|second| image("postgres", second)).collect();
        images[0].references.push("current".to_owned());
        assert!(superseded_references(images, &["current"]).is_empty());
    }

    #[test]
    fn components_of_the_run_stop_in_reverse_order() {
        let components = ["postgres", "rabbitmq", "keycloak", "order"];
        let stopped = |only: &[&str]| {
            let only: Vec<String> = only.iter().map(|&name| name.to_owned()).collect();
            stop_order(components.into_iter(), &only)
        };
        // The order of the request does not matter.
        assert_eq!(
            stopped(&["keycloak", "postgres", "rabbitmq"]),
            ["keycloak", "rabbitmq", "postgres"]
        );
        assert_eq!(stopped(&["order", "absent"]), ["order"]);
        assert!(stopped(&[]).is_empty());
    }
}
