//! Brings an instance to what it should be, by the plan and the graph.

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

/// What golden images are to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoldenPolicy {
    /// New volumes begin with them.
    Use,
    /// They are left alone.
    Ignore,
}

/// What components that are as they should be are to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnchangedComponents {
    /// They are part of it: each has to answer.
    Probe,
    /// They are left out: a run in the midst of work is about what changed.
    Skip,
}

/// What is asked of a run.
#[derive(Debug, Clone)]
pub struct UpPlanRequest {
    /// Only these components and what they need; all where empty.
    pub only: Vec<String>,
    /// The time the components have to become ready, once the images are there.
    pub wait_timeout: Duration,
    /// What golden images are to it.
    pub golden_policy: GoldenPolicy,
    /// What components are to it that are as they should be.
    pub unchanged: UnchangedComponents,
}

/// Everything that a run would do, before it does anything, with what it was decided from:
/// nothing of it is asked for again.
#[derive(Debug)]
pub struct UpPlan {
    /// The steps, in the order of the components; removals last.
    pub steps: Vec<PlanStep>,
    /// The images that have to be pulled or built first; those of services are
    /// built together, as [`SERVICES`].
    pub images: Vec<String>,
    /// The golden images that new volumes begin with, by component: all of the set or none.
    pub golden_images: BTreeMap<String, GoldenImage>,
    request: UpPlanRequest,
    /// The instance's containers as they were found.
    containers: Vec<Container>,
    components: Vec<PlannedComponent>,
    /// Whether the database is to be set up.
    prepares_database: bool,
    removals: Vec<Container>,
}

impl UpPlan {
    /// True where nothing has to be done.
    #[must_use]
    pub(crate) fn is_noop(&self) -> bool {
        self.steps
            .iter()
            .all(|step| step.action == PlanAction::Keep)
    }

    /// The instance's containers, where a run with this outcome has left them as they were
    /// found.
    #[must_use]
    pub fn unchanged_containers(&self, outcome: &RunOutcome) -> Option<&[Container]> {
        let is_unchanged =
            self.is_noop() && outcome.is_success() && outcome.unchanged == outcome.completed;
        is_unchanged.then_some(self.containers.as_slice())
    }
}

/// Compares the stack with what the engine has. `containers` are the instance's, as they are
/// now.
///
/// # Errors
/// Unknown names in `only`, unreadable fixtures, or a failing engine.
pub async fn prepare_plan(
    stack: &Stack,
    request: UpPlanRequest,
    containers: Vec<Container>,
) -> Result<UpPlan> {
    let selected = select_with_dependencies(&stack.components, &request.only)?;
    let site = stack.instance_layout();
    let mut specs = BTreeMap::new();
    let mut wanted = Vec::new();
    let chosen = stack.components.iter();
    for component in chosen.filter(|it| selected.contains(it.name())) {
        let spec = stack.container_spec(component.as_ref(), &site)?;
        wanted.push(DesiredComponent {
            component: component.name().to_owned(),
            digest: spec.digest(),
        });
        specs.insert(component.name().to_owned(), (component.clone(), spec));
    }
    let steps = compute_plan(&wanted, &containers, request.only.is_empty());
    let mut local = LocalImages::new(&stack.images);
    let mut wishes = Vec::new();
    for step in &steps {
        let Some((component, _)) = specs.get(&step.component) else {
            continue;
        };
        wishes.push(ComponentImage {
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
    let goldens = match request.golden_policy {
        GoldenPolicy::Use => golden::find_golden_images_with(stack, &mut local).await?,
        GoldenPolicy::Ignore => BTreeMap::new(),
    };
    let decision = decide_up(steps, wishes, &containers, request.unchanged);
    let mut items = Vec::new();
    for part in decision.components {
        if let Some((component, spec)) = specs.remove(&part.component) {
            items.push(PlannedComponent {
                component,
                spec,
                action: part.action,
                image: part.image,
                image_node: part.image_node,
            });
        }
    }
    Ok(UpPlan {
        steps: decision.steps,
        images: decision.images,
        golden_images: goldens,
        request,
        containers,
        components: items,
        prepares_database: selected.contains(dm_components::postgres::NAME),
        removals: decision.removals,
    })
}

/// Carries out a plan.
///
/// # Errors
/// Only what stops a run before its first node; what fails in a node is in the
/// outcome.
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
        .map(|item| item.component.name())
        .collect();
    let (images_left, images_done) = watch::channel((plan.images.len(), Instant::now()));
    let images_left = Arc::new(images_left);
    let shared = Arc::new(SharedRunState {
        golden_images: plan.golden_images.clone(),
        deadline: RunDeadline {
            wait_timeout: plan.request.wait_timeout,
            pending_images: images_done,
        },
        containers: OnceCell::new(),
    });

    let mut tasks = Vec::new();
    for name in &plan.images {
        let images_left = images_left.clone();
        tasks.push(image_task(stack, name, emitter, move || {
            images_left.send_modify(|(left, at)| {
                *left = left.saturating_sub(1);
                *at = Instant::now();
            });
        }));
    }
    for item in &plan.components {
        let after = item
            .component
            .start_dependencies()
            .iter()
            .map(|&name| name.to_owned())
            .filter(|name| {
                selected.contains(name.as_str())
                    || (plan.prepares_database && name == database_setup::NAME)
            })
            .chain(item.image_node.clone())
            .collect();
        let run = ComponentRun {
            stack: stack.clone(),
            planned: item.clone(),
            emitter: emitter.clone(),
            shared: shared.clone(),
        };
        tasks.push(Task {
            node: Node {
                name: item.component.name().to_owned(),
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

/// The task that gets an image, or those of all services, and then calls `ended`.
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
                    // It has to tidy up: a build must not go on unattended.
                    stack.images_cancel.cancel();
                    acquire.await
                }
            };
            on_end();
            match acquired {
                Ok(acquired) => {
                    let mut kept = true;
                    for image in acquired
                        .iter()
                        .filter(|image| image.how != ImageOrigin::Local)
                    {
                        kept = false;
                        emitter.emit_note(Some(&name), image.to_string());
                    }
                    Ok(NodeState::Ready { kept })
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
    time: RunDeadline,
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
                    doing: "checking".into(),
                    detail: Some("roles, schemas, migrations".into()),
                    current: None,
                    total: None,
                    unit: ProgressUnit::Steps,
                },
            );
            let limits = WorkLimits {
                lock_timeout: stack.lock_timeout,
                deadline: Some(time.instant()),
                interrupt: cancel,
            };
            stack
                .database
                .apply(&stack.ports, &limits)
                .await
                .map(|kept| NodeState::Ready { kept })
                .map_err(|error| {
                    let failure =
                        failure::from_error(database_setup::NAME, &error, emitter.elapsed());
                    match error {
                        DatabaseError::Interrupted => TaskError::Cancelled,
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
