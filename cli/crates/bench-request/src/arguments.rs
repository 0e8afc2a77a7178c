//! The arguments of `dm bench`.

use clap::{Args, Subcommand, ValueEnum};
use dm_core::number::whole_number;
use serde::{Deserialize, Serialize};

use super::case::{DataCase, EventsCase, ServicesCase, UpCase};

/// The default number of rounds.
const DEFAULT_ROUNDS: u32 = 5;

/// Run benchmarks.
///
/// The program that measures, dm-bench, is compiled on first use. Figures are ratios of two
/// measurements in one round, wherever two things can be compared.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
Examples:
  dm bench up
  dm bench services --markdown")]
pub struct Arguments {
    /// What to measure.
    #[command(subcommand)]
    pub suite: SuiteArguments,
}

/// Cases that are measured together.
#[derive(Debug, Clone, Subcommand, Serialize, Deserialize)]
pub enum SuiteArguments {
    /// Measure starts, beside the same stack under docker-compose.
    ///
    /// Each round runs every case once, in a scratch instance that is removed afterwards. Ratios
    /// are of two measurements in one round.
    #[command(after_long_help = "\
Examples:
  dm bench up
  dm bench up --case golden,help --rounds 3
  dm bench up --markdown")]
    Up(UpArguments),
    /// Measure services: gateway, relay, orders, lists, memory, readiness.
    ///
    /// Starts a scratch instance with STOCK_RESULT_PACE_MS=0 and removes it afterwards. Ratios are
    /// of two measurements in one round.
    #[command(after_long_help = "\
Examples:
  dm bench services
  dm bench services --case orders --rounds 10")]
    Services(StackArguments<ServicesCase>),
    /// Measure dead letters, replay runs, large outboxes, recovery.
    ///
    /// Starts a scratch instance and removes it afterwards. Ratios are of two measurements in one
    /// round.
    #[command(after_long_help = "\
Examples:
  dm bench events
  dm bench events --case replay,dead-letters --rounds 3")]
    Events(StackArguments<EventsCase>),
    /// Measure seeds, backups, schema snapshots, resets.
    ///
    /// Starts a scratch instance and removes it afterwards. Seeds are compared with psql's COPY,
    /// backups with pg_dump and pg_restore, resets with fresh starts. Ratios are of two
    /// measurements in one round.
    #[command(after_long_help = "\
Examples:
  dm bench data
  dm bench data --case backup --json")]
    Data(StackArguments<DataCase>),
}

/// What every suite takes.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub struct RoundArguments {
    /// Number of rounds. Each round measures every case once.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_ROUNDS,
          value_parser = whole_number::<u32>(1..=1000), allow_negative_numbers = true)]
    pub rounds: u32,
    /// Print the figures as a Markdown table.
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
}

/// What `dm bench up` takes.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub struct UpArguments {
    /// Measure only these cases, separated by commas. Repeatable.
    #[arg(long = "case", value_enum, value_name = "NAME", value_delimiter = ',')]
    pub cases: Vec<UpCase>,
    /// The number of rounds, and the format of the result.
    #[command(flatten)]
    pub rounds: RoundArguments,
    /// Keep the generated compose files.
    #[arg(long)]
    pub keep_files: bool,
    /// Install docker-compose without asking if it is missing.
    #[arg(long, short)]
    pub yes: bool,
}

/// What a suite takes that measures a running stack.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub struct StackArguments<C: ValueEnum + Send + Sync + 'static> {
    /// Measure only these cases, separated by commas. Repeatable.
    #[arg(long = "case", value_enum, value_name = "NAME", value_delimiter = ',')]
    pub cases: Vec<C>,
    /// The number of rounds, and the format of the result.
    #[command(flatten)]
    pub rounds: RoundArguments,
    /// Password of the users who sign in.
    #[arg(
        long,
        env = "DM_TOKEN_PASSWORD",
        default_value = "password",
        hide_env_values = true,
        allow_hyphen_values = true
    )]
    pub password: String,
    /// Install and start what is missing on this machine without asking.
    #[arg(long, short)]
    pub yes: bool,
}
