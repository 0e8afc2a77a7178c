//! Brings an instance to its desired state, according to the plan and the graph.

mod component_run;
mod deadline;
mod decision;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dm_components::database_setup;
use dm_components::database_setup::DatabaseError;
use dm_components::lock_watch::WorkLimits;
use dm_core::error::Result;
use dm_engine::containers::Container;
use dm_images::{ImageOrigin, SERVICES_PROGRESS_NAME};
use tokio::sync::{OnceCell, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::component_run::{ComponentRun, PlannedComponent, SharedRunState};
use self::deadline::RunDeadline;
use self::decision::{ComponentImage, decide_up};
use super::event::{Node, NodeKind, NodeState, ProgressUnit};
use super::executor::{EventEmitter, RunOutcome, Task, TaskError, TaskFuture};
use super::failure;
use super::golden::{self, GoldenImage};
use super::image_progress::image_node_name as image_node;
use super::local_images::LocalImages;
use super::plan::{DesiredComponent, PlanAction, PlanStep, compute_plan};
use super::{Stack, executor, select_with_dependencies};

/// Whether a run uses golden images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoldenPolicy {
    /// Fill new volumes from golden images.
    Use,
    /// Use no golden images.
    Ignore,
}

/// How a run treats components for which nothing has to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnchangedComponents {
    /// Probe them: each has to respond.
    Probe,
    /// Leave them out: a run during development concerns only changed components.
    Skip,
}

/// What a plan says about the golden images for the next fresh start, once its run has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextGoldenImages {
    /// They exist, or the run before this one has prepared them.
    Prepared,
    /// They do not exist.
    Missing,
    /// They have to be looked up: the run obtains an image, and golden images may match only
    /// after that.
    Unknown,
}

/// The request for a run.
#[derive(Debug, Clone)]
pub struct UpPlanRequest {
    /// The components to bring up with their dependencies; all if empty.
    pub only: Vec<String>,
    /// How long components may take to become ready, once the images are available.
    pub wait_timeout: Duration,
    /// Whether the run uses golden images.
    pub golden_policy: GoldenPolicy,
    /// How the run treats components for which nothing has to be done.
    pub unchanged: UnchangedComponents,
}

/// All actions of a run, decided before the first one, with the state that they were decided
/// from: the run does not query it again.
#[derive(Debug)]
pub struct UpPlan {
    /// The steps, in the order of the components; removals last.
    pub steps: Vec<PlanStep>,
    /// The images that have to be pulled or built first. Those of services are
    /// built together, as [`SERVICES_PROGRESS_NAME`].
    pub images: Vec<String>,
    /// The golden images from which new volumes are filled, by component: a complete set or none.
    /// They are not looked up if nothing has to be done.
    pub golden_images: BTreeMap<String, GoldenImage>,
    request: UpPlanRequest,
    /// The instance's containers before the run.
    containers: Vec<Container>,
    components: Vec<PlannedComponent>,
    /// Whether the database is to be set up.
    prepares_database: bool,
    removals: Vec<Container>,
}

impl UpPlan {
    /// Returns whether nothing has to be done.
    #[must_use]
    pub fn is_noop(&self) -> bool {
        self.steps
            .iter()
            .all(|step| step.action == PlanAction::Keep)
    }

    /// Returns what is known about the golden images for the next fresh start, once the run has
    /// ended.
    #[must_use]
    pub fn next_golden_images(&self) -> NextGoldenImages {
        // Without an action, they were not looked up.
        if self.is_noop() {
            return NextGoldenImages::Prepared;
        }
        if !self.images.is_empty() {
            NextGoldenImages::Unknown
        } else if self.golden_images.is_empty() {
            NextGoldenImages::Missing
        } else {
            NextGoldenImages::Prepared
        }
    }

    /// Returns the instance's containers, if a run with this outcome has not changed them.
    #[must_use]
    pub fn unchanged_containers(&self, outcome: &RunOutcome) -> Option<&[Container]> {
        let is_unchanged =
            self.is_noop() && outcome.is_success() && outcome.unchanged == outcome.completed;
        is_unchanged.then_some(self.containers.as_slice())
    }
}

