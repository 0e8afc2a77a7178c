//! What the commands that run the graph share: events out, outcome in.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dm_core::error::{Coded, Exit, Result, chain};
use dm_engine::Engine;
use dm_host::consent::Consent;
use dm_stack::event::Event;
use dm_stack::executor::{Emitter, Outcome};
use dm_stack::images::NodeProgress;
use dm_stack::status::StatusRow;
use dm_stack::{Stack, golden, inspect, reset, up};
use thiserror::Error;
use tokio::sync::mpsc;

use super::context::{Context, PortUse, Project};
use super::doctor;
use crate::views;
use crate::views::progress::{self, Recording};

/// A run that did not do what was asked; its failures have been shown.
#[derive(Debug, Error)]
pub enum RunError {
    /// A component failed.
    #[error("{} failed", .0.join(" and "))]
    Failed(Vec<String>),
    /// The time allowed ran out.
    #[error("{} not ready in time", .0.join(" and "))]
    TimedOut(Vec<String>),
    /// It was interrupted.
    #[error("interrupted; what had started keeps running")]
    Interrupted,
}

impl Coded for RunError {
    fn code(&self) -> &'static str {
        match self {
            Self::Failed(_) => "component-failed",
            Self::TimedOut(_) => "timed-out",
            Self::Interrupted => "interrupted",
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
                    "go on where it was: dm up".into(),
                    "or remove everything: dm down".into(),
                ]
            }
        }
    }
}

impl RunError {
    /// The error of an outcome, if it is one.
    #[must_use]
    pub fn of(outcome: &Outcome) -> Option<Self> {
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

/// A run that ends with components that are up.
pub struct BringUp<'a> {
    /// What was asked for, e.g. `up`.
    pub command: &'static str,
    /// The project with its instance.
    pub project: &'a Project,
    /// The engine that it runs on.
    pub engine: Engine,
    /// How the instance's ports are come by.
    pub ports: PortUse<'a>,
    /// Consent to install what is missing.
    pub consent: Arc<Consent>,
    /// What is to be up.
    pub request: up::Request,
    /// Where a bundle about a failure goes, if not to the usual place.
    pub bundle: Option<PathBuf>,
}

/// What became of such a run.
pub struct Brought {
    /// The stack.
    pub stack: Arc<Stack>,
    /// How it ended.
    pub outcome: Outcome,
    /// What it told.
    pub recording: Recording,
    /// What it was to do, with all that was found for it; none where what was done before
    /// was the end of it.
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
    pub async fn rows(&self) -> Result<Vec<StatusRow>> {
        let (stack, outcome) = (&self.stack, &self.outcome);
        match self.plan.as_ref().and_then(|plan| plan.unchanged(outcome)) {
            Some(containers) => inspect::rows_of(stack, containers, &outcome.done, false).await,
            None => inspect::rows(stack, false).await,
        }
    }

