//! Decides the actions of a run from the request and the existing containers and images.

use dm_engine::containers::Container;
use dm_images::SERVICES_PROGRESS_NAME;

use super::UnchangedComponents;
use crate::image_progress::image_node_name as image_node;
use crate::plan::{PlanAction, PlanStep};

/// The image of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ComponentImage {
    /// The component.
    pub component: String,
    /// The name of its image.
    pub image: String,
    /// Whether the image is built together with those of the other services.
    pub is_service: bool,
    /// The reference of the local image, if the image is needed and exists.
    pub local_reference: Option<String>,
}

/// The decision about one component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ComponentDecision {
    /// The component.
    pub component: String,
    /// The action.
    pub action: PlanAction,
    /// The local image, if it exists.
    pub image: Option<String>,
    /// The node that acquires its image, if it does not exist.
    pub image_node: Option<String>,
}

/// All actions of a run.
#[derive(Debug, Clone)]
pub(super) struct UpDecision {
    /// The remaining steps, in order.
    pub steps: Vec<PlanStep>,
    /// The decisions, in the order of the components.
    pub components: Vec<ComponentDecision>,
    /// The images to acquire first, without repetition. Those of services are one entry.
    pub images: Vec<String>,
    /// The containers to remove.
    pub removals: Vec<Container>,
}

/// Decides the actions of a run. `steps` are the differences between the stack and
/// `containers`, `component_images` are the images of the components in `steps`.
pub(super) fn decide_up(
    mut steps: Vec<PlanStep>,
    component_images: Vec<ComponentImage>,
    containers: &[Container],
    unchanged: UnchangedComponents,
) -> UpDecision {
    let mut images: Vec<String> = Vec::new();
    let mut components = Vec::new();
    for component_image in component_images {
        let Some(step) = steps
            .iter()
            .find(|step| step.component == component_image.component)
        else {
            continue;
        };
        let is_missing = step.action.needs_image() && component_image.local_reference.is_none();
        let missing_image = is_missing.then(|| {
            if component_image.is_service {
                SERVICES_PROGRESS_NAME.to_owned()
            } else {
                component_image.image
            }
        });
        if let Some(missing_image) = &missing_image
            && !images.contains(missing_image)
        {
            images.push(missing_image.clone());
        }
        components.push(ComponentDecision {
            component: component_image.component,
            action: step.action,
            image: component_image.local_reference,
            image_node: missing_image.as_deref().map(image_node),
        });
    }
    let is_removed = |container: &&Container| {
        steps
            .iter()
            .any(|step| step.action == PlanAction::Remove && step.component == container.component)
    };
    let removals = containers.iter().filter(is_removed).cloned().collect();
    if unchanged == UnchangedComponents::Skip {
        components.retain(|decision| decision.action != PlanAction::Keep);
        steps.retain(|step| step.action != PlanAction::Keep);
    }
    UpDecision {
        steps,
        components,
        images,
        removals,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_fixtures::container;

    fn step(component: &str, action: PlanAction) -> PlanStep {
        PlanStep {
            component: component.to_owned(),
            action,
            reason: None,
        }
    }

    fn component_image(component: &str, local: Option<&str>) -> ComponentImage {
        ComponentImage {
            component: component.to_owned(),
            image: format!("{component}-base"),
            is_service: component.starts_with("service"),
            local_reference: local.map(str::to_owned),
        }
    }

    #[test]
    fn services_without_images_share_one_build() {
        let names = ["service-a", "service-b"];
        let steps = names.map(|name| step(name, PlanAction::Create)).to_vec();
        let component_images = names.map(|name| component_image(name, None)).to_vec();
        let decision = decide_up(steps, component_images, &[], UnchangedComponents::Probe);
        assert_eq!(decision.images, [SERVICES_PROGRESS_NAME]);
        for component in decision.components {
            assert_eq!(component.image_node.as_deref(), Some("services-image"));
        }
    }

    #[test]
    fn image_is_acquired_only_for_a_created_container() {
        let steps = vec![
            step("created", PlanAction::Create),
            step("there", PlanAction::Recreate),
            step("kept", PlanAction::Keep),
            step("started", PlanAction::Start),
            step("resumed", PlanAction::Resume),
        ];
        let component_images = vec![
            component_image("created", None),
            component_image("there", Some("dm/there:1")),
            component_image("kept", None),
            component_image("started", None),
            component_image("resumed", None),
        ];
        let decision = decide_up(steps, component_images, &[], UnchangedComponents::Probe);
        assert_eq!(decision.images, ["created-base"]);
        let waiting = decision
            .components
            .iter()
            .filter(|component| component.image_node.is_some());
        let waiting: Vec<&str> = waiting
            .map(|decision| decision.component.as_str())
            .collect();
        assert_eq!(waiting, ["created"]);
        assert_eq!(decision.components[1].image.as_deref(), Some("dm/there:1"));
    }

    #[test]
    fn only_containers_with_a_remove_step_are_removed() {
        let steps = vec![step("a", PlanAction::Keep), step("old", PlanAction::Remove)];
        let existing = ["a", "old", "other"].map(container);
        let decision = decide_up(
            steps,
            vec![component_image("a", None)],
            &existing,
            UnchangedComponents::Probe,
        );
        let removals = decision.removals.iter();
        let removed = removals.map(|container| container.component.as_str());
        assert_eq!(removed.collect::<Vec<_>>(), ["old"]);
    }

    #[test]
    fn skip_omits_unchanged_components() {
        let steps = vec![step("a", PlanAction::Keep), step("b", PlanAction::Start)];
        let component_images = vec![component_image("a", None), component_image("b", None)];
        let probed = decide_up(
            steps.clone(),
            component_images.clone(),
            &[],
            UnchangedComponents::Probe,
        );
        assert_eq!((probed.components.len(), probed.steps.len()), (2, 2));
        let skipped = decide_up(steps, component_images, &[], UnchangedComponents::Skip);
        assert_eq!(skipped.steps, [step("b", PlanAction::Start)]);
        assert_eq!(skipped.components.len(), 1);
    }
}
