//! Brings an instance to what it should be, by the plan and the graph.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dm_components::database::DatabaseError;
use dm_components::locks::Limits;
use dm_components::{Component, database};
use dm_core::error::Result;
use dm_engine::containers::Container;
use dm_engine::exec::ExecSpec;
use dm_engine::spec::ContainerSpec;
use dm_images::{How, SERVICES};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::event::{Node, NodeKind, NodeState, Unit};
use super::executor::{Emitter, Outcome, Task, TaskError, Work};
use super::failure;
use super::images::node as image_node;
use super::plan::{Action, Step, Wanted, plan};
use super::readiness::{self, NotReady, Pace};
use super::{Stack, StackError, executor, golden, recorded, select};

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

/// How long the engine may take to show a container whose name it has taken.
const APPEARANCE: Duration = Duration::from_secs(30);

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

/// A component with what its container should be and what is to be done about it.
#[derive(Debug, Clone)]
struct Item {
    component: Arc<dyn Component>,
    spec: ContainerSpec,
    action: Action,
    /// The image that is there already.
    image: Option<String>,
    /// The node that gets its image, where there is none.
    image_node: Option<String>,
}

/// Everything that a run would do, before it does anything.
#[derive(Debug)]
pub struct Plan {
    /// The steps, in the order of the components; removals last.
    pub steps: Vec<Step>,
    /// The images that have to be pulled or built first; those of services are
    /// built together, as [`SERVICES`].
    pub images: Vec<String>,
    items: Vec<Item>,
    /// Whether the database is to be set up.
    database: bool,
    removals: Vec<Container>,
}

impl Plan {
    /// True where nothing has to be done.
    #[must_use]
    pub fn is_noop(&self) -> bool {
        self.steps.iter().all(|step| step.action == Action::Keep)
    }
}

/// Compares the stack with what the engine has.
///
/// # Errors
/// Unknown names in `only`, unreadable fixtures, or a failing engine.
pub async fn prepare(stack: &Stack, request: &Request) -> Result<Plan> {
    let selected = select(&stack.components, &request.only)?;
    let site = stack.site();
    let mut specs = Vec::new();
    for component in &stack.components {
        if selected.contains(component.name()) {
            let spec = stack.specify(component.as_ref(), &site)?;
            specs.push((component.clone(), spec));
        }
    }
    let filter = stack.instance.filter();
    let actual = stack.engine.containers(&filter).await?;
    let wanted: Vec<Wanted> = specs
        .iter()
        .map(|(component, spec)| Wanted {
            component: component.name().to_owned(),
            digest: spec.digest(),
        })
        .collect();
    let mut steps = plan(&wanted, &actual, request.only.is_empty());
    let mut items: Vec<Item> = Vec::new();
    let mut missing = Vec::new();
    for ((component, spec), step) in specs.into_iter().zip(&steps) {
        let needs_image = matches!(step.action, Action::Create | Action::Recreate);
        let image = if needs_image {
            stack
                .images
                .local(component.image())
                .await?
                .map(|image| image.reference)
        } else {
            None
        };
        let needed = (needs_image && image.is_none()).then(|| {
            if stack.images.is_service(component.name()) {
                SERVICES.to_owned()
            } else {
                component.image().to_owned()
            }
        });
        if let Some(needed) = &needed
            && !missing.contains(needed)
        {
            missing.push(needed.clone());
        }
        items.push(Item {
            component,
            spec,
            action: step.action,
            image,
            image_node: needed.as_deref().map(image_node),
        });
    }
    let removals = actual
        .into_iter()
        .filter(|container| {
            steps
                .iter()
                .any(|step| step.action == Action::Remove && step.component == container.component)
        })
        .collect();
    if request.kept == Kept::Leave {
        items.retain(|item| item.action != Action::Keep);
        steps.retain(|step| step.action != Action::Keep);
    }
    Ok(Plan {
        steps,
        images: missing,
        database: selected.contains(dm_components::postgres::NAME),
        items,
        removals,
    })
}

