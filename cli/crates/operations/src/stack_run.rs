//! A run over the components of an instance: its phases, one after the other.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dm_core::error::{ExitStatus, Result, UserError, chain};
use dm_core::error_code::ErrorCode;
use dm_engine::Engine;
use dm_engine::containers::Container;
use dm_host::consent::Consent;
use dm_stack::event::RunEvent;
use dm_stack::executor::{EventEmitter, RunOutcome};
use dm_stack::image_progress::NodeProgress;
use dm_stack::status::StatusRow;
use dm_stack::{Stack, golden, reset, restart, service_build, status_collector, up};
use thiserror::Error;

use crate::doctor;
use crate::run_recording::RunRecording;
use crate::session::{PortUse, Project, Session};

/// A run that did not do what was asked; its failures have been shown.
#[derive(Debug, Error)]
pub enum RunError {
    /// A component failed.
    #[error("{} failed", .0.join(" and "))]
    Failed(Vec<String>),
    /// The time allowed ran out.
    #[error("{} not ready within the time limit", .0.join(" and "))]
    TimedOut(Vec<String>),
    /// It was interrupted.
    #[error("interrupted; started components keep running")]
    Interrupted,
}

impl UserError for RunError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Failed(_) => ErrorCode::ComponentFailed,
            Self::TimedOut(_) => ErrorCode::TimedOut,
            Self::Interrupted => ErrorCode::Interrupted,
        }
    }

    fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Failed(_) => ExitStatus::Component,
            Self::TimedOut(_) => ExitStatus::TimedOut,
            Self::Interrupted => ExitStatus::Interrupted,
        }
    }

    fn suggestions(&self) -> Vec<String> {
        match self {
            Self::Failed(_) | Self::TimedOut(_) => Vec::new(),
            Self::Interrupted => {
                vec![
                    "continue: dm up".into(),
                    "or remove everything: dm down".into(),
                ]
            }
        }
    }
}

impl RunError {
    /// The error of an outcome, if it is one.
    #[must_use]
    pub(crate) fn from_outcome(outcome: &RunOutcome) -> Option<Self> {
        let names = || {
            outcome
                .failures
                .iter()
                .map(|failure| failure.name.clone())
                .collect()
        };
        if outcome.interrupted {
            Some(Self::Interrupted)
        } else if outcome.timed_out {
            Some(Self::TimedOut(names()))
        } else if outcome.failures.is_empty() {
            None
        } else {
            Some(Self::Failed(names()))
        }
    }
}

/// A phase of a run.
#[derive(Debug)]
pub(crate) enum RunPhase {
    /// What a reset that was cut short has left is removed.
    FinishReset,
    /// These components are stopped, or all where none is named.
    Stop(Vec<String>),
    /// The data is thrown away.
    ClearData,
    /// The services are compiled.
    Compile,
    /// Components are brought up.
    Up(up::UpPlanRequest),
}

impl RunPhase {
    /// Components are brought up, all where none is named. The configuration says how long
    /// that may take where `wait` does not.
    pub(crate) fn up(project: &Project, only: &[String], wait: Option<Duration>) -> Self {
        Self::Up(up_request(project, only, wait))
    }

    /// Whether a list of the containers from before the phase says nothing after it: because
    /// the phase changes them, or because it takes minutes, in which they may end. Finishing a
    /// reset changes them only where there is one to finish.
    const fn invalidates_containers(&self) -> bool {
        match self {
            Self::Stop(_) | Self::ClearData | Self::Compile => true,
            Self::FinishReset | Self::Up(_) => false,
        }
    }
}

/// What is asked for where these components are to be up, or all where none is named.
pub(crate) fn up_request(
    project: &Project,
    only: &[String],
    wait: Option<Duration>,
) -> up::UpPlanRequest {
    up::UpPlanRequest {
        only: only.to_vec(),
        wait_timeout: wait.unwrap_or_else(|| project.config().timeouts.wait.as_duration()),
        golden_policy: up::GoldenPolicy::Use,
        unchanged: up::UnchangedComponents::Probe,
    }
}

