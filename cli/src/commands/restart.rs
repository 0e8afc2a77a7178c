//! `dm restart`.

use std::sync::Arc;

use clap::Args;

use super::context::{Context, PortUse};
use super::doctor;
use super::run::{RunError, reported};
use super::up::show;
use crate::error::{Exit, Result};
use crate::stack::images::NodeProgress;
use crate::stack::{inspect, restart, up};

/// Stop components and bring them up again; their data stays.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// The components; all where none is named.
    names: Vec<String>,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let project = context.project()?;
    let _guard = context.lock(&project, "dm restart").await?;
    let engine = context.engine(project.config()).await?;
    let wait = project.config().timeouts.wait.get();
    let (result, _) = reported(
        context,
        "restart",
        Some(wait),
        async |emitter| {
            let progress = Arc::new(NodeProgress::new(emitter.clone()));
            let consent = context.consent(false);
            let stack = context
                .stack(&project, engine, PortUse::Existing, progress, consent)
                .await?;
            let stack = Arc::new(stack);
            restart::stop(&stack, &arguments.names, &emitter).await?;
            let request = up::Request {
                only: arguments.names.clone(),
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
