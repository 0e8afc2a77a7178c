//! The run of one component: creates and starts its container and waits until it is ready.

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
/// The interval between attempts to create a container whose name is reserved.
const NAME_CONFLICT_INTERVAL: Duration = Duration::from_millis(100);

/// A component with its desired container and the planned action.
#[derive(Debug, Clone)]
pub(super) struct PlannedComponent {
    pub component: Arc<dyn Component>,
    pub spec: ContainerSpec,
    pub action: PlanAction,
    /// The local image, if it exists.
    pub image: Option<String>,
    /// The node that acquires its image, if it does not exist.
    pub image_node: Option<String>,
}

/// The state that the components of a run share.
#[derive(Debug)]
pub(super) struct SharedRunState {
    /// The golden images from which new volumes are filled, by component.
    pub golden_images: BTreeMap<String, GoldenImage>,
    pub deadline: RunDeadline,
    /// The containers after the services were compiled, which takes minutes. The first service
    /// that needs them lists them.
    pub containers: OnceCell<Vec<Container>>,
}

/// The run of one component.
#[derive(Debug)]
pub(super) struct ComponentRun {
    pub stack: Arc<Stack>,
    pub planned: PlannedComponent,
    pub emitter: EventEmitter,
    pub shared: Arc<SharedRunState>,
}

impl ComponentRun {
    /// Brings the component up. The stack continues without an optional component.
    pub(super) async fn run(self, cancel: CancellationToken) -> Result<NodeState, TaskError> {
        let (stack, emitter) = (self.stack.clone(), self.emitter.clone());
        let component = self.planned.component.clone();
        let container = self.planned.spec.name.clone();
        let result = self.bring_up(cancel).await;
        let failure = match result {
            Err(TaskError::Failed(failure) | TaskError::TimedOut(failure))
                if component.is_optional() =>
            {
                failure
            }
            result => return result,
        };
        let details = [&failure.message].into_iter().chain(failure.log.last());
        let details: Vec<&str> = details.map(String::as_str).collect();
        let note = format!("the stack continues without it: {}", details.join(": "));
        emitter.emit_note(Some(component.name()), note);
        // A leftover container would be taken for the component.
        if let Err(error) = stack.engine.remove_container(&container).await {
            emitter.emit_note(Some(component.name()), error.to_string());
        }
        Ok(NodeState::Removed)
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
            self.replan_unresponsive().await?;
        }
        let mut last_answer = String::new();
        let mut ready = self.start_and_wait(&mut last_answer, &cancel).await?;
        if matches!(ready, Err(NotReady::Exited(_))) && self.planned.action == PlanAction::Keep {
            // It ran when the plan was made. Perhaps the engine has completed the stop of a killed run.
            self.replan_unresponsive().await?;
            ready = self.start_and_wait(&mut last_answer, &cancel).await?;
        }
        if matches!(ready, Err(NotReady::Misconfigured(_)))
            && self.apply_configured_password().await
        {
            ready = self.wait_until_ready(&mut last_answer, &cancel).await;
        }
        let probe = (!last_answer.is_empty()).then_some(last_answer);
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

    /// Applies the planned action and waits until the component is ready.
    async fn start_and_wait(
        &self,
        last_answer: &mut String,
        cancel: &CancellationToken,
    ) -> Result<Result<(), NotReady>, TaskError> {
        // The deadline also limits an engine or a server that responds late.
        let applied = tokio::select! {
            () = cancel.cancelled() => return Err(TaskError::Cancelled),
            applied = tokio::time::timeout_at(self.deadline(), self.apply_action()) => applied,
        };
        match applied {
            Ok(Ok(())) => Ok(self.wait_until_ready(last_answer, cancel).await),
            Ok(Err(error)) => {
                let failure = failure::from_start_error(
                    &self.stack,
                    &self.planned.spec,
                    &error,
                    self.emitter.elapsed(),
                )
                .await;
                Err(TaskError::Failed(Box::new(failure)))
            }
            Err(_) => Err(self.timed_out().await),
        }
    }

    /// Returns the failure of a component at its deadline.
    async fn timed_out(&self) -> TaskError {
        let (spec, reason) = (&self.planned.spec, NotReady::TimedOut);
        let failure = failure::from_not_ready(&self.stack, spec, reason, None, &self.emitter).await;
        TaskError::TimedOut(Box::new(failure))
    }

    /// Does the work that follows when the component has become ready.
    async fn apply_adjustment(
        &self,
        unchanged: bool,
        cancel: &CancellationToken,
    ) -> Result<NodeState, TaskError> {
        let Some(work) = self.planned.component.reconfigure(&self.stack.ports) else {
            return Ok(NodeState::Ready { unchanged });
        };
        let name = self.planned.component.name();
        let result = tokio::select! {
            () = cancel.cancelled() => return Err(TaskError::Cancelled),
            () = self.shared.deadline.passed() => return Err(self.timed_out().await),
            result = work => result,
        };
        match result {
            Ok(note) => {
                if let Some(note) = note {
                    self.emitter.emit_note(Some(name), note);
                }
                Ok(NodeState::Ready { unchanged })
            }
            Err(error) => {
                let failure = failure::from_error(name, error.as_ref(), self.emitter.elapsed());
                Err(TaskError::Failed(Box::new(failure)))
            }
        }
    }

