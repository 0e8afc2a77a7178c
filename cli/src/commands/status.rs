//! `dm status`.

use std::time::Duration;

use clap::Args;

use super::context::Context;
use super::run::table;
use crate::error::{Exit, Result};
use crate::output::{status, watch};
use crate::stack::inspect;
use crate::stack::status::ComponentState;

/// How often `--watch` looks again.
const WATCH: Duration = Duration::from_secs(1);

/// Show what runs.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// Go on showing it until interrupted.
    #[arg(long, short)]
    watch: bool,
    /// Show the memory that each component uses; the engine may take a second to tell.
    #[arg(long, short)]
    memory: bool,
    /// Exit with 1 unless everything is ready.
    #[arg(long)]
    check: bool,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let project = context.project()?;
    let stack = context.quiet_stack(&project).await?;
    if arguments.watch {
        let mut screen = watch::Watch::new(&context.printer);
        loop {
            let rows = inspect::rows(&stack, arguments.memory).await?;
            let document = status::Document::new(&stack.instance.name, &rows);
            // A change is a change of everything but the times.
            let state = rows
                .iter()
                .map(|row| format!("{} {:?}\n", row.component, row.state))
                .collect();
            screen.show(status::SCHEMA, &document, state, |canvas| {
                status::render(&rows, canvas)
            })?;
            tokio::time::sleep(WATCH).await;
        }
    }
    let rows = inspect::rows(&stack, arguments.memory).await?;
    table(context, &stack, &rows)?;
    let all_ready = rows
        .iter()
        .all(|row| matches!(row.state, ComponentState::Ready | ComponentState::Done));
    Ok(if arguments.check && !all_ready {
        Exit::Found
    } else {
        Exit::Success
    })
}
