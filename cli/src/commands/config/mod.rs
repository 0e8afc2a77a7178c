//! `dm config`.

mod render;

use clap::{Args, Subcommand};
use dm_core::error::{Exit, Result};

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

pub(crate) fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let printer = &context.printer;
    match arguments.command {
        Command::Show { key, reveal } => {
            let loaded = context.session.loaded()?;
            let entries = loaded.show(key.as_deref(), reveal)?;
            if printer.is_json() {
                printer.document(
                    &dm_core::document::CONFIG,
                    &render::Document::new(&loaded.root, &entries),
                )?;
            } else {
                printer.data(&render::render(&entries, &printer.out()))?;
            }
        }
        Command::Check => {
            let loaded = context.session.loaded()?;
            loaded.check_files()?;
            if printer.is_json() {
                printer.document(&dm_core::document::CONFIG_CHECK, &render::Checked::new(&loaded.root))?;
            } else {
                printer.done(&format!(
                    "the configuration in {} is valid",
                    loaded.root.display()
                ));
            }
        }
        Command::Schema => printer.data(&dm_config::schema_text())?,
    }
    Ok(Exit::Success)
}