    /// Waits until the component is ready. `last_answer` receives the result of its last probe.
    async fn wait_until_ready(
        &self,
        last_answer: &mut String,
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
                if answer != last_answer {
                    last_answer.clear();
                    last_answer.push_str(answer);
                    let probe = Some(answer.to_owned());
                    self.emitter.emit_state(name, NodeState::Starting { probe });
                }
            },
        )
        .await
    }

    /// Sets the component's password to the configured one, if the component supports this.
    async fn apply_configured_password(&self) -> bool {
        let component = self.planned.component.as_ref();
        let Some(reset) = component.password_reset() else {
            return false;
        };
        let spec = ExecSpec {
            command: reset.command,
            stdin: true,
            ..ExecSpec::default()
        };
        let container = &self.planned.spec.name;
        let exit_code = async {
            let engine = &self.stack.engine;
            let mut running = engine.exec(container, &spec).await?;
            let mut input = running.take_stdin();
            // A command that exits early reads no more input; its exit code shows that.
            let _ = input.write_all(reset.stdin.as_bytes()).await;
            let _ = input.shutdown().await;
            drop(input);
            while running.next_chunk().await?.is_some() {}
            engine.exec_exit_code(&running).await
        };
        let is_reset = exit_code.await.is_ok_and(|code| code == 0);
        if is_reset {
            let text = "the stored password was replaced by the one from dm.toml";
            self.emitter.emit_note(Some(component.name()), text);
        }
        is_reset
    }

    /// Plans the component again if its image was not known before: a service whose
    /// sources have changed may have the same binary as before.
    async fn replan_after_build(&mut self) -> Result<()> {
        let name = self.planned.component.name();
        if self.planned.image_node.is_none() || !self.stack.images.is_service(name) {
            return Ok(());
        }
        let layout = self.stack.instance_layout();
        self.planned.spec = self
            .stack
            .container_spec(self.planned.component.as_ref(), &layout)?;
        let desired = DesiredComponent {
            component: name.to_owned(),
            digest: self.planned.spec.digest(),
        };
        let containers = self
            .shared
            .containers
            .get_or_try_init(|| self.stack.list_containers())
            .await?;
        if let Some(step) = compute_plan(&[desired], containers, false).pop() {
            self.planned.action = step.action;
        }
        Ok(())
    }

    /// Plans a component again that was to be kept and does not respond: its container may
    /// have exited since the plan was made.
    async fn replan_unresponsive(&mut self) -> Result<(), TaskError> {
        let name = self.planned.component.name();
        let desired = DesiredComponent {
            component: name.to_owned(),
            digest: self.planned.spec.digest(),
        };
        let containers = self.stack.list_containers().await.map_err(|error| {
            let failure = failure::from_error(name, &error, self.emitter.elapsed());
            TaskError::Failed(Box::new(failure))
        })?;
        let action = compute_plan(&[desired], &containers, false)
            .pop()
            .map(|step| step.action);
        if let Some(action @ (PlanAction::Create | PlanAction::Start | PlanAction::Resume)) = action
        {
            self.planned.action = action;
        }
        Ok(())
    }

    /// Returns the deadline of the next step. A component with a `wait_timeout` of its own has this
    /// time for each step, up to the deadline of the run.
    fn deadline(&self) -> Instant {
        let run = self.shared.deadline.instant();
        match self.planned.component.wait_timeout() {
            Some(timeout) => run.min(Instant::now() + timeout),
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

    /// Creates the container. Replaces one that appeared after the plan was made:
    /// the engine may still execute requests of a killed run.
    async fn create_container(
        &self,
        spec: &ContainerSpec,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), StackError> {
        let engine = &self.stack.engine;
        let deadline = Instant::now() + NAME_CONFLICT_TIMEOUT;
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
                || Instant::now() > deadline
            {
                // A container outside the instance has the name, or the engine did not list the
                // container in time.
                return Err(error.into());
            } else {
                // The engine reserves a name before it lists the container.
                tokio::time::sleep(NAME_CONFLICT_INTERVAL).await;
            }
        }
    }

    /// Returns the image of the container: the golden one, if it exists. The engine
    /// fills an empty volume from it, also one that a killed run left, and never a
    /// volume that has data.
    async fn resolve_image(&self) -> Result<String, StackError> {
        let name = self.planned.component.name();
        if let Some(golden) = self.shared.golden_images.get(name) {
            return Ok(golden.image.clone());
        }
        match &self.planned.image {
            Some(image) => Ok(image.clone()),
            // The image task has finished by now.
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
