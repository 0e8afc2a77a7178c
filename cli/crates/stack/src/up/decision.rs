//! What a run does, decided from what was asked and what was found.

use dm_engine::containers::Container;
use dm_images::SERVICES_PROGRESS_NAME;

use super::UnchangedComponents;
use crate::image_progress::image_node_name as image_node;
use crate::plan::{PlanAction, PlanStep};

/// What is known of the image of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ComponentImage {
    /// The component.
    pub component: String,
    /// What its image is called.
    pub image: String,
    /// Whether the image is made with those of the other services.
    pub is_service: bool,
    /// The image's reference, where it is needed and there.
    pub local_reference: Option<String>,
}

/// A component's part in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ComponentDecision {
    /// The component.
    pub component: String,
    /// What is done about it.
    pub action: PlanAction,
    /// The image that is there already.
    pub image: Option<String>,
    /// The node that gets its image, where there is none.
    pub image_node: Option<String>,
}

/// Everything that a run does.
#[derive(Debug, Clone)]
pub(super) struct UpDecision {
    /// The steps that are left, in their order.
    pub steps: Vec<PlanStep>,
    /// The parts, in the order of the components.
    pub components: Vec<ComponentDecision>,
    /// The images to get first, without repetition; those of services are one.
    pub images: Vec<String>,
    /// The containers to remove.
    pub removals: Vec<Container>,
}

/// Decides what is done: `steps` compares the stack with `containers`, `wishes` tells of the
/// images of the components among them.
pub(super) fn decide_up(
    mut steps: Vec<PlanStep>,
    wishes: Vec<ComponentImage>,
    containers: &[Container],
    kept: UnchangedComponents,
) -> UpDecision {
    let mut images: Vec<String> = Vec::new();
    let mut parts = Vec::new();
    for wish in wishes {
        let Some(step) = steps.iter().find(|it| it.component == wish.component) else {
            continue;
        };
        let is_missing = step.action.needs_image() && wish.local_reference.is_none();
        let needed = is_missing.then(|| {
            if wish.is_service {
                SERVICES_PROGRESS_NAME.to_owned()
            } else {
                wish.image
            }
        });
        if let Some(needed) = &needed
            && !images.contains(needed)
        {
            images.push(needed.clone());
        }
        parts.push(ComponentDecision {
            component: wish.component,
            action: step.action,
            image: wish.local_reference,
            image_node: needed.as_deref().map(image_node),
        });
    }
    let is_removed = |container: &&Container| {
        steps
            .iter()
            .any(|step| step.action == PlanAction::Remove && step.component == container.component)
    };
    let removals = containers.iter().filter(is_removed).cloned().collect();
    if kept == UnchangedComponents::Skip {
        parts.retain(|part| part.action != PlanAction::Keep);
        steps.retain(|step| step.action != PlanAction::Keep);
    }
    UpDecision {
        steps,
        components: parts,
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

    fn wish(component: &str, local: Option<&str>) -> ComponentImage {
        ComponentImage {
            component: component.to_owned(),
            image: format!("{component}-base"),
            is_service: component.starts_with("service"),
            local_reference: local.map(str::to_owned),
        }
    }

    #[test]
    fn services_without_an_image_wait_for_one_build() {
        let names = ["service-a", "service-b"];
        let steps = names.map(|name| step(name, PlanAction::Create)).to_vec();
        let wishes = names.map(|name| wish(name, None)).to_vec();
        let decision = decide_up(steps, wishes, &[], UnchangedComponents::Probe);
        assert_eq!(decision.images, [SERVICES_PROGRESS_NAME]);
        for part in decision.components {
            assert_eq!(part.image_node.as_deref(), Some("services-image"));
        }
    }

    #[test]
    fn an_image_is_got_only_for_a_container_that_is_made() {
        let steps = vec![
            step("created", PlanAction::Create),
            step("there", PlanAction::Recreate),
            step("kept", PlanAction::Keep),
            step("started", PlanAction::Start),
            step("resumed", PlanAction::Resume),
        ];
        let wishes = vec![
            wish("created", None),
            wish("there", Some("dm/there:1")),
            wish("kept", None),
            wish("started", None),
            wish("resumed", None),
        ];
        let decision = decide_up(steps, wishes, &[], UnchangedComponents::Probe);
        assert_eq!(decision.images, ["created-base"]);
        let waiting = decision
            .components
            .iter()
            .filter(|it| it.image_node.is_some());
        let waiting: Vec<&str> = waiting.map(|it| it.component.as_str()).collect();
        assert_eq!(waiting, ["created"]);
        assert_eq!(decision.components[1].image.as_deref(), Some("dm/there:1"));
    }

    #[test]
    fn only_what_the_plan_removes_is_removed() {
        let steps = vec![step("a", PlanAction::Keep), step("old", PlanAction::Remove)];
        let there = ["a", "old", "other"].map(container);
        let decision = decide_up(
            steps,
            vec![wish("a", None)],
            &there,
            UnchangedComponents::Probe,
        );
        let removed = decision.removals.iter().map(|it| it.component.as_str());
        assert_eq!(removed.collect::<Vec<_>>(), ["old"]);
    }

    #[test]
    fn a_run_in_the_midst_of_work_leaves_out_what_is_kept() {
        let steps = vec![step("a", PlanAction::Keep), step("b", PlanAction::Start)];
        let wishes = vec![wish("a", None), wish("b", None)];
        let asked = decide_up(
            steps.clone(),
            wishes.clone(),
            &[],
            UnchangedComponents::Probe,
        );
        assert_eq!((asked.components.len(), asked.steps.len()), (2, 2));
        let left = decide_up(steps, wishes, &[], UnchangedComponents::Skip);
        assert_eq!(left.steps, [step("b", PlanAction::Start)]);
        assert_eq!(left.components.len(), 1);
    }
}
