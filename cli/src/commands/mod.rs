//! The commands: each parses its arguments, calls the logic, and renders.

mod backup;
mod bench;
mod call;
mod chaos;
mod ci;
mod completions;
mod config;
mod dev;
mod dlq;
mod doctor;
mod down;
mod engine;
mod events;
mod exec;
mod golden;
mod images;
mod inbox;
mod logs;
mod open;
mod outbox;
mod psql;
mod rebuild;
mod reconcile;
mod reset;
mod restart;
mod schema;
mod seed;
mod smoke;
mod status;
mod token;
mod up;

use std::path::PathBuf;

use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use dm_config::overrides;
use dm_core::error::{ExitStatus, Result};
use dm_operations::session::{InstanceSelection, RunningComponents};
use dm_terminal::{OutputFlags, Printer};
use tokio_util::sync::CancellationToken;

use crate::arguments::repeatable;
use crate::context::Context;
use crate::help;

/// Run the Dunder Mifflin demo stack on this machine.
#[derive(Debug, Parser)]
#[command(
    name = "dm",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
#[command(
    after_help = "Exit codes: 0 ok, 1 findings, 2 usage, 3 engine, 4 component, 5 timeout, 130 ^C"
)]
struct CommandLine {
    #[command(flatten)]
    globals: GlobalArgs,
    #[command(flatten)]
    flags: OutputFlags,
    #[command(subcommand)]
    command: Command,
}

/// The global options.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = help::GLOBAL_OPTIONS)]
struct GlobalArgs {
    /// Name of the stack instance.
    ///
    /// Each instance is a separate stack with its own containers, volumes, network and ports.
    #[arg(
        long,
        global = true,
        env = "DM_INSTANCE",
        default_value = "default",
        value_name = "NAME"
    )]
    instance: String,
    /// Project directory, which contains dm.toml.
    ///
    /// The default is the current directory, or the nearest of its parents, with a dm.toml.
    #[arg(long, global = true, env = "DM_PROJECT_DIR", value_name = "DIR")]
    project_directory: Option<PathBuf>,
    /// Override a key of dm.toml, e.g. `--set postgres.port=5433`; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// The id of the option that every level accepts repeatedly.
const SET_OPTION: &str = "set";

/// The command line of `dm`.
#[derive(Debug)]
pub struct Cli(CommandLine);

impl CommandFactory for Cli {
    fn command() -> clap::Command {
        repeatable::add_to_subcommands(help::arrange_help(CommandLine::command()), SET_OPTION)
    }

    fn command_for_update() -> clap::Command {
        repeatable::add_to_subcommands(
            help::arrange_help(CommandLine::command_for_update()),
            SET_OPTION,
        )
    }
}

impl FromArgMatches for Cli {
    fn from_arg_matches(matches: &ArgMatches) -> std::result::Result<Self, clap::Error> {
        let mut line = CommandLine::from_arg_matches(matches)?;
        line.globals.set = repeatable::collect_values(matches, SET_OPTION);
        Ok(Self(line))
    }

    fn update_from_arg_matches(
        &mut self,
        matches: &ArgMatches,
    ) -> std::result::Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)?;
        self.0.globals.set = repeatable::collect_values(matches, SET_OPTION);
        Ok(())
    }
}

impl Parser for Cli {}

// The arguments of a command contain its help. A new command needs a group in
// `help::COMMAND_GROUPS`.
#[derive(Debug, Subcommand)]
enum Command {
    Up(up::Arguments),
    Down(down::Arguments),
    Status(status::Arguments),
    Logs(logs::Arguments),
    Restart(restart::Arguments),
    Rebuild(rebuild::Arguments),
    Dev(dev::Arguments),
    Reset(reset::Arguments),
    Seed(seed::Arguments),
    Schema(schema::Arguments),
    Backup(backup::Arguments),
    Outbox(outbox::Arguments),
    Inbox(inbox::Arguments),
    Events(events::Arguments),
    Dlq(dlq::Arguments),
    Reconcile(reconcile::Arguments),
    Chaos(chaos::Arguments),
    Smoke(smoke::Arguments),
    Ci(ci::Arguments),
    Exec(exec::Arguments),
    Psql(psql::Arguments),
    Token(token::Arguments),
    Call(call::Arguments),
    Open(open::Arguments),
    Engine(engine::Arguments),
    Images(images::Arguments),
    Golden(golden::Arguments),
    Doctor(doctor::Arguments),
    Config(config::Arguments),
    Bench(bench::Arguments),
    Completions(completions::Arguments),
}

