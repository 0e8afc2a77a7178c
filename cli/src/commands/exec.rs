//! `dm exec`.

use clap::Args;
use dm_core::error::{ExitStatus, Result};
use dm_engine::exec::ExecSpec;
use dm_terminal::attached_terminal::AttachedTerminal;

use crate::attach;
use crate::context::Context;

/// Run a command in a component's container.
///
/// On a terminal, the command gets a terminal. In a script, it gets no standard input, so that
/// it does not consume the input of a loop around it; --interactive passes standard input on.
/// The output is passed through unchanged, the exit code is that of the command, and the
/// command ends when dm ends.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Examples:
  dm exec rabbitmq -- rabbitmqctl list_queues
  dm exec --interactive postgres -- sh -c 'cat > /tmp/data.csv' < data.csv")]
pub(crate) struct Arguments {
    /// Component to run the command in.
    #[arg(value_name = "COMPONENT")]
    name: String,
    /// Pass standard input to the command.
    #[arg(long, short)]
    interactive: bool,
    /// Give the command a terminal; on a terminal it always gets one.
    #[arg(long, short, hide = true)]
    tty: bool,
    /// User in the container [default: the user of the image].
    #[arg(long, short)]
    user: Option<String>,
    /// Command and its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<String>,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<ExitStatus> {
    let project = context.session.project()?;
    let spec = ExecSpec {
        command: arguments.command,
        user: arguments.user,
        stdin: arguments.interactive,
        ..ExecSpec::default()
    };
    if arguments.tty && !AttachedTerminal::is_available() {
        context
            .printer
            .warn("--tty has no effect: standard input and output are not a terminal");
    }
    attach::run_attached(&context.session, &project, &arguments.name, spec).await
}
