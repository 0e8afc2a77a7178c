//! One component's part of a run: its container made, started, and waited for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dm_components::Component;
use dm_core::error::Result;
use dm_engine::EngineRefusal;
use dm_engine::containers::Container;
use dm_engine::exec::ExecSpec;
use dm_engine::spec::ContainerSpec;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::OnceCell;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::deadline::RunDeadline;
use crate::event::NodeState;
use crate::executor::{EventEmitter, TaskError};
use crate::golden::GoldenImage;
use crate::plan::{DesiredComponent, PlanAction, compute_plan};
use crate::readiness::{self, NotReady};
use crate::{Stack, StackError, failure, prebuilt_schema};

/// How long the engine may take to show a container whose name it has taken.
const NAME_CONFLICT_TIMEOUT: Duration = Duration::from_secs(30);

/// A component with what its container should be and what is to be done about it.
#[derive(Debug, Clone)]
pub(super) struct PlannedComponent {
    pub component: Arc<dyn Component>,
    pub spec: ContainerSpec,
    pub action: PlanAction,
    /// The image that is there already.
    pub image: Option<String>,
    /// The node that gets its image, where there is none.
    pub image_node: Option<String>,
}

/// What the components of a run share.
#[derive(Debug)]
pub(super) struct SharedRunState {
    /// The golden images that new volumes begin with, by component.
    pub golden_images: BTreeMap<String, GoldenImage>,
    pub deadline: RunDeadline,
    /// The containers once the services are compiled, which takes minutes: asked for by the
    /// first service that needs them.
    pub containers: OnceCell<Vec<Container>>,
}

/// One component's part of a run.
#[derive(Debug)]
pub(super) struct ComponentRun {
    pub stack: Arc<Stack>,
    pub planned: PlannedComponent,
    pub emitter: EventEmitter,
    pub shared: Arc<SharedRunState>,
}

impl ComponentRun {
    /// Brings the component up. The stack goes on without one that it can do without.
    pub(super) async fn run(self, cancel: CancellationToken) -> Result<NodeState, TaskError> {
        let (stack, emitter) = (self.stack.clone(), self.emitter.clone());
        let component = self.planned.component.clone();
        let container = self.planned.spec.name.clone();
        let brought = self.bring_up(cancel).await;
        let failure = match brought {
            Err(TaskError::Failed(failure) | TaskError::TimedOut(failure))
                if component.is_optional() =>
            {
                failure
            }
            brought => return brought,
        };
        let told = [&failure.what].into_iter().chain(failure.log.last());
        let told: Vec<&str> = told.map(String::as_str).collect();
        let why = format!("the stack continues without it: {}", told.join(": "));
        emitter.emit_note(Some(component.name()), why);
        // What is left of it would be taken for it.
        if let Err(error) = stack.engine.remove_container(&container).await {
            emitter.emit_note(Some(component.name()), error.to_string());
        }
        Ok(NodeState::Gone)
    }