/// A run over the components of an instance. The caller has the instance's lock.
pub(crate) struct StackRun<'a> {
    command: &'static str,
    project: &'a Project,
    ports: PortUse<'a>,
    bundle_path: Option<PathBuf>,
    pub(crate) phases: Vec<RunPhase>,
}

/// What became of a run.
pub struct RunResult {
    /// The stack.
    pub stack: Arc<Stack>,
    /// How the last phase ended.
    pub outcome: RunOutcome,
    /// What the run has told.
    pub recording: RunRecording,
    /// What was to be brought up, with all that was found for it; none where a phase before
    /// was the last.
    plan: Option<up::UpPlan>,
}

impl RunResult {
    /// The run, if it did what was asked.
    ///
    /// # Errors
    /// [`RunError`] for an outcome that is one.
    pub fn into_result(self) -> Result<Self> {
        match RunError::from_outcome(&self.outcome) {
            Some(error) => Err(error.into()),
            None => Ok(self),
        }
    }

    /// What runs now. Where nothing was changed, that is known: each component has answered.
    ///
    /// # Errors
    /// A failing engine.
    pub async fn status(&self) -> Result<Vec<StatusRow>> {
        let (stack, outcome) = (&self.stack, &self.outcome);
        match self
            .plan
            .as_ref()
            .and_then(|plan| plan.unchanged_containers(outcome))
        {
            Some(containers) => {
                status_collector::collect_status_from(stack, containers, &outcome.completed, false)
                    .await
            }
            None => status_collector::collect_status(stack, false).await,
        }
    }

    /// Whether there are golden images for the stack. Where the run got an image, they may
    /// fit only since.
    pub(crate) async fn has_golden_images(&self) -> Result<bool> {
        match &self.plan {
            Some(plan) if plan.images.is_empty() => Ok(!plan.golden_images.is_empty()),
            _ => Ok(!golden::find_golden_images(&self.stack).await?.is_empty()),
        }
    }
}

impl<'a> StackRun<'a> {
    /// A run for a command, e.g. `up`, on the ports that the instance has. It begins with
    /// what a reset has left that was cut short.
    pub(crate) fn new(command: &'static str, project: &'a Project) -> Self {
        Self {
            command,
            project,
            ports: PortUse::Existing,
            bundle_path: None,
            phases: vec![RunPhase::FinishReset],
        }
    }

    /// The same with other ports.
    pub(crate) fn with_ports(self, ports: PortUse<'a>) -> Self {
        Self { ports, ..self }
    }

    /// The same with another place for the bundle about a failure, if there is one.
    pub(crate) fn with_bundle_path(self, bundle: Option<PathBuf>) -> Self {
        Self {
            bundle_path: bundle,
            ..self
        }
    }

    /// The same with one more phase at the end.
    pub(crate) fn with_phase(mut self, phase: RunPhase) -> Self {
        self.phases.push(phase);
        self
    }

    /// Does the phases, up to the first one that fails.
    ///
    /// # Errors
    /// What stops a phase before its first node; what fails in a node is in the outcome.
    pub(crate) async fn execute(
        self,
        session: &Session,
        engine: Engine,
        consent: Arc<Consent>,
    ) -> Result<RunResult> {
        let Self {
            command,
            project,
            ports,
            bundle_path: bundle,
            phases,
        } = self;
        let deadline = phases.iter().find_map(|phase| match phase {
            RunPhase::Up(request) => Some(request.wait_timeout),
            _ => None,
        });
        let bundle = bundle.unwrap_or_else(|| doctor::failure_bundle_path(project));
        let work = async |emitter: EventEmitter| {
            let progress = Arc::new(NodeProgress::new(emitter.clone()));
            let (stack, containers) = session
                .stack(project, engine, ports, progress.clone(), consent)
                .await?;
            let stack = Arc::new(stack);
            let mut run = PhaseRunner {
                session,
                project,
                stack: &stack,
                progress: &progress,
                emitter: &emitter,
                bundle_path: &bundle,
                containers: Some(containers),
                plan: None,
            };
            let outcome = run_in_order(phases, async |phase| run.run_phase(phase).await).await?;
            let plan = run.plan;
            Ok((stack, outcome, plan))
        };
        let ok = |(_, outcome, _): &(_, RunOutcome, _)| outcome.is_success();
        let ((stack, outcome, plan), recording) = session
            .run_with_progress(command, deadline, work, ok)
            .await?;
        Ok(RunResult {
            stack,
            outcome,
            recording,
            plan,
        })
    }
}

