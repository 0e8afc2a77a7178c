//! `dm config`.

mod render;

use clap::{Args, Subcommand};
use dm_core::error::{Exit, Result};

use crate::context::Context;

/// Show and check the configuration.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Show every effective value and where it comes from.
    Show {
        /// Only this key or section, e.g. `postgres.port` or `postgres`.
        key: Option<String>,
        /// Show passwords in full.
        #[arg(long)]
        reveal: bool,
    },
    /// Check dm.toml, dm.local.toml, the variables and the files they name.
    Check,
    /// Print the JSON Schema of dm.toml.
    Schema,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let printer = &context.printer;
    match arguments.command {
        Command::Show { key, reveal } => {
            let loaded = context.session.loaded()?;
            let entries = loaded.show(key.as_deref(), reveal)?;
            if printer.is_json() {
                printer.document(
                    render::SCHEMA,
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
                printer.document(render::CHECK_SCHEMA, &render::Checked::new(&loaded.root))?;
            } else {
                printer.done(&format!(
                    "the configuration in {} is right",
                    loaded.root.display()
                ));
            }
        }
        Command::Schema => printer.data(&dm_config::schema_text())?,
    }
    Ok(Exit::Success)
}
