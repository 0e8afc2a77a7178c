//! `dm exec`.

use clap::Args;
use dm_core::error::{Exit, Result};
use dm_engine::exec::ExecSpec;
use dm_terminal::session::Session;

use crate::attach;
use crate::context::Context;

/// Run a command in a component's container.
///
/// At a terminal the command gets a terminal. In a script it gets no standard input,
/// so that a loop keeps its own; `--interactive` passes it on. The output comes
/// unchanged, the exit code is the command's own, and the command ends when dm does.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  dm exec rabbitmq -- rabbitmqctl list_queues
  dm exec --interactive postgres -- sh -c 'cat > /tmp/data.csv' < data.csv")]
pub struct Arguments {
    /// The component.
    name: String,
    /// Pass standard input on, as a terminal's always is.
    #[arg(long, short)]
    interactive: bool,
    /// Give it a terminal, as it gets at a terminal anyway.
    #[arg(long, short, hide = true)]
    tty: bool,
    /// The user in the container.
    #[arg(long, short)]
    user: Option<String>,
    /// The command and its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<String>,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let project = context.session.project()?;
    let spec = ExecSpec {
        command: arguments.command,
        user: arguments.user,
        stdin: arguments.interactive,
        ..ExecSpec::default()
    };
    if arguments.tty && !Session::is_possible() {
        context
            .printer
            .warn("--tty has no effect: standard input and output are no terminal");
    }
    attach::run(&context.session, &project, &arguments.name, spec).await
}