impl Cli {
    /// Returns the output flags.
    #[must_use]
    pub(crate) fn flags(&self) -> &OutputFlags {
        &self.0.flags
    }

    /// Returns whether the command ends by itself after the first interrupt.
    #[must_use]
    pub(crate) fn is_graceful(&self) -> bool {
        match &self.0.command {
            Command::Dlq(arguments) => arguments.is_graceful(),
            Command::Backup(arguments) => arguments.is_graceful(),
            Command::Up(_)
            | Command::Down(_)
            | Command::Restart(_)
            | Command::Rebuild(_)
            | Command::Dev(_)
            | Command::Reset(_)
            | Command::Schema(_)
            | Command::Seed(_)
            | Command::Smoke(_)
            | Command::Ci(_)
            | Command::Exec(_)
            | Command::Psql(_)
            | Command::Golden(_)
            | Command::Images(_)
            | Command::Engine(_)
            | Command::Chaos(_)
            | Command::Bench(_) => true,
            _ => false,
        }
    }

    /// Returns whether the command may leave components stopped.
    fn may_leave_stopped(&self) -> bool {
        matches!(
            &self.0.command,
            Command::Up(_)
                | Command::Restart(_)
                | Command::Rebuild(_)
                | Command::Reset(_)
                | Command::Backup(_)
                | Command::Seed(_)
                | Command::Golden(_)
        )
    }

    /// Runs the command.
    ///
    /// # Errors
    /// Returns the error of the command, which the caller prints.
    pub(crate) async fn run(
        self,
        printer: &Printer,
        interrupt: &CancellationToken,
    ) -> Result<ExitStatus> {
        let globals = self.0.globals.clone();
        let selection = InstanceSelection {
            instance: globals.instance,
            project_directory: globals.project_directory,
            overrides: overrides::with_inherited(globals.set)?,
        };
        let context = Context::new(printer.clone(), selection, interrupt.clone());
        let session = &context.session;
        let running = if self.may_leave_stopped() {
            RunningComponents::capture(session).await
        } else {
            None
        };
        let result = self.dispatch(&context).await;
        if let Some(running) = running
            && !matches!(result, Ok(ExitStatus::Success | ExitStatus::Findings))
        {
            let stopped = running.stopped_since().await;
            if !stopped.is_empty() {
                printer.warn(&format!(
                    "left stopped: {}; start with: {}",
                    stopped.join(", "),
                    session.dm_command("up")
                ));
            }
        }
        result.map_err(|error| session.complete_error(error))
    }

