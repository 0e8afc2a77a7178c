//! `dm reset`.

use std::sync::Arc;

use clap::Args;
use thiserror::Error;

use super::context::{Context, PortUse};
use super::doctor;
use super::run::{RunError, reported};
use super::up::show;
use crate::error::{Coded, Exit, Result};
use crate::stack::images::NodeProgress;
use crate::stack::{down, inspect, up};

/// Throw all data of the instance away and bring it up fresh.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// Don't ask.
    #[arg(long, short)]
    yes: bool,
}

/// The data is still there.
#[derive(Debug, Error)]
#[error("a reset removes all data of instance `{instance}`, and that was not confirmed")]
struct NotConfirmed {
    instance: String,
}

impl Coded for NotConfirmed {
    fn code(&self) -> &'static str {
        "not-confirmed"
    }

    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn next(&self) -> Vec<String> {
        vec!["dm reset --yes".into()]
    }
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let project = context.project()?;
    let instance = project.instance.name.clone();
    let question = format!("remove all data of instance `{instance}` and start fresh?");
    let confirmed =
        arguments.yes || (context.printer.can_ask() && context.printer.confirm(&question)?);
    if !confirmed {
        return Err(NotConfirmed { instance }.into());
    }
    let _guard = context.lock(&project, "dm reset").await?;
    let engine = context.engine(project.config()).await?;
    let wait = project.config().timeouts.wait.get();
    let (result, _) = reported(
        context,
        "reset",
        Some(wait),
        async |emitter| {
            let progress = Arc::new(NodeProgress::new(emitter.clone()));
            let consent = context.consent(arguments.yes);
            let stack = context
                .stack(&project, engine, PortUse::Existing, progress, consent)
                .await?;
            let stack = Arc::new(stack);
            let removed = down::down(&stack, true, &emitter, &context.interrupt).await?;
            if !removed.outcome.ok() {
                return Ok((stack, removed.outcome));
            }
            let request = up::Request {
                only: Vec::new(),
                wait,
                golden: up::GoldenUse::Begin,
            };
            let plan = up::prepare(&stack, &request).await?;
            let outcome = up::execute(&stack, plan, &request, &emitter, &context.interrupt).await?;
            if !outcome.failures.is_empty() {
                doctor::bundle_failure(&project, &emitter).await;
            }
            Ok((stack, outcome))
        },
        |(_, outcome)| outcome.ok(),
    )
    .await?;
    let (stack, outcome) = result;
    match RunError::of(&outcome) {
        Some(error) => Err(error.into()),
        None => {
            show(context, &stack, &inspect::rows(&stack, false).await?)?;
            Ok(Exit::Success)
        }
    }
}
