//! The arguments of `dm bench`.

use clap::{Args, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

use super::case::{DataCase, EventsCase, ServicesCase, UpCase};

/// The default number of rounds.
const DEFAULT_RUNS: u32 = 5;

/// Measure, as ratios in one run.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// What to measure.
    #[command(subcommand)]
    pub suite: SuiteArguments,
}

/// Cases that are measured together.
#[derive(Debug, Clone, Subcommand, Serialize, Deserialize)]
pub enum SuiteArguments {
    /// Measure how long a start takes, beside the same stack under docker-compose.
    Up(UpArguments),
    /// Measure the services: gateway, relay, orders, memory, and the time until ready.
    ///
    /// On a scratch stack, which is removed in the end. Ratios are of two measurements in
    /// one round. Stock results are not held back.
    Services(StackArguments<ServicesCase>),
    /// Measure what dm does with events: dead letters listed and sent back, a million events
    /// looked at and accounted for, and how soon everything goes on after a server is back.
    ///
    /// On a scratch stack, which is removed in the end. Ratios are of two measurements in
    /// one round.
    Events(StackArguments<EventsCase>),
    /// Measure what dm does with data: a large past seeded beside psql's copy of the same rows,
    /// a backup beside pg_dump, the schemas read, and a reset beside a fresh start.
    ///
    /// On a scratch stack, which is removed in the end. Ratios are of two measurements in
    /// one round.
    Data(StackArguments<DataCase>),
}

/// What every suite takes.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub struct RoundArguments {
    /// How many rounds; each measures everything once.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_RUNS,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub runs: u32,
    /// Print the figures as Markdown, for a page.
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
}

/// What `dm bench up` takes.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub struct UpArguments {
    /// Only these cases.
    #[arg(long = "case", value_enum, value_name = "NAME", value_delimiter = ',')]
    pub cases: Vec<UpCase>,
    /// How often, and what is printed.
    #[command(flatten)]
    pub rounds: RoundArguments,
    /// Keep the compose files that were generated.
    #[arg(long)]
    pub keep: bool,
    /// Install docker-compose, where it is missing, without asking.
    #[arg(long, short)]
    pub yes: bool,
}

/// What a suite takes that measures on a running stack.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub struct StackArguments<C: ValueEnum + Send + Sync + 'static> {
    /// Only these cases.
    #[arg(long = "case", value_enum, value_name = "NAME", value_delimiter = ',')]
    pub cases: Vec<C>,
    /// How often, and what is printed.
    #[command(flatten)]
    pub rounds: RoundArguments,
    /// The password of the people who sign in.
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