    async fn dispatch(self, context: &Context) -> Result<ExitStatus> {
        match self.0.command {
            Command::Up(arguments) => up::run(context, arguments).await,
            Command::Down(arguments) => down::run(context, arguments).await,
            Command::Status(arguments) => status::run(context, arguments).await,
            Command::Logs(arguments) => logs::run(context, arguments).await,
            Command::Restart(arguments) => restart::run(context, arguments).await,
            Command::Rebuild(arguments) => rebuild::run(context, arguments).await,
            Command::Dev(arguments) => dev::run(context, arguments).await,
            Command::Reset(arguments) => reset::run(context, arguments).await,
            Command::Seed(arguments) => seed::run(context, arguments).await,
            Command::Schema(arguments) => schema::run(context, arguments).await,
            Command::Backup(arguments) => backup::run(context, arguments).await,
            Command::Outbox(arguments) => outbox::run(context, arguments).await,
            Command::Inbox(arguments) => inbox::run(context, arguments).await,
            Command::Events(arguments) => events::run(context, arguments).await,
            Command::Reconcile(arguments) => reconcile::run(context, arguments).await,
            Command::Dlq(arguments) => dlq::run(context, arguments).await,
            Command::Chaos(arguments) => chaos::run(context, arguments).await,
            Command::Smoke(arguments) => smoke::run(context, arguments).await,
            Command::Ci(arguments) => ci::run(context, arguments).await,
            Command::Exec(arguments) => exec::run(context, arguments).await,
            Command::Psql(arguments) => psql::run(context, arguments).await,
            Command::Token(arguments) => token::run(context, arguments).await,
            Command::Call(arguments) => call::run(context, arguments).await,
            Command::Open(arguments) => open::run(context, arguments).await,
            Command::Engine(arguments) => engine::run(context, arguments).await,
            Command::Images(arguments) => images::run(context, arguments).await,
            Command::Golden(arguments) => golden::run(context, arguments).await,
            Command::Doctor(arguments) => doctor::run(context, arguments).await,
            Command::Config(arguments) => config::run(context, arguments),
            Command::Bench(arguments) => bench::run(context, self.0.flags, arguments).await,
            Command::Completions(arguments) => completions::run(context, &arguments),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::Cli;

    #[test]
    fn command_line_passes_clap_debug_assert() {
        Cli::command().debug_assert();
    }

    #[test]
    fn numbers_out_of_range_are_refused_with_the_range() {
        for (command, options) in [
            (&["outbox", "ls"][..], &["--limit"][..]),
            (&["outbox", "stats"], &["--max-pending", "--max-refused"]),
            (&["inbox", "ls"], &["--limit"]),
            (
                &["inbox", "stats"],
                &["--max-ready", "--max-retrying", "--max-dead"],
            ),
            (&["events", "tail"], &["--limit"]),
            (&["dlq", "history"], &["--limit"]),
            (
                &["dlq", "replay"],
                &["--limit", "--rate", "--max-in-flight", "--max-rounds"],
            ),
            (&["logs"], &["--tail"]),
            (
                &["backup", "prune"],
                &["--keep", "--keep-safety", "--keep-manual"],
            ),
            (&["smoke"], &["--repeat"]),
            (&["ci"], &["--repeat"]),
            (&["seed"], &["--seed-number", "--days"]),
            (&["bench", "up"], &["--rounds"]),
            (&["bench", "data"], &["--rounds"]),
        ] {
            for option in options {
                for value in ["-1", "99999999999999999999", "1.5", "many"] {
                    let words = ["dm"].iter().chain(command).chain([option, &value]);
                    let error = Cli::try_parse_from(words).unwrap_err().to_string();
                    let expected = "must be a whole number from ";
                    assert!(error.contains(expected), "{option} {value}: {error}");
                }
            }
        }
    }

    #[test]
    fn limit_of_zero_is_refused() {
        for command in [
            ["outbox", "ls"],
            ["inbox", "ls"],
            ["events", "tail"],
            ["dlq", "history"],
            ["dlq", "replay"],
        ] {
            let words = ["dm"].iter().chain(&command).chain(&["--limit", "0"]);
            let error = Cli::try_parse_from(words).unwrap_err().to_string();
            assert!(error.contains("a whole number from 1 to "), "{error}");
        }
    }

    #[test]
    fn free_text_options_accept_leading_dashes() {
        for line in [
            &["psql", "--command", "-- how many\nSELECT 1"][..],
            &["psql", "-c", "--"],
            &["psql", "orders", "-c", "-1", "--as-service"],
            &["exec", "postgres", "echo", "--version"],
            &["dlq", "park", "--note", "- see the ticket"],
            &["dlq", "ls", "--id", "-evt"],
            &["outbox", "ls", "--aggregate", "--odd"],
            &["events", "tail", "--aggregate", "--odd"],
            &["token", "mscott", "--password", "--x"],
            &["call", "/orders", "--password", "--x", "--data", "-1"],
            &["call", "POST", "/orders", "--data", "-"],
            &["call", "/orders", "--header", "-x: y"],
            &["seed", "--password", "-"],
            &["smoke", "--password", "-x"],
            &["bench", "services", "--password", "-x"],
            &["status", "--set", "postgres.password=--x"],
        ] {
            let words = ["dm"].iter().chain(line);
            let parsed = Cli::try_parse_from(words);
            assert!(parsed.is_ok(), "{line:?}: {}", parsed.unwrap_err());
        }
    }
}