    async fn bring_up(mut self, cancel: CancellationToken) -> Result<NodeState, TaskError> {
        let component = self.planned.component.clone();
        let name = component.name();
        if let Err(error) = self.replan_after_build().await {
            let failure = failure::from_error(name, error.user_error(), self.emitter.elapsed());
            return Err(TaskError::Failed(Box::new(failure)));
        }
        if self.planned.action == PlanAction::Keep {
            if self.is_responding().await {
                return self.apply_adjustment(true, &cancel).await;
            }
            if let Err(error) = self.replan_unresponsive().await {
                let failure = failure::from_error(name, error.user_error(), self.emitter.elapsed());
                return Err(TaskError::Failed(Box::new(failure)));
            }
        }
        // The deadline is also that of an engine or a server that answers late.
        let acted = tokio::select! {
            () = cancel.cancelled() => return Err(TaskError::Cancelled),
            acted = tokio::time::timeout_at(self.deadline(), self.apply_action()) => acted,
        };
        match acted {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let failure = failure::from_start_error(
                    &self.stack,
                    &self.planned.spec,
                    &error,
                    self.emitter.elapsed(),
                )
                .await;
                return Err(TaskError::Failed(Box::new(failure)));
            }
            Err(_) => {
                let (spec, late) = (&self.planned.spec, NotReady::TimedOut);
                let failure =
                    failure::from_not_ready(&self.stack, spec, late, None, &self.emitter).await;
                return Err(TaskError::TimedOut(Box::new(failure)));
            }
        }
        let mut last = String::new();
        let mut ready = self.wait_until_ready(&mut last, &cancel).await;
        if matches!(ready, Err(NotReady::Refused(_))) && self.apply_configured_password().await {
            ready = self.wait_until_ready(&mut last, &cancel).await;
        }
        let probe = (!last.is_empty()).then_some(last);
        match ready {
            Ok(()) => self.apply_adjustment(false, &cancel).await,
            Err(NotReady::Cancelled) => Err(TaskError::Cancelled),
            Err(reason) => {
                let timed_out = matches!(reason, NotReady::TimedOut);
                let failure = Box::new(
                    failure::from_not_ready(
                        &self.stack,
                        &self.planned.spec,
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
    async fn apply_adjustment(
        &self,
        kept: bool,
        cancel: &CancellationToken,
    ) -> Result<NodeState, TaskError> {
        if let Some(work) = self.planned.component.reconfigure(&self.stack.ports) {
            let done = tokio::select! {
                () = cancel.cancelled() => return Err(TaskError::Cancelled),
                done = work => done,
            };
            if let Err(error) = done {
                let name = self.planned.component.name();
                let failure = failure::from_error(name, error.as_ref(), self.emitter.elapsed());
                return Err(TaskError::Failed(Box::new(failure)));
            }
        }
        Ok(NodeState::Ready { kept })
    }

    /// Waits until it is ready. `last` gets what it answered last.
    async fn wait_until_ready(
        &self,
        last: &mut String,
        cancel: &CancellationToken,
    ) -> Result<(), NotReady> {
        let name = self.planned.component.name();
        readiness::wait_until_ready(
            &self.stack.engine,
            &self.planned.spec.name,
            || self.planned.component.probe(&self.stack.ports),
            self.stack.probe_timing,
            self.deadline(),
            cancel,
            |answer| {
                if answer != last {
                    last.clear();
                    last.push_str(answer);
                    let probe = Some(answer.to_owned());
                    self.emitter.emit_state(name, NodeState::Starting { probe });
                }
            },
        )
        .await
    }

    /// Has a component take the password of the configuration, where it can be made to.
    async fn apply_configured_password(&self) -> bool {
        let component = self.planned.component.as_ref();
        let Some(admission) = component.password_reset() else {
            return false;
        };
        let spec = ExecSpec {
            command: admission.command,
            stdin: true,
            ..ExecSpec::default()
        };
        let container = &self.planned.spec.name;
        let ran = async {
            let engine = &self.stack.engine;
            let mut running = engine.exec(container, &spec).await?;
            let mut input = running.take_stdin();
            // A command that ends early takes no more; its exit code says so.
            let _ = input.write_all(admission.stdin.as_bytes()).await;
            let _ = input.shutdown().await;
            drop(input);
            while running.next_chunk().await?.is_some() {}
            engine.exec_exit_code(&running).await
        };
        let admitted = ran.await.is_ok_and(|code| code == 0);
        if admitted {
            let text = "the password of its first start was replaced by that of dm.toml";
            self.emitter.emit_note(Some(component.name()), text);
        }
        admitted
    }

    /// Decides anew where the plan could not know what the image would be: a service
    /// whose sources changed may have the same binary as before.
    async fn replan_after_build(&mut self) -> Result<()> {
        let name = self.planned.component.name();
        if self.planned.image_node.is_none() || !self.stack.images.is_service(name) {
            return Ok(());
        }
        let site = self.stack.instance_layout();
        self.planned.spec = self
            .stack
            .container_spec(self.planned.component.as_ref(), &site)?;
        let wanted = DesiredComponent {
            component: name.to_owned(),
            digest: self.planned.spec.digest(),
        };
        let containers = self
            .shared
            .containers
            .get_or_try_init(|| self.stack.list_containers())
            .await?;
        if let Some(step) = compute_plan(&[wanted], containers, false).pop() {
            self.planned.action = step.action;
        }
        Ok(())
    }

    /// Decides anew where a container that was to be kept does not answer: it may have ended
    /// since the plan was made.
    async fn replan_unresponsive(&mut self) -> Result<()> {
        let wanted = DesiredComponent {
            component: self.planned.component.name().to_owned(),
            digest: self.planned.spec.digest(),
        };
        let containers = self.stack.list_containers().await?;
        let action = compute_plan(&[wanted], &containers, false)
            .pop()
            .map(|it| it.action);
        if let Some(action @ (PlanAction::Create | PlanAction::Start | PlanAction::Resume)) = action
        {
            self.planned.action = action;
        }
        Ok(())
    }

    /// When the component has to be ready.
    fn deadline(&self) -> Instant {
        let run = self.shared.deadline.instant();
        match self.planned.component.wait_timeout() {
            Some(own) => run.min(Instant::now() + own),
            None => run,
        }
    }

    async fn is_responding(&self) -> bool {
        let probe = self.planned.component.probe(&self.stack.ports);
        matches!(
            tokio::time::timeout(self.stack.probe_timing.timeout, probe).await,
            Ok(Ok(()))
        )
    }

    async fn apply_action(&self) -> Result<(), StackError> {
        let engine = &self.stack.engine;
        let (name, spec) = (self.planned.component.name(), &self.planned.spec);
        match self.planned.action {
            PlanAction::Keep | PlanAction::Remove => {}
            PlanAction::Resume => engine.unpause_container(&spec.name).await?,
            PlanAction::Start => {
                self.planned.component.prepare_host_paths()?;
                engine.start_container(&spec.name).await?;
            }
            PlanAction::Create | PlanAction::Recreate => {
                if self.planned.action == PlanAction::Recreate {
                    self.emitter.emit_state(name, NodeState::Stopping);
                    let grace = Duration::from_secs(u64::from(spec.stop_timeout));
                    engine.stop_container(&spec.name, grace).await?;
                    engine.remove_container(&spec.name).await?;
                }
                self.emitter.emit_state(name, NodeState::Creating);
                let mut spec = spec.clone();
                spec.image = self.resolve_image().await?;
                let labels = self.stack.instance.labels();
                self.planned.component.prepare_host_paths()?;
                for mount in &spec.mounts {
                    engine.ensure_volume(&mount.volume, &labels).await?;
                }
                self.create_container(&spec, &labels).await?;
                let component = self.planned.component.as_ref();
                prebuilt_schema::fill_schema(&self.stack, component, &spec.name, &self.emitter)
                    .await?;
                engine.start_container(&spec.name).await?;
            }
        }
        self.emitter
            .emit_state(name, NodeState::Starting { probe: None });
        Ok(())
    }

    /// Makes the container, in place of one that appeared after the plan was
    /// made: the engine carries out what a killed run still asked of it.
    async fn create_container(
        &self,
        spec: &ContainerSpec,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), StackError> {
        let engine = &self.stack.engine;
        let until = Instant::now() + NAME_CONFLICT_TIMEOUT;
        loop {
            let error = match engine.create_container(spec, labels).await {
                Ok(_) => return Ok(()),
                Err(error) => match error.refusal() {
                    Some(EngineRefusal::NameTaken) => error,
                    Some(EngineRefusal::ImageMissing) => {
                        return Err(StackError::ImageRemoved {
                            component: spec.component.clone(),
                            image: Some(spec.image.clone()),
                        });
                    }
                    _ => return Err(error.into()),
                },
            };
            let ours = self.stack.list_containers().await?;
            if ours.iter().any(|container| container.name == spec.name) {
                engine.remove_container(&spec.name).await?;
            } else if engine.inspect_container(&spec.name).await?.is_some()
                || Instant::now() > until
            {
                // Somebody else's: its name is not ours to take.
                return Err(error.into());
            } else {
                // Its name is taken before it can be seen.
                tokio::time::sleep(self.stack.probe_timing.interval).await;
            }
        }
    }

    /// The image to make the container from: the golden one where there is one.
    /// The engine fills a volume from it that is empty, as a killed run leaves
    /// it too, and never one that has data.
    async fn resolve_image(&self) -> Result<String, StackError> {
        let name = self.planned.component.name();
        if let Some(golden) = self.shared.golden_images.get(name) {
            return Ok(golden.image.clone());
        }
        match &self.planned.image {
            Some(image) => Ok(image.clone()),
            // Its image task has run by now.
            None => self
                .stack
                .images
                .find_local(self.planned.component.image_name())
                .await?
                .map(|image| image.reference)
                .ok_or_else(|| StackError::ImageRemoved {
                    component: name.to_owned(),
                    image: None,
                }),
        }
    }
}