    /// Whether there are golden images for the stack. Where the run got an image, they may
    /// fit only since.
    ///
    /// # Errors
    /// A failing engine.
    pub async fn has_golden(&self) -> Result<bool> {
        match &self.plan {
            Some(plan) if plan.images.is_empty() => Ok(!plan.goldens.is_empty()),
            _ => Ok(!golden::find(&self.stack).await?.is_empty()),
        }
    }
}

impl BringUp<'_> {
    /// Does `before`, and then brings up what was asked for. An outcome of `before`
    /// that is not as asked is the end of it; without one it has changed nothing.
    ///
    /// # Errors
    /// What stops the run before its first node; what fails in a node is in the
    /// outcome.
    pub async fn after(
        self,
        context: &Context,
        before: impl AsyncFnOnce(&Arc<Stack>, &Emitter) -> Result<Option<Outcome>>,
    ) -> Result<Brought> {
        let Self {
            command,
            project,
            engine,
            ports,
            consent,
            request,
            bundle,
        } = self;
        let wait = request.wait;
        let work = async |emitter: Emitter| {
            let progress = Arc::new(NodeProgress::new(emitter.clone()));
            let (stack, mut containers) = context
                .stack(project, engine, ports, progress.clone(), consent)
                .await?;
            let stack = Arc::new(stack);
            let unfinished = reset::finish(&stack, &emitter, &context.interrupt).await?;
            let mut has_changed = unfinished.is_some();
            if let Some(outcome) = unfinished.filter(|it| !it.ok()) {
                return Ok((stack, outcome, None));
            }
            let done = before(&stack, &emitter).await?;
            has_changed |= done.is_some();
            if let Some(outcome) = done.filter(|it| !it.ok()) {
                return Ok((stack, outcome, None));
            }
            if has_changed {
                containers = stack.containers().await?;
            }
            let plan = up::prepare(&stack, request, containers).await?;
            progress.expect(&plan.images);
            let outcome = up::execute(&stack, &plan, &emitter, &context.interrupt).await?;
            // What a compiler says needs no look at the machine.
            if outcome
                .failures
                .iter()
                .any(|it| it.source_errors.is_empty())
            {
                let path = bundle.unwrap_or_else(|| doctor::failure_bundle(project));
                match doctor::bundle_failure(project, &path).await {
                    Ok(()) => emitter.send(Event::Diagnostics { path }),
                    Err(error) => emitter.note(None, chain(&error).join(": ")),
                }
            }
            Ok((stack, outcome, Some(plan)))
        };
        let ok = |(_, outcome, _): &(_, Outcome, _)| outcome.ok();
        let ((stack, outcome, plan), recording) =
            reported(context, command, Some(wait), work, ok).await?;
        Ok(Brought {
            stack,
            outcome,
            recording,
            plan,
        })
    }

    /// Brings up what was asked for.
    ///
    /// # Errors
    /// As [`BringUp::after`].
    pub async fn run(self, context: &Context) -> Result<Brought> {
        self.after(context, async |_, _| Ok(None)).await
    }
}

/// Shows what runs now.
///
/// # Errors
/// A failing engine, or a closed output.
pub async fn show(context: &Context, brought: &Brought) -> Result<()> {
    table(context, &brought.stack, &brought.rows().await?)
}

/// Shows these rows of the stack.
///
/// # Errors
/// A closed output.
pub fn table(context: &Context, stack: &Stack, rows: &[StatusRow]) -> Result<()> {
    let printer = &context.printer;
    if printer.is_json() {
        let document = views::status::Document::new(&stack.instance.name, rows);
        printer.document(views::status::SCHEMA, &document)?;
    } else {
        printer.data(&views::status::render(rows, &printer.out()))?;
    }
    Ok(())
}

/// Runs `work` while its events are shown, and tells the end of the run.
///
/// `command` is what was asked for, e.g. `golden make`. `ok` reads from the
/// result whether everything is as was asked.
///
/// # Errors
/// Those of the work.
pub async fn reported<T>(
    context: &Context,
    command: &'static str,
    deadline: Option<Duration>,
    work: impl AsyncFnOnce(Emitter) -> Result<T>,
    ok: impl FnOnce(&T) -> bool,
) -> Result<(T, Recording)> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let emitter = Emitter::new(sender, command).of_instance(context.instance());
    let reporting = progress::report(&context.printer, receiver, progress::Options { deadline });
    let working = async {
        let work = work(emitter.clone());
        tokio::pin!(work);
        let result = tokio::select! {
            result = &mut work => result,
            () = context.interrupt.cancelled() => {
                // It winds down by itself; the person is told that it does.
                emitter.send(Event::Interrupted);
                work.await
            }
        };
        let ok = result.as_ref().is_ok_and(ok);
        emitter.send(Event::Finished {
            ok,
            at: emitter.at(),
        });
        drop(emitter);
        result
    };
    let (result, recording) = tokio::join!(working, reporting);
    Ok((result?, recording))
}
