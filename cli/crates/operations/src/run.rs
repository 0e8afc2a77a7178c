//! A run over the components of an instance: its phases, one after the other.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dm_core::error::{Coded, Exit, Result, chain};
use dm_core::error_code::ErrorCode;
use dm_engine::Engine;
use dm_engine::containers::Container;
use dm_host::consent::Consent;
use dm_stack::event::Event;
use dm_stack::executor::{Emitter, Outcome};
use dm_stack::images::NodeProgress;
use dm_stack::status::StatusRow;
use dm_stack::{Stack, compile, golden, inspect, reset, restart, up};
use thiserror::Error;

use crate::doctor;
use crate::recording::Recording;
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

impl Coded for RunError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Failed(_) => ErrorCode::ComponentFailed,
            Self::TimedOut(_) => ErrorCode::TimedOut,
            Self::Interrupted => ErrorCode::Interrupted,
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Failed(_) => Exit::Component,
            Self::TimedOut(_) => Exit::TimedOut,
            Self::Interrupted => Exit::Interrupted,
        }
    }

    fn next(&self) -> Vec<String> {
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
    pub(crate) fn of(outcome: &Outcome) -> Option<Self> {
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
pub(crate) enum Phase {
    /// What a reset that was cut short has left is removed.
    FinishReset,
    /// These components are stopped, or all where none is named.
    Stop(Vec<String>),
    /// The data is thrown away.
    Clear,
    /// The services are compiled.
    Compile,
    /// Components are brought up.
    Up(up::Request),
}

impl Phase {
    /// Components are brought up, all where none is named. The configuration says how long
    /// that may take where `wait` does not.
    pub(crate) fn up(project: &Project, only: &[String], wait: Option<Duration>) -> Self {
        Self::Up(request(project, only, wait))
    }

    /// Whether a list of the containers from before the phase says nothing after it: because
    /// the phase changes them, or because it takes minutes, in which they may end. Finishing a
    /// reset changes them only where there is one to finish.
    const fn outdates_containers(&self) -> bool {
        match self {
            Self::Stop(_) | Self::Clear | Self::Compile => true,
            Self::FinishReset | Self::Up(_) => false,
        }
    }
}

/// What is asked for where these components are to be up, or all where none is named.
pub(crate) fn request(project: &Project, only: &[String], wait: Option<Duration>) -> up::Request {
    up::Request {
        only: only.to_vec(),
        wait: wait.unwrap_or_else(|| project.config().timeouts.wait.get()),
        golden: up::GoldenUse::Begin,
        kept: up::Kept::Ask,
    }
}

/// A run over the components of an instance. The caller has the instance's lock.
pub(crate) struct Run<'a> {
    command: &'static str,
    project: &'a Project,
    ports: PortUse<'a>,
    bundle: Option<PathBuf>,
    pub(crate) phases: Vec<Phase>,
}

/// What became of a run.
pub struct Brought {
    /// The stack.
    pub stack: Arc<Stack>,
    /// How the last phase ended.
    pub outcome: Outcome,
    /// What the run has told.
    pub recording: Recording,
    /// What was to be brought up, with all that was found for it; none where a phase before
    /// was the last.
    plan: Option<up::Plan>,
}

impl Brought {
    /// The run, if it did what was asked.
    ///
    /// # Errors
    /// [`RunError`] for an outcome that is one.
    pub fn complete(self) -> Result<Self> {
        match RunError::of(&self.outcome) {
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
        match self.plan.as_ref().and_then(|plan| plan.unchanged(outcome)) {
            Some(containers) => inspect::rows_of(stack, containers, &outcome.done, false).await,
            None => inspect::rows(stack, false).await,
        }
    }

    /// Whether there are golden images for the stack. Where the run got an image, they may
    /// fit only since.
    pub(crate) async fn has_golden(&self) -> Result<bool> {
        match &self.plan {
            Some(plan) if plan.images.is_empty() => Ok(!plan.goldens.is_empty()),
            _ => Ok(!golden::find(&self.stack).await?.is_empty()),
        }
    }
}

impl<'a> Run<'a> {
    /// A run for a command, e.g. `up`, on the ports that the instance has. It begins with
    /// what a reset has left that was cut short.
    pub(crate) fn new(command: &'static str, project: &'a Project) -> Self {
        Self {
            command,
            project,
            ports: PortUse::Existing,
            bundle: None,
            phases: vec![Phase::FinishReset],
        }
    }

    /// The same with other ports.
    pub(crate) fn ports(self, ports: PortUse<'a>) -> Self {
        Self { ports, ..self }
    }

    /// The same with another place for the bundle about a failure, if there is one.
    pub(crate) fn bundle(self, bundle: Option<PathBuf>) -> Self {
        Self { bundle, ..self }
    }

    /// The same with one more phase at the end.
    pub(crate) fn phase(mut self, phase: Phase) -> Self {
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
    ) -> Result<Brought> {
        let Self {
            command,
            project,
            ports,
            bundle,
            phases,
        } = self;
        let deadline = phases.iter().find_map(|phase| match phase {
            Phase::Up(request) => Some(request.wait),
            _ => None,
        });
        let bundle = bundle.unwrap_or_else(|| doctor::failure_bundle(project));
        let work = async |emitter: Emitter| {
            let progress = Arc::new(NodeProgress::new(emitter.clone()));
            let (stack, containers) = session
                .stack(project, engine, ports, progress.clone(), consent)
                .await?;
            let stack = Arc::new(stack);
            let mut run = RunningPhases {
                session,
                project,
                stack: &stack,
                progress: &progress,
                emitter: &emitter,
                bundle: &bundle,
                containers: Some(containers),
                plan: None,
            };
            let outcome = in_order(phases, async |phase| run.phase(phase).await).await?;
            let plan = run.plan;
            Ok((stack, outcome, plan))
        };
        let ok = |(_, outcome, _): &(_, Outcome, _)| outcome.ok();
        let ((stack, outcome, plan), recording) =
            session.followed(command, deadline, work, ok).await?;
        Ok(Brought {
            stack,
            outcome,
            recording,
            plan,
        })
    }
}

/// Does phases one after the other. The first whose outcome is not as was asked is the last.
async fn in_order<P>(
    phases: Vec<P>,
    mut run: impl AsyncFnMut(P) -> Result<Outcome>,
) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for phase in phases {
        outcome = run(phase).await?;
        if !outcome.ok() {
            break;
        }
    }
    Ok(outcome)
}

/// The phases of a run, while they are done.
struct RunningPhases<'a> {
    session: &'a Session,
    project: &'a Project,
    stack: &'a Arc<Stack>,
    progress: &'a NodeProgress,
    emitter: &'a Emitter,
    bundle: &'a Path,
    /// The instance's containers, as long as no phase has changed them or taken long.
    containers: Option<Vec<Container>>,
    plan: Option<up::Plan>,
}