/// Compares the stack with the state of the engine. `containers` are the instance's current
/// containers.
///
/// # Errors
/// If a name in `only` is unknown, a fixture cannot be read, or an engine request fails.
pub async fn prepare_plan(
    stack: &Stack,
    request: UpPlanRequest,
    containers: Vec<Container>,
) -> Result<UpPlan> {
    let selected = select_with_dependencies(&stack.components, &request.only)?;
    let layout = stack.instance_layout();
    let mut specs = BTreeMap::new();
    let mut desired = Vec::new();
    for component in &stack.components {
        if !selected.contains(component.name()) {
            continue;
        }
        let spec = stack.container_spec(component.as_ref(), &layout)?;
        desired.push(DesiredComponent {
            component: component.name().to_owned(),
            digest: spec.digest(),
        });
        specs.insert(component.name().to_owned(), (component.clone(), spec));
    }
    let steps = compute_plan(&desired, &containers, request.only.is_empty());
    let mut local = LocalImages::new(&stack.images);
    let mut component_images = Vec::new();
    for step in &steps {
        let Some((component, _)) = specs.get(&step.component) else {
            continue;
        };
        component_images.push(ComponentImage {
            component: step.component.clone(),
            image: component.image_name().to_owned(),
            is_service: stack.images.is_service(component.name()),
            local_reference: if step.action.needs_image() {
                local.find_reference(component.image_name()).await?
            } else {
                None
            },
        });
    }
    let is_noop = steps.iter().all(|step| step.action == PlanAction::Keep);
    let golden_images = match request.golden_policy {
        // No volume is filled, and their digest is slow on purpose.
        GoldenPolicy::Use if is_noop => BTreeMap::new(),
        GoldenPolicy::Use => golden::find_golden_images_with(stack, &mut local).await?,
        GoldenPolicy::Ignore => BTreeMap::new(),
    };
    let decision = decide_up(steps, component_images, &containers, request.unchanged);
    let mut components = Vec::new();
    for decided in decision.components {
        if let Some((component, spec)) = specs.remove(&decided.component) {
            components.push(PlannedComponent {
                component,
                spec,
                action: decided.action,
                image: decided.image,
                image_node: decided.image_node,
            });
        }
    }
    Ok(UpPlan {
        steps: decision.steps,
        images: decision.images,
        golden_images,
        request,
        containers,
        components,
        prepares_database: selected.contains(dm_components::postgres::NAME),
        removals: decision.removals,
    })
}

/// Executes a plan.
///
/// # Errors
/// If the run cannot start. The failure of a node is in the outcome.
pub async fn execute_plan(
    stack: &Arc<Stack>,
    plan: &UpPlan,
    emitter: &EventEmitter,
    interrupt: &CancellationToken,
) -> Result<RunOutcome> {
    let labels = stack.instance.labels();
    if !plan.is_noop() {
        stack
            .engine
            .ensure_network(&stack.instance.network_name(), &labels)
            .await?;
    }
    let selected: BTreeSet<&str> = plan
        .components
        .iter()
        .map(|planned| planned.component.name())
        .collect();
    let (remaining_images, images_receiver) = watch::channel((plan.images.len(), Instant::now()));
    let remaining_images = Arc::new(remaining_images);
    let shared = Arc::new(SharedRunState {
        golden_images: plan.golden_images.clone(),
        deadline: RunDeadline {
            wait_timeout: plan.request.wait_timeout,
            pending_images: images_receiver,
        },
        containers: OnceCell::new(),
    });

    let mut tasks = Vec::new();
    for name in &plan.images {
        let remaining_images = remaining_images.clone();
        tasks.push(image_task(stack, name, emitter, move || {
            remaining_images.send_modify(|(remaining, changed_at)| {
                *remaining = remaining.saturating_sub(1);
                *changed_at = Instant::now();
            });
        }));
    }
    for planned in &plan.components {
        let after = planned
            .component
            .start_dependencies()
            .iter()
            .map(|&name| name.to_owned())
            .filter(|name| {
                selected.contains(name.as_str())
                    || (plan.prepares_database && name == database_setup::NAME)
            })
            .chain(planned.image_node.clone())
            .collect();
        let run = ComponentRun {
            stack: stack.clone(),
            planned: planned.clone(),
            emitter: emitter.clone(),
            shared: shared.clone(),
        };
        tasks.push(Task {
            node: Node {
                name: planned.component.name().to_owned(),
                kind: NodeKind::Service,
                after,
            },
            work: Box::new(move |cancel| Box::pin(run.run(cancel)) as TaskFuture),
        });
    }
    if plan.prepares_database {
        let after = selected
            .get(dm_components::postgres::NAME)
            .map(|&name| name.to_owned());
        tasks.push(database_task(
            stack,
            after,
            shared.deadline.clone(),
            emitter,
        ));
    }
    for container in &plan.removals {
        tasks.push(super::down::teardown_task(
            stack,
            container.clone(),
            super::down::TeardownAction::Remove,
            Vec::new(),
            emitter,
        ));
    }
    let nodes = tasks.iter().map(|task| task.node.clone()).collect();
    emitter.emit_started(&stack.instance.name, nodes);
    Ok(executor::run_tasks(tasks, emitter, interrupt).await?)
}

