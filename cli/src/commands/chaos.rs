//! `dm chaos`.

use clap::{Args, Subcommand};

use super::context::{Context, existing_ports};
use crate::components::rabbitmq;
use crate::error::{Exit, Result};
use crate::messaging::{broker, poison};

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
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let project = context.project()?;
    let engine = context.engine(project.config()).await?;
    let ports = existing_ports(&project, &engine).await?;
    let Action::Poison { queue } = arguments.action;
    let connection = broker::connect(&rabbitmq::uri(&project.config().rabbitmq, &ports)).await?;
    let id = poison::poison(&connection, &queue).await?;
    context.printer.done(&format!(
        "{id} is in {queue}; dm dlq ls shows what becomes of it"
    ));
    Ok(Exit::Success)
}
