//! Makes golden images, in a scratch instance of their own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use dm_components::postgres;
use dm_core::error::Result;
use dm_engine::images::Image;
use dm_images::derived::LABEL_GOLDEN;
use dm_images::recipe::{LABEL_COMPONENT, Sha256Digest};
use futures_util::TryStreamExt as _;
use tokio_util::sync::CancellationToken;

use super::event::{Node, NodeKind, NodeState, ProgressUnit};
use super::executor::{EventEmitter, RunOutcome};
use super::golden::{self, golden_components, golden_derivation};
use super::image_progress::image_node_name as image_node;
use super::{Stack, StackError, down, up};

/// The label of a golden image with the project that made it.
const LABEL_PROJECT: &str = "com.dundermifflin.dm.golden-project";

/// How long a component may take to stop: one that is killed leaves no data to
/// keep.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// Makes the golden images in the scratch instance that `stack` is.
///
/// Killed at any moment it leaves at most a scratch instance, which the next
/// run removes first, and images that are only taken as a whole set.
///
/// # Errors
/// A failing engine or image build; a component that fails is in the outcome.
pub async fn build_golden_images(
    stack: &Arc<Stack>,
    request: &up::UpPlanRequest,
    emitter: &EventEmitter,
    interrupt: &CancellationToken,
) -> Result<RunOutcome> {
    let digest = golden::compute_digest(stack)?;
    down::down(stack, true, emitter, interrupt).await?;
    let made = populate_and_package(stack, request, &digest, emitter, interrupt).await;
    // Not with the run's token: an interrupted run is tidied up all the same.
    let tidied = down::down(stack, true, emitter, &CancellationToken::new()).await;
    let outcome = made?;
    tidied?;
    if outcome.is_success() {
        remove_superseded(stack).await?;
    }
    Ok(outcome)
}

/// Removes the golden images of this project that are superseded.
///
/// # Errors
/// A failing engine.
async fn remove_superseded(stack: &Stack) -> Result<()> {
    let current = golden::find_golden_images(stack).await?;
    let current: BTreeSet<&str> = current.values().map(|it| it.image.as_str()).collect();
    let label = format!("{LABEL_PROJECT}={}", stack.instance.project);
    let mut images = stack.engine.list_images_with_label(&label).await?;
    images.retain(|image| image.labels.contains_key(LABEL_GOLDEN));
    let users = stack.engine.containers_by_image().await?;
    let used = |image: &Image| users.contains_key(&image.id);
    for image in find_superseded(images, &current, used) {
        for reference in &image.references {
            stack.engine.remove_image(reference).await?;
        }
    }
    Ok(())
}

/// Which of these golden images another configuration made, as far as no container uses
/// them. The newest one of each component stays: a configuration that is tried out and taken
/// back finds its set again.
fn find_superseded(
    mut images: Vec<Image>,
    current: &BTreeSet<&str>,
    used: impl Fn(&Image) -> bool,
) -> Vec<Image> {
    images.sort_by_key(|image| std::cmp::Reverse(image.created));
    let mut previous = BTreeSet::new();
    images.retain(|image| {
        let is_current = image
            .references
            .iter()
            .any(|reference| current.contains(reference.as_str()));
        let component = image.labels.get(LABEL_COMPONENT).cloned();
        !is_current && !previous.insert(component) && !used(image)
    });
    images
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
        emitter.emit_note(Some(name), "stopping, so that its data can be saved");
        let container = stack.instance.container_name(name);
        let stopping = stack.engine.stop_container(&container, STOP_TIMEOUT);
        tokio::select! {
            stopped = stopping => stopped?,
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
    for (component, part) in golden_components(stack) {
        let name = component.name();
        let from =
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
                doing: "packing".into(),
                detail: None,
                current: None,
                total: None,
                unit: ProgressUnit::Bytes,
            },
        );
        let container = stack.instance.container_name(name);
        let files = stack.engine.export_path(&container, part.data_path());
        let files = Box::pin(files.map_err(std::io::Error::other));
        let mut derivation = golden_derivation(component, part, digest, from.reference);
        let project = stack.instance.project.clone();
        derivation.labels.insert(LABEL_PROJECT.to_owned(), project);
        stack.images.build_derived(&derivation, files).await?;
        emitter.emit_state(&image_node(name), NodeState::Ready { kept: false });
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use chrono::DateTime;

    use super::*;

    /// An image of a component that was made in that second.
    fn image(component: &str, second: i64) -> Image {
        let name = format!("{component}-{second}");
        Image {
            id: format!("sha256:{name}"),
            references: vec![name],
            size: 0,
            created: DateTime::from_timestamp(second, 0).unwrap(),
            labels: HashMap::from([(LABEL_COMPONENT.to_owned(), component.to_owned())]),
            layers: Vec::new(),
            digests: Vec::new(),
        }
    }

    #[test]
    fn of_each_component_the_current_image_the_one_before_and_used_ones_stay() {
        let mut images = Vec::new();
        for component in ["postgres", "keycloak"] {
            images.extend((1..=5).map(|second| image(component, second)));
        }
        // The newest one need not be of the configuration that is the current one.
        let current = BTreeSet::from(["postgres-4", "keycloak-5"]);
        let gone = find_superseded(images, &current, |image| image.id == "sha256:keycloak-2");
        let mut gone: Vec<_> = gone.into_iter().flat_map(|it| it.references).collect();
        gone.sort_unstable();
        assert_eq!(
            gone,
            [
                "keycloak-1",
                "keycloak-3",
                "postgres-1",
                "postgres-2",
                "postgres-3"
            ]
        );
    }
}