/// Returns the task that acquires an image, or those of all services, and then calls `on_end`.
pub(super) fn image_task(
    stack: &Arc<Stack>,
    component: &str,
    emitter: &EventEmitter,
    on_end: impl FnOnce() + Send + 'static,
) -> Task {
    let node = Node {
        name: image_node(component),
        kind: NodeKind::Image,
        after: Vec::new(),
    };
    let (stack, component, emitter) = (stack.clone(), component.to_owned(), emitter.clone());
    let work = move |cancel: CancellationToken| {
        Box::pin(async move {
            let name = image_node(&component);
            let acquire = async {
                if component == SERVICES_PROGRESS_NAME {
                    stack.images.build_services().await
                } else {
                    stack
                        .images
                        .acquire(&component)
                        .await
                        .map(|image| vec![image])
                }
            };
            tokio::pin!(acquire);
            let acquired = tokio::select! {
                acquired = &mut acquire => acquired,
                () = cancel.cancelled() => {
                    // The build has to clean up: it must not continue in the background.
                    stack.images_cancel.cancel();
                    acquire.await
                }
            };
            on_end();
            match acquired {
                Ok(acquired) => {
                    let mut unchanged = true;
                    for image in acquired
                        .iter()
                        .filter(|image| image.origin != ImageOrigin::Local)
                    {
                        unchanged = false;
                        emitter.emit_note(Some(&name), image.to_string());
                    }
                    Ok(NodeState::Ready { unchanged })
                }
                Err(_) if cancel.is_cancelled() => Err(TaskError::Cancelled),
                Err(error) => Err(TaskError::Failed(Box::new(failure::from_error(
                    &name,
                    &error,
                    emitter.elapsed(),
                )))),
            }
        }) as TaskFuture
    };
    Task {
        node,
        work: Box::new(work),
    }
}

