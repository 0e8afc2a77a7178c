//! Brings an instance to what it should be, by the plan and the graph.

mod component;
mod decision;
mod time;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dm_components::database;
use dm_components::database::DatabaseError;
use dm_components::locks::Limits;
use dm_core::error::Result;
use dm_engine::containers::Container;
use dm_images::{How, SERVICES};
use tokio::sync::{OnceCell, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::component::{ComponentRun, Item, Shared};
use self::decision::{Wish, decide};
use self::time::Time;
use super::event::{Node, NodeKind, NodeState, Unit};
use super::executor::{Emitter, Outcome, Task, TaskError, Work};
use super::failure;
use super::golden::{self, Golden};
use super::images::node as image_node;
use super::local::LocalImages;
use super::plan::{Action, Step, Wanted, plan};
use super::{Stack, executor, select};

/// What golden images are to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoldenUse {
    /// New volumes begin with them.
    Begin,
    /// They are left alone.
    Ignore,
}

/// What components that are as they should be are to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// They are part of it: each has to answer.
    Ask,
    /// They are left out: a run in the midst of work is about what changed.
    Leave,
}

/// What is asked of a run.
#[derive(Debug, Clone)]
pub struct Request {
    /// Only these components and what they need; all where empty.
    pub only: Vec<String>,
    /// The time the components have to become ready, once the images are there.
    pub wait: Duration,
    /// What golden images are to it.
    pub golden: GoldenUse,
    /// What components are to it that are as they should be.
    pub kept: Kept,
}

/// Everything that a run would do, before it does anything, with what it was decided from:
/// nothing of it is asked for again.
#[derive(Debug)]
pub struct Plan {
    /// The steps, in the order of the components; removals last.
    pub steps: Vec<Step>,
    /// The images that have to be pulled or built first; those of services are
    /// built together, as [`SERVICES`].
    pub images: Vec<String>,
    /// The golden images that new volumes begin with, by component: all of the set or none.
    pub goldens: BTreeMap<String, Golden>,
    request: Request,
    /// The instance's containers as they were found.
    containers: Vec<Container>,
    items: Vec<Item>,
    /// Whether the database is to be set up.
    database: bool,
    removals: Vec<Container>,
}

impl Plan {
    /// True where nothing has to be done.
    #[must_use]
    pub(crate) fn is_noop(&self) -> bool {
        self.steps.iter().all(|step| step.action == Action::Keep)
    }

    /// The instance's containers, where a run with this outcome has left them as they were
    /// found.
    #[must_use]
    pub fn unchanged(&self, outcome: &Outcome) -> Option<&[Container]> {
        let is_unchanged = self.is_noop() && outcome.ok() && outcome.kept == outcome.done;
        is_unchanged.then_some(self.containers.as_slice())
    }
}

/// Compares the stack with what the engine has. `containers` are the instance's, as they are
/// now.
///
/// # Errors
/// Unknown names in `only`, unreadable fixtures, or a failing engine.
pub async fn prepare(stack: &Stack, request: Request, containers: Vec<Container>) -> Result<Plan> {
    let selected = select(&stack.components, &request.only)?;
    let site = stack.site();
    let mut specs = BTreeMap::new();
    let mut wanted = Vec::new();
    let chosen = stack.components.iter();
    for component in chosen.filter(|it| selected.contains(it.name())) {
        let spec = stack.specify(component.as_ref(), &site)?;
        wanted.push(Wanted {
            component: component.name().to_owned(),
            digest: spec.digest(),
        });
        specs.insert(component.name().to_owned(), (component.clone(), spec));
    }
    let steps = plan(&wanted, &containers, request.only.is_empty());
    let mut local = LocalImages::new(&stack.images);
    let mut wishes = Vec::new();
    for step in &steps {
        let Some((component, _)) = specs.get(&step.component) else {
            continue;
        };
        wishes.push(Wish {
            component: step.component.clone(),
            image: component.image().to_owned(),
            is_service: stack.images.is_service(component.name()),
            local: if step.action.needs_image() {
                local.reference(component.image()).await?
            } else {
                None
            },
        });
    }
    let goldens = match request.golden {
        GoldenUse::Begin => golden::find_among(stack, &mut local).await?,
        GoldenUse::Ignore => BTreeMap::new(),
    };
    let decision = decide(steps, wishes, &containers, request.kept);
    let mut items = Vec::new();
    for part in decision.parts {
        if let Some((component, spec)) = specs.remove(&part.component) {
            items.push(Item {
                component,
                spec,
                action: part.action,
                image: part.image,
                image_node: part.image_node,
            });
        }
    }
    Ok(Plan {
        steps: decision.steps,
        images: decision.images,
        goldens,
        request,
        containers,
        items,
        database: selected.contains(dm_components::postgres::NAME),
        removals: decision.removals,
    })
}