/// Does phases one after the other. The first whose outcome is not as was asked is the last.
async fn run_in_order<P>(
    phases: Vec<P>,
    mut run: impl AsyncFnMut(P) -> Result<RunOutcome>,
) -> Result<RunOutcome> {
    let mut outcome = RunOutcome::default();
    for phase in phases {
        outcome = run(phase).await?;
        if !outcome.is_success() {
            break;
        }
    }
    Ok(outcome)
}

/// The phases of a run, while they are done.
struct PhaseRunner<'a> {
    session: &'a Session,
    project: &'a Project,
    stack: &'a Arc<Stack>,
    progress: &'a NodeProgress,
    emitter: &'a EventEmitter,
    bundle_path: &'a Path,
    /// The instance's containers, as long as no phase has changed them or taken long.
    containers: Option<Vec<Container>>,
    plan: Option<up::UpPlan>,
}

impl PhaseRunner<'_> {
    async fn run_phase(&mut self, phase: RunPhase) -> Result<RunOutcome> {
        let (stack, emitter, interrupt) = (self.stack, self.emitter, &self.session.interrupt);
        if phase.invalidates_containers() {
            self.containers = None;
        }
        match phase {
            RunPhase::FinishReset => {
                let finished = reset::finish_interrupted_reset(stack, emitter, interrupt).await?;
                if finished.is_some() {
                    self.containers = None;
                }
                Ok(finished.unwrap_or_default())
            }
            RunPhase::Stop(names) => {
                restart::stop_components(stack, &names, emitter).await?;
                Ok(RunOutcome::default())
            }
            RunPhase::ClearData => reset::clear_instance(stack, emitter, interrupt).await,
            RunPhase::Compile => service_build::build_services(stack, emitter, interrupt).await,
            RunPhase::Up(request) => self.up(request).await,
        }
    }

    async fn up(&mut self, request: up::UpPlanRequest) -> Result<RunOutcome> {
        let (stack, emitter, interrupt) = (self.stack, self.emitter, &self.session.interrupt);
        let containers = match self.containers.take() {
            Some(containers) => containers,
            None => stack.list_containers().await?,
        };
        let plan = up::prepare_plan(stack, request, containers).await?;
        self.progress.expect_images(&plan.images);
        let outcome = up::execute_plan(stack, &plan, emitter, interrupt).await?;
        self.plan = Some(plan);
        // What a compiler says needs no look at the machine.
        if outcome
            .failures
            .iter()
            .any(|it| it.source_errors.is_empty())
        {
            match doctor::write_failure_bundle(self.project, self.bundle_path).await {
                Ok(()) => emitter.emit(RunEvent::Diagnostics {
                    path: self.bundle_path.to_owned(),
                }),
                Err(error) => emitter.emit_note(None, chain(&error).join(": ")),
            }
        }
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_phase_that_fails_is_the_last() {
        let mut done = Vec::new();
        let outcome = run_in_order(vec!["finish", "clear", "up"], async |phase| {
            done.push(phase);
            Ok(RunOutcome {
                timed_out: phase == "clear",
                ..RunOutcome::default()
            })
        });
        assert!(outcome.await.unwrap().timed_out);
        assert_eq!(done, ["finish", "clear"]);
    }

    #[test]
    fn a_list_from_before_a_compilation_is_not_planned_with() {
        assert!(RunPhase::Compile.invalidates_containers());
        assert!(RunPhase::ClearData.invalidates_containers());
        assert!(RunPhase::Stop(Vec::new()).invalidates_containers());
        assert!(!RunPhase::FinishReset.invalidates_containers());
    }

    #[tokio::test]
    async fn an_error_of_a_phase_ends_the_run() {
        let mut done = 0;
        let result = run_in_order(vec![1, 2], async |_| {
            done += 1;
            Err(RunError::Interrupted.into())
        });
        assert!(result.await.is_err());
        assert_eq!(done, 1);
    }
}