/// Carries out a plan.
///
/// # Errors
/// Only what stops a run before its first node; what fails in a node is in the
/// outcome.
pub async fn execute(
    stack: &Arc<Stack>,
    plan: Plan,
    request: &Request,
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
    let goldens = match request.golden {
        GoldenUse::Begin => golden::find(stack).await?,
        GoldenUse::Ignore => BTreeMap::new(),
    };
    let goldens = Arc::new(goldens);
    let selected: BTreeSet<&str> = plan
        .items
        .iter()
        .map(|item| item.component.name())
        .collect();
    let (images_left, images_done) = watch::channel((plan.images.len(), Instant::now()));
    let images_left = Arc::new(images_left);

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
            goldens: goldens.clone(),
            time: Time {
                wait: request.wait,
                images_done: images_done.clone(),
            },
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
        let time = Time {
            wait: request.wait,
            images_done: images_done.clone(),
        };
        tasks.push(database_task(stack, after, time, emitter));
    }
    for container in plan.removals {
        tasks.push(super::down::ending_task(
            stack,
            container,
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

/// One component's part of a run.
struct ComponentRun {
    stack: Arc<Stack>,
    item: Item,
    emitter: Emitter,
    goldens: Arc<BTreeMap<String, golden::Golden>>,
    time: Time,
}

/// The time that a run has.
#[derive(Clone)]
struct Time {
    wait: Duration,
    /// How many images are still to come, and when the last one came.
    images_done: watch::Receiver<(usize, Instant)>,
}

impl Time {
    /// When all has to be ready. The run's time begins when the last image is there: a build
    /// takes as long as it takes.
    fn deadline(&self) -> Instant {
        let (left, at) = *self.images_done.borrow();
        let began = if left == 0 { at } else { Instant::now() };
        began + self.wait
    }
}

impl ComponentRun {
    /// Brings the component up. The stack goes on without one that it can do without.
    async fn run(self, cancel: CancellationToken) -> Result<NodeState, TaskError> {
        let (stack, emitter) = (self.stack.clone(), self.emitter.clone());
        let component = self.item.component.clone();
        let container = self.item.spec.name.clone();
        let brought = self.bring_up(cancel).await;
        let failure = match brought {
            Err(TaskError::Failed(failure) | TaskError::TimedOut(failure))
                if component.is_dispensable() =>
            {
                failure
            }
            brought => return brought,
        };
        let told = [&failure.what].into_iter().chain(failure.log.last());
        let told: Vec<&str> = told.map(String::as_str).collect();
        let why = format!("the stack goes on without it: {}", told.join(": "));
        emitter.note(Some(component.name()), why);
        // What is left of it would be taken for it.
        if let Err(error) = stack.engine.remove(&container).await {
            emitter.note(Some(component.name()), error.to_string());
        }
        Ok(NodeState::Gone)
    }

    async fn bring_up(mut self, cancel: CancellationToken) -> Result<NodeState, TaskError> {
        let component = self.item.component.clone();
        let name = component.name();
        if let Err(error) = self.settle().await {
            return Err(TaskError::Failed(Box::new(failure::of_error(
                name,
                error.coded(),
                self.emitter.at(),
            ))));
        }
        if self.item.action == Action::Keep && self.answers().await {
            return self.adjusted(true, &cancel).await;
        }
        // The deadline is also that of an engine or a server that answers late.
        let acted = tokio::select! {
            () = cancel.cancelled() => return Err(TaskError::Cancelled),
            acted = tokio::time::timeout_at(self.deadline(), self.act()) => acted,
        };
        match acted {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let failure =
                    failure::of_start(&self.stack, &self.item.spec, &error, self.emitter.at())
                        .await;
                return Err(TaskError::Failed(Box::new(failure)));
            }
            Err(_) => {
                let (spec, late) = (&self.item.spec, NotReady::TimedOut);
                let failure =
                    failure::of_component(&self.stack, spec, late, None, &self.emitter).await;
                return Err(TaskError::TimedOut(Box::new(failure)));
            }
        }
        let mut last = String::new();
        let mut ready = self.ready(&mut last, &cancel).await;
        if matches!(ready, Err(NotReady::Refused(_))) && self.admit().await {
            ready = self.ready(&mut last, &cancel).await;
        }
        let probe = (!last.is_empty()).then_some(last);
        match ready {
            Ok(()) => self.adjusted(false, &cancel).await,
            Err(NotReady::Cancelled) => Err(TaskError::Cancelled),
            Err(reason) => {
                let timed_out = matches!(reason, NotReady::TimedOut);
                let failure = Box::new(
                    failure::of_component(
                        &self.stack,
                        &self.item.spec,
                        reason,
                        probe,
                        &self.emitter,
                    )
                    .await,
                );
                Err(if timed_out {
                    TaskError::TimedOut(failure)
                } else {
                    TaskError::Failed(failure)
                })
            }
        }
    }

    /// Gives the component, which is ready, what can change while it runs.
    async fn adjusted(
        &self,
        kept: bool,
        cancel: &CancellationToken,
    ) -> Result<NodeState, TaskError> {
        if let Some(work) = self.item.component.adjustment(&self.stack.ports) {
            let done = tokio::select! {
                () = cancel.cancelled() => return Err(TaskError::Cancelled),
                done = work => done,
            };
            if let Err(error) = done {
                let name = self.item.component.name();
                let failure = failure::of_error(name, error.as_ref(), self.emitter.at());
                return Err(TaskError::Failed(Box::new(failure)));
            }
        }
        Ok(NodeState::Ready { kept })
    }

    /// Waits until it is ready. `last` gets what it answered last.
    async fn ready(&self, last: &mut String, cancel: &CancellationToken) -> Result<(), NotReady> {
        let name = self.item.component.name();
        readiness::wait(
            &self.stack.engine,
            &self.item.spec.name,
            || self.item.component.probe(&self.stack.ports),
            self.stack.pace,
            self.deadline(),
            cancel,
            |answer| {
                if answer != last {
                    last.clear();
                    last.push_str(answer);
                    let probe = Some(answer.to_owned());
                    self.emitter.node(name, NodeState::Starting { probe });
                }
            },
        )
        .await
    }

    /// Has a component take the password of the configuration, where it can be made to.
    async fn admit(&self) -> bool {
        let component = self.item.component.as_ref();
        let Some(admission) = component.admission() else {
            return false;
        };
        let spec = ExecSpec {
            command: admission.command,
            stdin: true,
            ..ExecSpec::default()
        };
        let container = &self.item.spec.name;
        let ran = async {
            let engine = &self.stack.engine;
            let mut running = engine.exec(container, &spec).await?;
            let mut input = running.take_input();
            // A command that ends early takes no more; its exit code says so.
            let _ = input.write_all(admission.input.as_bytes()).await;
            let _ = input.shutdown().await;
            drop(input);
            while running.next().await?.is_some() {}
            engine.exec_code(&running).await
        };
        let admitted = ran.await.is_ok_and(|code| code == 0);
        if admitted {
            let text = "it has the password of dm.toml now in place of the one of its first start";
            self.emitter.note(Some(component.name()), text);
        }
        admitted
    }

    /// Decides anew where the plan could not know what the image would be: a service
    /// whose sources changed may have the same binary as before.
    async fn settle(&mut self) -> Result<()> {
        let name = self.item.component.name();
        if self.item.image_node.is_none() || !self.stack.images.is_service(name) {
            return Ok(());
        }
        let site = self.stack.site();
        self.item.spec = self.stack.specify(self.item.component.as_ref(), &site)?;
        let wanted = Wanted {
            component: name.to_owned(),
            digest: self.item.spec.digest(),
        };
        let actual = self
            .stack
            .engine
            .containers(&self.stack.instance.filter())
            .await?;
        if let Some(step) = plan(&[wanted], &actual, false).pop() {
            self.item.action = step.action;
        }
        Ok(())
    }

    /// When the component has to be ready.
    fn deadline(&self) -> Instant {
        let run = self.time.deadline();
        match self.item.component.wait_timeout() {
            Some(own) => run.min(Instant::now() + own),
            None => run,
        }
    }

    async fn answers(&self) -> bool {
        let probe = self.item.component.probe(&self.stack.ports);
        matches!(
            tokio::time::timeout(self.stack.pace.probe, probe).await,
            Ok(Ok(()))
        )
    }

    async fn act(&self) -> Result<(), StackError> {
        let engine = &self.stack.engine;
        let (name, spec) = (self.item.component.name(), &self.item.spec);
        match self.item.action {
            Action::Keep | Action::Remove => {}
            Action::Resume => engine.unpause(&spec.name).await?,
            Action::Start => {
                self.item.component.prepare()?;
                engine.start(&spec.name).await?;
            }
            Action::Create | Action::Recreate => {
                if self.item.action == Action::Recreate {
                    self.emitter.node(name, NodeState::Stopping);
                    let grace = Duration::from_secs(u64::from(spec.stop_timeout));
                    engine.stop(&spec.name, grace).await?;
                    engine.remove(&spec.name).await?;
                }
                self.emitter.node(name, NodeState::Creating);
                let mut spec = spec.clone();
                spec.image = self.image().await?;
                let labels = self.stack.instance.labels();
                self.item.component.prepare()?;
                for mount in &spec.mounts {
                    engine.ensure_volume(&mount.volume, &labels).await?;
                }
                self.create(&spec, &labels).await?;
                let component = self.item.component.as_ref();
                recorded::fill(&self.stack, component, &spec.name, &self.emitter).await?;
                engine.start(&spec.name).await?;
            }
        }
        self.emitter.node(name, NodeState::Starting { probe: None });
        Ok(())
    }

    /// Makes the container, in place of one that appeared after the plan was
    /// made: the engine carries out what a killed run still asked of it.
    async fn create(
        &self,
        spec: &ContainerSpec,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), StackError> {
        let engine = &self.stack.engine;
        let until = Instant::now() + APPEARANCE;
        loop {
            let error = match engine.create(spec, labels).await {
                Ok(_) => return Ok(()),
                Err(error) if error.status() == Some(409) => error,
                Err(error) => return Err(error.into()),
            };
            let ours = engine.containers(&self.stack.instance.filter()).await?;
            if ours.iter().any(|container| container.name == spec.name) {
                engine.remove(&spec.name).await?;
            } else if engine.inspect(&spec.name).await?.is_some() || Instant::now() > until {
                // Somebody else's: its name is not ours to take.
                return Err(error.into());
            } else {
                // Its name is taken before it can be seen.
                tokio::time::sleep(self.stack.pace.poll).await;
            }
        }
    }

    /// The image to make the container from: the golden one where there is one.
    /// The engine fills a volume from it that is empty, as a killed run leaves
    /// it too, and never one that has data.
    async fn image(&self) -> Result<String, StackError> {
        let name = self.item.component.name();
        if let Some(golden) = self.goldens.get(name) {
            return Ok(golden.image.clone());
        }
        match &self.item.image {
            Some(image) => Ok(image.clone()),
            // Its image task has run by now.
            None => self
                .stack
                .images
                .local(self.item.component.image())
                .await?
                .map(|image| image.reference)
                .ok_or_else(|| StackError::ImageGone {
                    component: name.to_owned(),
                }),
        }
    }
}

/// The pace of probes by the configuration.
#[must_use]
pub fn pace(poll: Duration, probe: Duration) -> Pace {
    Pace { poll, probe }
}
