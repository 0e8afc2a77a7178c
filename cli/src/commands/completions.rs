//! `dm completions`.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use dm_core::error::{ExitStatus, Result};

use super::Cli;
use crate::context::Context;

/// Print the completion script of a shell.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Examples:
  dm completions bash > /etc/bash_completion.d/dm
  dm completions fish > ~/.config/fish/completions/dm.fish")]
pub(crate) struct Arguments {
    /// Shell to print the script for.
    shell: Shell,
}

pub(crate) fn run(context: &Context, arguments: &Arguments) -> Result<ExitStatus> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "dm", &mut script);
    context
        .printer
        .write_stdout(&String::from_utf8_lossy(&script))?;
    Ok(ExitStatus::Success)
}