fn database_task(
    stack: &Arc<Stack>,
    after: Option<String>,
    deadline: RunDeadline,
    emitter: &EventEmitter,
) -> Task {
    let node = Node {
        name: database_setup::NAME.to_owned(),
        kind: NodeKind::Job,
        after: Vec::from_iter(after),
    };
    let (stack, emitter) = (stack.clone(), emitter.clone());
    let work = move |cancel: CancellationToken| {
        Box::pin(async move {
            emitter.emit_state(
                database_setup::NAME,
                NodeState::Working {
                    activity: "checking".into(),
                    detail: Some("roles, schemas, migrations".into()),
                    current: None,
                    total: None,
                    unit: ProgressUnit::Steps,
                },
            );
            let limits = WorkLimits {
                lock_timeout: stack.lock_timeout,
                deadline: Some(deadline.instant()),
                interrupt: cancel,
            };
            stack
                .database
                .apply(&stack.ports, &limits)
                .await
                .map(|unchanged| NodeState::Ready { unchanged })
                .map_err(|error| {
                    let failure =
                        failure::from_error(database_setup::NAME, &error, emitter.elapsed());
                    match error {
                        DatabaseError::Interrupted => TaskError::Cancelled,
                        DatabaseError::LockTimeout(_) => TaskError::LockTimeout(Box::new(failure)),
                        DatabaseError::TimedOut(_) => TaskError::TimedOut(Box::new(failure)),
                        _ => TaskError::Failed(Box::new(failure)),
                    }
                })
        }) as TaskFuture
    };
    Task {
        node,
        work: Box::new(work),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_fixtures::container;

    /// Returns a plan with these actions, each for a component of its own.
    fn plan(actions: &[PlanAction]) -> UpPlan {
        let steps = actions.iter().map(|action| PlanStep {
            component: action.as_str().to_owned(),
            action: *action,
            reason: None,
        });
        UpPlan {
            steps: steps.collect(),
            images: Vec::new(),
            golden_images: BTreeMap::new(),
            request: UpPlanRequest {
                only: Vec::new(),
                wait_timeout: Duration::from_secs(60),
                golden_policy: GoldenPolicy::Use,
                unchanged: UnchangedComponents::Probe,
            },
            containers: vec![container("postgres")],
            components: Vec::new(),
            prepares_database: true,
            removals: Vec::new(),
        }
    }

    fn golden_images() -> BTreeMap<String, GoldenImage> {
        let image = "dm/postgres:golden-1".to_owned();
        BTreeMap::from([("postgres".to_owned(), GoldenImage { image })])
    }

    #[test]
    fn plan_is_a_noop_only_if_it_keeps_every_component() {
        assert!(plan(&[]).is_noop());
        assert!(plan(&[PlanAction::Keep, PlanAction::Keep]).is_noop());
        for action in [
            PlanAction::Start,
            PlanAction::Resume,
            PlanAction::Create,
            PlanAction::Recreate,
            PlanAction::Remove,
        ] {
            assert!(!plan(&[PlanAction::Keep, action]).is_noop(), "{action:?}");
        }
    }

    #[test]
    fn golden_images_are_prepared_if_nothing_has_to_be_done() {
        // They were not looked up.
        let noop = plan(&[PlanAction::Keep]);
        assert_eq!(noop.next_golden_images(), NextGoldenImages::Prepared);
    }

    #[test]
    fn golden_images_are_missing_after_a_run_without_new_images_that_found_none() {
        let without = plan(&[PlanAction::Start]);
        assert_eq!(without.next_golden_images(), NextGoldenImages::Missing);
        let with = UpPlan {
            golden_images: golden_images(),
            ..without
        };
        assert_eq!(with.next_golden_images(), NextGoldenImages::Prepared);
    }

    #[test]
    fn golden_images_are_unknown_after_a_run_with_new_images() {
        let images = vec!["postgres".to_owned()];
        for golden_images in [BTreeMap::new(), golden_images()] {
            let plan = UpPlan {
                images: images.clone(),
                golden_images,
                ..plan(&[PlanAction::Create])
            };
            assert_eq!(plan.next_golden_images(), NextGoldenImages::Unknown);
        }
    }

    #[test]
    fn containers_are_unchanged_after_a_successful_noop_that_found_every_component_ready() {
        let names = |list: &[&str]| list.iter().map(|&name| name.to_owned()).collect();
        let ready = RunOutcome {
            completed: names(&["order", "postgres"]),
            unchanged: names(&["order", "postgres"]),
            ..RunOutcome::default()
        };
        let noop = plan(&[PlanAction::Keep]);
        assert!(noop.unchanged_containers(&ready).is_some());
        for changed in [
            RunOutcome {
                unchanged: names(&["postgres"]),
                ..ready.clone()
            },
            RunOutcome {
                timed_out: true,
                ..ready.clone()
            },
            RunOutcome {
                interrupted: true,
                ..ready.clone()
            },
        ] {
            assert!(noop.unchanged_containers(&changed).is_none(), "{changed:?}");
        }
        let start = plan(&[PlanAction::Start]);
        assert!(start.unchanged_containers(&ready).is_none());
    }
}