/// Carries out a plan.
///
/// # Errors
/// Only what stops a run before its first node; what fails in a node is in the
/// outcome.
pub async fn execute(
    stack: &Arc<Stack>,
    plan: &Plan,
    emitter: &Emitter,
    interrupt: &CancellationToken,
) -> Result<Outcome> {
    let labels = stack.instance.labels();
    if !plan.is_noop() {
        stack
            .engine
            .ensure_network(&stack.instance.network(), &labels)
            .await?;
    }
    let selected: BTreeSet<&str> = plan
        .items
        .iter()
        .map(|item| item.component.name())
        .collect();
    let (images_left, images_done) = watch::channel((plan.images.len(), Instant::now()));
    let images_left = Arc::new(images_left);
    let shared = Arc::new(Shared {
        goldens: plan.goldens.clone(),
        time: Time {
            wait: plan.request.wait,
            images_done,
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
    for item in &plan.items {
        let after = item
            .component
            .after()
            .iter()
            .map(|&name| name.to_owned())
            .filter(|name| {
                selected.contains(name.as_str()) || (plan.database && name == database::NAME)
            })
            .chain(item.image_node.clone())
            .collect();
        let run = ComponentRun {
            stack: stack.clone(),
            item: item.clone(),
            emitter: emitter.clone(),
            shared: shared.clone(),
        };
        tasks.push(Task {
            node: Node {
                name: item.component.name().to_owned(),
                kind: NodeKind::Service,
                after,
            },
            work: Box::new(move |cancel| Box::pin(run.run(cancel)) as Work),
        });
    }
    if plan.database {
        let after = selected
            .get(dm_components::postgres::NAME)
            .map(|&name| name.to_owned());
        tasks.push(database_task(stack, after, shared.time.clone(), emitter));
    }
    for container in &plan.removals {
        tasks.push(super::down::ending_task(
            stack,
            container.clone(),
            super::down::Ending::Removed,
            Vec::new(),
            emitter,
        ));
    }
    let nodes = tasks.iter().map(|task| task.node.clone()).collect();
    emitter.announce(&stack.instance.name, nodes);
    Ok(executor::run(tasks, emitter, interrupt).await?)
}

/// The task that gets an image, or those of all services, and then calls `ended`.
pub(super) fn image_task(
    stack: &Arc<Stack>,
    component: &str,
    emitter: &Emitter,
    ended: impl FnOnce() + Send + 'static,
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
                if component == SERVICES {
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
            ended();
            match acquired {
                Ok(acquired) => {
                    let mut kept = true;
                    for image in acquired.iter().filter(|image| image.how != How::Local) {
                        kept = false;
                        emitter.note(Some(&name), image.to_string());
                    }
                    Ok(NodeState::Ready { kept })
                }
                Err(_) if cancel.is_cancelled() => Err(TaskError::Cancelled),
                Err(error) => Err(TaskError::Failed(Box::new(failure::of_error(
                    &name,
                    &error,
                    emitter.at(),
                )))),
            }
        }) as Work
    };
    Task {
        node,
        work: Box::new(work),
    }
}

fn database_task(stack: &Arc<Stack>, after: Option<String>, time: Time, emitter: &Emitter) -> Task {
    let node = Node {
        name: database::NAME.to_owned(),
        kind: NodeKind::Job,
        after: Vec::from_iter(after),
    };
    let (stack, emitter) = (stack.clone(), emitter.clone());
    let work = move |cancel: CancellationToken| {
        Box::pin(async move {
            emitter.node(
                database::NAME,
                NodeState::Working {
                    doing: "checking".into(),
                    detail: Some("roles, schemas, migrations".into()),
                    current: None,
                    total: None,
                    unit: Unit::Steps,
                },
            );
            let limits = Limits {
                lock: stack.lock_patience,
                until: Some(time.deadline()),
                interrupt: cancel,
            };
            stack
                .database
                .apply(&stack.ports, &limits)
                .await
                .map(|kept| NodeState::Ready { kept })
                .map_err(|error| {
                    let failure = failure::of_error(database::NAME, &error, emitter.at());
                    match error {
                        DatabaseError::Interrupted => TaskError::Cancelled,
                        DatabaseError::Late(_) => TaskError::TimedOut(Box::new(failure)),
                        _ => TaskError::Failed(Box::new(failure)),
                    }
                })
        }) as Work
    };
    Task {
        node,
        work: Box::new(work),
    }
}