impl RunningPhases<'_> {
    async fn phase(&mut self, phase: Phase) -> Result<Outcome> {
        let (stack, emitter, interrupt) = (self.stack, self.emitter, &self.session.interrupt);
        if phase.outdates_containers() {
            self.containers = None;
        }
        match phase {
            Phase::FinishReset => {
                let finished = reset::finish(stack, emitter, interrupt).await?;
                if finished.is_some() {
                    self.containers = None;
                }
                Ok(finished.unwrap_or_default())
            }
            Phase::Stop(names) => {
                restart::stop(stack, &names, emitter).await?;
                Ok(Outcome::default())
            }
            Phase::Clear => reset::clear(stack, emitter, interrupt).await,
            Phase::Compile => compile::services(stack, emitter, interrupt).await,
            Phase::Up(request) => self.up(request).await,
        }
    }

    async fn up(&mut self, request: up::Request) -> Result<Outcome> {
        let (stack, emitter, interrupt) = (self.stack, self.emitter, &self.session.interrupt);
        let containers = match self.containers.take() {
            Some(containers) => containers,
            None => stack.containers().await?,
        };
        let plan = up::prepare(stack, request, containers).await?;
        self.progress.expect(&plan.images);
        let outcome = up::execute(stack, &plan, emitter, interrupt).await?;
        self.plan = Some(plan);
        // What a compiler says needs no look at the machine.
        if outcome
            .failures
            .iter()
            .any(|it| it.source_errors.is_empty())
        {
            match doctor::bundle_failure(self.project, self.bundle).await {
                Ok(()) => emitter.send(Event::Diagnostics {
                    path: self.bundle.to_owned(),
                }),
                Err(error) => emitter.note(None, chain(&error).join(": ")),
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
        let outcome = in_order(vec!["finish", "clear", "up"], async |phase| {
            done.push(phase);
            Ok(Outcome {
                timed_out: phase == "clear",
                ..Outcome::default()
            })
        });
        assert!(outcome.await.unwrap().timed_out);
        assert_eq!(done, ["finish", "clear"]);
    }

    #[test]
    fn a_list_from_before_a_compilation_is_not_planned_with() {
        assert!(Phase::Compile.outdates_containers());
        assert!(Phase::Clear.outdates_containers());
        assert!(Phase::Stop(Vec::new()).outdates_containers());
        assert!(!Phase::FinishReset.outdates_containers());
    }

    #[tokio::test]
    async fn an_error_of_a_phase_ends_the_run() {
        let mut done = 0;
        let result = in_order(vec![1, 2], async |_| {
            done += 1;
            Err(RunError::Interrupted.into())
        });
        assert!(result.await.is_err());
        assert_eq!(done, 1);
    }
}
