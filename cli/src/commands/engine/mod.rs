//! `dm engine`.

mod render;

use clap::{Args, Subcommand};
use dm_config::InstallPolicy;
use dm_core::error::{ExitStatus, Result};
use dm_engine::{Engine, EngineSettings};
use dm_host::state::StateDir;
use dm_operations::session::{engine_consent, engine_settings, is_outside_project};
use dm_provision::daemon::ManagedDaemon;
use dm_provision::engine_setup::EngineSetup;

use crate::context::Context;

/// Find, install, start and stop the container engine.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Examples:
  dm engine status
  dm engine start --yes")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Show the engine in use, and why it was chosen.
    #[command(after_long_help = "Examples:
  dm engine status
  dm engine status --json")]
    Status,
    /// Start a container engine; install one if there is none.
    #[command(after_long_help = "Examples:
  dm engine start
  dm engine start --yes")]
    Start {
        /// Install and start the engine without asking.
        #[arg(long, short)]
        yes: bool,
    },
    /// Stop the engine that dm started, and all of its containers.
    #[command(after_long_help = "Examples:
  dm engine stop
  dm engine stop --system")]
    Stop {
        /// If dm did not start the engine, stop the Docker service of the system.
        #[arg(long)]
        system: bool,
        /// Do not prompt, e.g. for the password of sudo.
        #[arg(long, short)]
        yes: bool,
    },
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<ExitStatus> {
    // An engine can be managed without a project.
    let (settings, install) = match context.session.load_config() {
        Ok(loaded) => (
            engine_settings(&loaded.config),
            loaded.config.engine.install,
        ),
        Err(error) if is_outside_project(&error) => (EngineSettings::default(), InstallPolicy::Ask),
        Err(error) => return Err(error),
    };
    let state = StateDir::open()?;
    let printer = context.printer.clone();
    let progress = move |line: &str| printer.note(line);
    let setup = |consent| EngineSetup {
        settings: &settings,
        consent,
        state: &state,
        cancel: &context.session.interrupt,
        progress: &progress,
    };
    match arguments.command {
        Command::Status => {
            let engine = Engine::connect(&settings).await?;
            let daemon = ManagedDaemon::new(state.clone()).running()?;
            let info = engine.info().await?;
            let report = render::EngineReport::new(&engine, info, daemon.as_ref());
            if context.printer.is_json() {
                context
                    .printer
                    .print_document(&dm_core::document::ENGINE, &report)?;
            } else {
                context
                    .printer
                    .write_stdout(&render::render(&report, &context.printer.stdout_canvas()))?;
            }
        }
        Command::Start { yes } => {
            let consent = engine_consent(install, context.session.consent(yes));
            let (engine, outcome) = setup(&consent).ensure_engine().await?;
            for note in &outcome.notes {
                context.printer.note(note);
            }
            context
                .printer
                .done(&render::start_sentence(&engine, &outcome));
        }
        Command::Stop { system, yes } => {
            let consent = context.session.consent(yes);
            let sentence = if setup(&consent).stop_engine(system).await? {
                "the engine is stopped"
            } else {
                "no engine runs"
            };
            context.printer.done(sentence);
        }
    }
    Ok(ExitStatus::Success)
}
