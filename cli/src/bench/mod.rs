//! Measures the stack, beside the same stack under docker-compose, and its services.
//!
//! Everything is paired: each round runs every subject once, one after the
//! other on the same machine, so that what slows one down slows down the
//! others too, and the figures that count are ratios within a round.

pub mod case;
pub mod compose;
mod composefile;
mod dm;
mod error;
pub mod machine;
pub mod report;
mod rounds;
pub mod services;
pub mod statistics;

use std::path::PathBuf;

use dm_components::database::Database;
use dm_config::Config;
use dm_core::error::Result;
use dm_core::instance::Instance;
use dm_images::Images;
use tokio_util::sync::CancellationToken;

pub use case::{Bound, Case, Rival};
pub use error::BenchError;
pub use report::Report;

/// The instance whose lock a bench holds; the scratch instances' names begin with it.
pub const INSTANCE: &str = "bench";

/// What is measured, and on what.
#[derive(Debug)]
pub struct Bench {
    /// The engine.
    pub engine: dm_engine::Engine,
    /// The stack's images.
    pub images: Images,
    /// Its configuration.
    pub config: Config,
    /// The database that both sides set up.
    pub database: Database,
    /// The instance [`INSTANCE`] of the project.
    pub instance: Instance,
    /// What `--set` gave to this call, for the runs of `dm`.
    pub overrides: Vec<String>,
    /// This program.
    pub program: PathBuf,
    /// docker-compose, where something is held against it.
    pub compose: Option<compose::Program>,
    /// Where the generated files go.
    pub folder: PathBuf,
}

/// What is asked of a bench.
#[derive(Debug, Clone)]
pub struct Request {
    /// The cases, in the order in which they are shown.
    pub cases: Vec<Case>,
    /// How many rounds.
    pub runs: u32,
}

impl Bench {
    /// Runs all rounds and works out the report. `told` gets a sentence at each
    /// step. Whatever happens, the scratch stacks are removed at the end.
    ///
    /// # Errors
    /// A run that fails, or an interrupt: figures of a part would mislead.
    pub async fn run(
        &self,
        request: &Request,
        interrupt: &CancellationToken,
        told: &(dyn Fn(&str) + Sync),
    ) -> Result<Report> {
        let components = dm_components::infrastructure(&self.config, &self.instance.root);
        rounds::run(self, &components, request, interrupt, told).await
    }

    /// Measures the services on a scratch stack, which is removed at the end, whatever
    /// happens. `told` gets a sentence at each step.
    ///
    /// # Errors
    /// A run or request that fails, or an interrupt.
    pub async fn services(
        &self,
        request: &services::Request,
        interrupt: &CancellationToken,
        told: &(dyn Fn(&str) + Sync),
    ) -> Result<services::Report> {
        services::run(self, request, interrupt, told).await
    }
}
