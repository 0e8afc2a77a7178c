//! One component's part of a run: its container made, started, and waited for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dm_components::Component;
use dm_core::error::Result;
use dm_engine::Refusal;
use dm_engine::containers::Container;
use dm_engine::exec::ExecSpec;
use dm_engine::spec::ContainerSpec;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::OnceCell;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::time::Time;
use crate::event::NodeState;
use crate::executor::{Emitter, TaskError};
use crate::golden::Golden;
use crate::plan::{Action, Wanted, plan};
use crate::readiness::{self, NotReady};
use crate::{Stack, StackError, failure, recorded};

/// How long the engine may take to show a container whose name it has taken.
const APPEARANCE: Duration = Duration::from_secs(30);

/// A component with what its container should be and what is to be done about it.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub component: Arc<dyn Component>,
    pub spec: ContainerSpec,
    pub action: Action,
    /// The image that is there already.
    pub image: Option<String>,
    /// The node that gets its image, where there is none.
    pub image_node: Option<String>,
}

/// What the components of a run share.
#[derive(Debug)]
pub(super) struct Shared {
    /// The golden images that new volumes begin with, by component.
    pub goldens: BTreeMap<String, Golden>,
    pub time: Time,
    /// The containers once the services are compiled, which takes minutes: asked for by the
    /// first service that needs them.
    pub containers: OnceCell<Vec<Container>>,
}

/// One component's part of a run.
#[derive(Debug)]
pub(super) struct ComponentRun {
    pub stack: Arc<Stack>,
    pub item: Item,
    pub emitter: Emitter,
    pub shared: Arc<Shared>,
}

impl ComponentRun {
    /// Brings the component up. The stack goes on without one that it can do without.
    pub(super) async fn run(self, cancel: CancellationToken) -> Result<NodeState, TaskError> {
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
        let why = format!("the stack continues without it: {}", told.join(": "));
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
            let failure = failure::of_error(name, error.coded(), self.emitter.at());
            return Err(TaskError::Failed(Box::new(failure)));
        }
        if self.item.action == Action::Keep {
            if self.answers().await {
                return self.adjusted(true, &cancel).await;
            }
            if let Err(error) = self.replan().await {
                let failure = failure::of_error(name, error.coded(), self.emitter.at());
                return Err(TaskError::Failed(Box::new(failure)));
            }
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
            let text = "the password of its first start was replaced by that of dm.toml";
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
        let containers = self
            .shared
            .containers
            .get_or_try_init(|| self.stack.containers())
            .await?;
        if let Some(step) = plan(&[wanted], containers, false).pop() {
            self.item.action = step.action;
        }
        Ok(())
    }

    /// Decides anew where a container that was to be kept does not answer: it may have ended
    /// since the plan was made.
    async fn replan(&mut self) -> Result<()> {
        let wanted = Wanted {
            component: self.item.component.name().to_owned(),
            digest: self.item.spec.digest(),
        };
        let containers = self.stack.containers().await?;
        let action = plan(&[wanted], &containers, false)
            .pop()
            .map(|it| it.action);
        if let Some(action @ (Action::Create | Action::Start | Action::Resume)) = action {
            self.item.action = action;
        }
        Ok(())
    }

    /// When the component has to be ready.
    fn deadline(&self) -> Instant {
        let run = self.shared.time.deadline();
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
                Err(error) => match error.refusal() {
                    Some(Refusal::NameTaken) => error,
                    Some(Refusal::ImageMissing) => {
                        return Err(StackError::ImageGone {
                            component: spec.component.clone(),
                            image: Some(spec.image.clone()),
                        });
                    }
                    _ => return Err(error.into()),
                },
            };
            let ours = self.stack.containers().await?;
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
        if let Some(golden) = self.shared.goldens.get(name) {
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
                    image: None,
                }),
        }
    }
}
