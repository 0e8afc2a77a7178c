//! What the commands that run the graph share: events out, outcome in.

use std::time::Duration;

use thiserror::Error;
use tokio::sync::mpsc;

use super::context::Context;
use crate::error::{Coded, Exit, Result};
use crate::output::progress::{self, Recording};
use crate::stack::event::Event;
use crate::stack::executor::{Emitter, Outcome};

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
                vec!["dm up goes on where it was; dm down removes everything".into()]
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

/// Runs `work` while its events are shown, and tells the end of the run.
///
/// `command` is what was asked for, e.g. `golden make`. `ok` reads from the result whether everything is as was asked.
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
    let emitter = Emitter::new(sender, command);
    let reporting = progress::report(&context.printer, receiver, progress::Options { deadline });
    let working = async {
        let interrupted = async {
            context.interrupt.cancelled().await;
            emitter.send(Event::Interrupted);
            // The work sees it, too, and winds down.
            std::future::pending().await
        };
        let result = tokio::select! {
            result = work(emitter.clone()) => result,
            result = interrupted => result,
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
