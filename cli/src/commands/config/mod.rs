//! `dm config`.

mod render;

use clap::{Args, Subcommand};
use dm_core::error::{ExitStatus, Result};

use crate::context::Context;

/// Show and check the configuration.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Examples:
  dm config show postgres
  dm config check")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Show the effective values and where each comes from.
    #[command(after_long_help = "Examples:
  dm config show
  dm config show postgres.port
  dm config show postgres --reveal")]
    Show {
        /// Key or section to show, e.g. `postgres.port` or `postgres` [default: all].
        key: Option<String>,
        /// Show passwords in plain text.
        #[arg(long)]
        reveal: bool,
    },
    /// Check dm.toml, dm.local.toml, the environment variables and the files they name.
    #[command(after_long_help = "Examples:
  dm config check
  dm config check --set postgres.port=5433")]
    Check,
    /// Print the JSON Schema of dm.toml.
    #[command(after_long_help = "Examples:
  dm config schema
  dm config schema > dm.schema.json")]
    Schema,
}

pub(crate) fn run(context: &Context, arguments: Arguments) -> Result<ExitStatus> {
    let printer = &context.printer;
    match arguments.command {
        Command::Show { key, reveal } => {
            let loaded = context.session.load_config()?;
            let entries = loaded.effective_values(key.as_deref(), reveal)?;
            if printer.is_json() {
                printer.print_document(
                    &dm_core::document::CONFIG,
                    &render::ConfigDocument::new(&loaded.root, &entries),
                )?;
            } else {
                printer.write_stdout(&render::render(&entries, &printer.stdout_canvas()))?;
            }
        }
        Command::Check => {
            let loaded = context.session.load_config()?;
            loaded.check_files()?;
            if printer.is_json() {
                printer.print_document(
                    &dm_core::document::CONFIG_CHECK,
                    &render::ConfigCheckDocument::new(&loaded.root),
                )?;
            } else {
                printer.done(&format!(
                    "the configuration in {} is valid",
                    loaded.root.display()
                ));
            }
        }
        Command::Schema => printer.write_stdout(&dm_config::json_schema_text())?,
    }
    Ok(ExitStatus::Success)
}
