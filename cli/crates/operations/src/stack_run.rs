//! A run over the components of an instance, in phases that are executed in order.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dm_core::error::{ExitStatus, Result, UserError, error_chain};
use dm_core::error_code::ErrorCode;
use dm_engine::Engine;
use dm_engine::containers::Container;
use dm_host::consent::Consent;
use dm_stack::event::RunEvent;
use dm_stack::executor::{EventEmitter, RunOutcome};
use dm_stack::image_progress::NodeProgress;
use dm_stack::status::StatusRow;
use dm_stack::up::NextGoldenImages;
use dm_stack::{Stack, golden, reset, restart, service_build, status_collector, up};
use thiserror::Error;

use crate::doctor;
use crate::run_recording::RunRecording;
use crate::session::{PortUse, Project, Session};

/// A run that failed. Its failures have been shown before.
#[derive(Debug, Error)]
pub enum RunError {
    /// A component failed.
    #[error("{} failed", .0.join(" and "))]
    Failed(Vec<String>),
    /// Another session held a lock in PostgreSQL for too long.
    #[error("{} failed", .0.join(" and "))]
    DatabaseLocked(Vec<String>),
    /// The time limit was exceeded.
    #[error("{} not ready within the time limit", .0.join(" and "))]
    TimedOut(Vec<String>),
    /// The run was interrupted.
    #[error("interrupted")]
    Interrupted,
}

impl UserError for RunError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Failed(_) => ErrorCode::ComponentFailed,
            Self::DatabaseLocked(_) => ErrorCode::DatabaseLocked,
            Self::TimedOut(_) => ErrorCode::TimedOut,
            Self::Interrupted => ErrorCode::Interrupted,
        }
    }

    fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Failed(_) => ExitStatus::Component,
            Self::DatabaseLocked(_) | Self::TimedOut(_) => ExitStatus::TimedOut,
            Self::Interrupted => ExitStatus::Interrupted,
        }
    }

    fn suggestions(&self) -> Vec<String> {
        match self {
            Self::Failed(_) | Self::DatabaseLocked(_) | Self::TimedOut(_) => Vec::new(),
            Self::Interrupted => {
                vec![
                    "started components keep running; continue: dm up".into(),
                    "or remove everything: dm down".into(),
                ]
            }
        }
    }
}

impl RunError {
    /// Returns the error of an outcome, or `None` for a success.
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
        } else if outcome.database_locked {
            Some(Self::DatabaseLocked(names()))
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
    /// Finishes an interrupted reset.
    FinishReset,
    /// Stops these components, or all if the list is empty.
    Stop(Vec<String>),
    /// Removes the data.
    ClearData,
    /// Compiles the services.
    Compile,
    /// Brings components up.
    Up(up::UpPlanRequest),
}

impl RunPhase {
    /// A phase that brings components up, all if `only` is empty. The default of `wait` is
    /// the time limit of the configuration.
    pub(crate) fn up(project: &Project, only: &[String], wait: Option<Duration>) -> Self {
        Self::Up(up_request(project, only, wait))
    }

    /// Returns whether a list of the containers from before the phase is outdated after it: because
    /// the phase changes them, or because it takes minutes, in which they may exit. Finishing a
    /// reset changes them only if a reset was interrupted.
    const fn invalidates_containers(&self) -> bool {
        match self {
            Self::Stop(_) | Self::ClearData | Self::Compile => true,
            Self::FinishReset | Self::Up(_) => false,
        }
    }
}

/// Returns the request to bring these components up, or all if `only` is empty.
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

/// A run over the components of an instance. The caller holds the instance lock.
pub(crate) struct StackRun<'a> {
    command: &'static str,
    project: &'a Project,
    ports: PortUse<'a>,
    bundle_path: Option<PathBuf>,
    pub(crate) phases: Vec<RunPhase>,
}

/// The result of a run.
pub struct RunResult {
    /// The stack.
    pub stack: Arc<Stack>,
    /// The outcome of the last phase.
    pub outcome: RunOutcome,
    /// The recorded events of the run.
    pub recording: RunRecording,
    /// The plan of the phase [`RunPhase::Up`]. `None` if the run ended before it.
    plan: Option<up::UpPlan>,
}

impl RunResult {
    /// Returns the result of a successful run.
    ///
    /// # Errors
    /// Returns [`RunError`] if the run failed.
    pub fn into_result(self) -> Result<Self> {
        match RunError::from_outcome(&self.outcome) {
            Some(error) => Err(error.into()),
            None => Ok(self),
        }
    }

    /// Returns the status of the components. If the run changed nothing, it is derived from
    /// the plan: each component has been probed.
    ///
    /// # Errors
    /// If the engine fails.
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

    /// Returns whether golden images for the stack are missing after a run that changed it. If
    /// the run obtained an image, they are looked up again, since they may match only now.
    pub(crate) async fn lacks_golden_images(&self) -> Result<bool> {
        match self.plan.as_ref().map(up::UpPlan::next_golden_images) {
            Some(NextGoldenImages::Prepared) => Ok(false),
            Some(NextGoldenImages::Missing) => Ok(true),
            Some(NextGoldenImages::Unknown) | None => {
                Ok(golden::find_golden_images(&self.stack).await?.is_empty())
            }
        }
    }
}

