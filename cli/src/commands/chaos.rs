//! `dm chaos`.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::context::{Context, existing_ports};
use super::exec;
use crate::components::rabbitmq;
use crate::error::{Exit, Result};
use crate::messaging::{broker, poison};
use crate::output::text;

/// Break something on purpose, for an audience or a test.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Put a message into a work queue that its consumer can't handle.
    Poison {
        /// The queue, e.g. `inventory.order-events.q`.
        queue: String,
    },
    /// Kill a component as a crash would: no goodbye to anybody.
    Kill {
        /// The component, e.g. `rabbitmq` or `order`.
        component: String,
    },
    /// Freeze a component for a while: its connections stay open, and nothing answers.
    Pause {
        /// The component.
        component: String,
        /// For how long, e.g. `10s`. An interrupt ends it early.
        #[arg(
            long = "for",
            value_name = "TIME",
            default_value = "10s",
            value_parser = humantime::parse_duration
        )]
        time: Duration,
    },
}

impl Arguments {
    /// True where the first interrupt ends what was begun.
    pub const fn is_graceful(&self) -> bool {
        matches!(self.action, Action::Pause { .. })
    }
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let project = context.project()?;
    let engine = context.engine(project.config()).await?;
    let printer = &context.printer;
    match arguments.action {
        Action::Poison { queue } => {
            let ports = existing_ports(&project, &engine).await?;
            let uri = rabbitmq::uri(&project.config().rabbitmq, &ports);
            let connection = broker::connect(&uri).await?;
            let id = poison::poison(&connection, &queue).await?;
            printer.done(&format!(
                "{id} is in {queue}; dm dlq ls shows what becomes of it"
            ));
        }
        Action::Kill { component } => {
            let container = exec::running(context, &project, &engine, &component).await?;
            engine.kill(&container, "SIGKILL").await?;
            printer.done(&format!("{component} was killed; dm up brings it back"));
        }
        Action::Pause { component, time } => {
            let container = exec::running(context, &project, &engine, &component).await?;
            engine.pause(&container).await?;
            let shown = text::duration(time);
            printer.note(&format!("{component} is frozen for {shown}"));
            tokio::select! {
                () = context.interrupt.cancelled() => {}
                () = tokio::time::sleep(time) => {}
            }
            engine.unpause(&container).await?;
            printer.done(&format!("{component} goes on"));
        }
    }
    Ok(Exit::Success)
}