impl<'a> StackRun<'a> {
    /// A run for a command, e.g. `up`, on the existing ports of the instance. Its first phase
    /// finishes an interrupted reset.
    pub(crate) fn new(command: &'static str, project: &'a Project) -> Self {
        Self {
            command,
            project,
            ports: PortUse::ExistingOrAllocated,
            bundle_path: None,
            phases: vec![RunPhase::FinishReset],
        }
    }

    /// Sets the use of ports.
    pub(crate) fn with_ports(self, ports: PortUse<'a>) -> Self {
        Self { ports, ..self }
    }

    /// Sets the path of the diagnostics bundle that is written after a failure.
    pub(crate) fn with_bundle_path(self, bundle_path: Option<PathBuf>) -> Self {
        Self {
            bundle_path,
            ..self
        }
    }

    /// Adds a phase at the end.
    pub(crate) fn with_phase(mut self, phase: RunPhase) -> Self {
        self.phases.push(phase);
        self
    }

    /// Executes the phases, up to the first one that fails.
    ///
    /// # Errors
    /// If a phase fails before its first node. Failures of nodes are in the outcome.
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
            bundle_path,
            phases,
        } = self;
        let deadline = phases.iter().find_map(|phase| match phase {
            RunPhase::Up(request) => Some(request.wait_timeout),
            _ => None,
        });
        let bundle_path = bundle_path.unwrap_or_else(|| doctor::failure_bundle_path(project));
        let work = async |emitter: EventEmitter| {
            let progress = Arc::new(NodeProgress::new(emitter.clone()));
            let (stack, containers) = session
                .stack(project, engine, ports, progress.clone(), consent)
                .await?;
            let stack = Arc::new(stack);
            let mut runner = PhaseRunner {
                session,
                project,
                stack: &stack,
                progress: &progress,
                emitter: &emitter,
                bundle_path: &bundle_path,
                containers: Some(containers),
                plan: None,
            };
            let outcome = run_in_order(phases, async |phase| runner.run_phase(phase).await).await?;
            let plan = runner.plan;
            Ok((stack, outcome, plan))
        };
        let is_success = |(_, outcome, _): &(_, RunOutcome, _)| outcome.is_success();
        let ((stack, outcome, plan), recording) = session
            .run_with_progress(command, deadline, work, is_success)
            .await?;
        Ok(RunResult {
            stack,
            outcome,
            recording,
            plan,
        })
    }
}

/// Executes phases in order. The first one that is not successful is the last.
async fn run_in_order<P>(
    phases: Vec<P>,
    mut execute: impl AsyncFnMut(P) -> Result<RunOutcome>,
) -> Result<RunOutcome> {
    let mut outcome = RunOutcome::default();
    for phase in phases {
        outcome = execute(phase).await?;
        if !outcome.is_success() {
            break;
        }
    }
    Ok(outcome)
}

/// Executes the phases of a run.
struct PhaseRunner<'a> {
    session: &'a Session,
    project: &'a Project,
    stack: &'a Arc<Stack>,
    progress: &'a NodeProgress,
    emitter: &'a EventEmitter,
    bundle_path: &'a Path,
    /// The containers of the instance, until a phase changes them or takes long.
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
        // Compiler errors need no diagnostics of the machine.
        if outcome
            .failures
            .iter()
            .any(|failure| failure.source_errors.is_empty())
        {
            match doctor::write_failure_bundle(self.project, self.bundle_path).await {
                Ok(()) => emitter.emit(RunEvent::Diagnostics {
                    path: self.bundle_path.to_owned(),
                }),
                Err(error) => emitter.emit_note(None, error_chain(&error).join(": ")),
            }
        }
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ci::examples;

    #[test]
    fn error_of_a_locked_database_has_its_own_code_and_the_exit_status_of_a_time_limit() {
        let outcome = RunOutcome {
            failures: vec![examples::failure("database")],
            database_locked: true,
            ..RunOutcome::default()
        };
        let error = RunError::from_outcome(&outcome).unwrap();
        assert_eq!(error.to_string(), "database failed");
        assert_eq!(error.code(), ErrorCode::DatabaseLocked);
        assert_eq!(error.exit_status(), ExitStatus::TimedOut);
    }

    #[tokio::test]
    async fn run_in_order_stops_after_a_failed_phase() {
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
    fn phases_that_change_containers_or_take_long_invalidate_the_container_list() {
        assert!(RunPhase::Compile.invalidates_containers());
        assert!(RunPhase::ClearData.invalidates_containers());
        assert!(RunPhase::Stop(Vec::new()).invalidates_containers());
        assert!(!RunPhase::FinishReset.invalidates_containers());
    }

    #[tokio::test]
    async fn run_in_order_stops_at_an_error() {
        let mut done = 0;
        let result = run_in_order(vec![1, 2], async |_| {
            done += 1;
            Err(RunError::Interrupted.into())
        });
        assert!(result.await.is_err());
        assert_eq!(done, 1);
    }
}
