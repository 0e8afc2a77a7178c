//! `dm rebuild`.

use std::time::Duration;

use clap::Args;
use dm_core::error::{Exit, Result};
use dm_operations::rebuild::{Rebuild, Round};
use tokio::time::Instant;

use crate::context::Context;
use crate::views::dev;

/// Compile the services and restart those whose binary changed.
///
/// Everything is compiled before anything is stopped: where the sources don't
/// compile, what ran before keeps running.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// Restart only these services, and bring up what they need; all if none is named.
    #[arg(value_name = "SERVICE")]
    names: Vec<String>,
    /// Install and start what is missing on this machine without asking.
    #[arg(long, short)]
    yes: bool,
    /// How long the components may take to become ready, and how long to wait for another
    /// command on the instance, e.g. `90s` [default: timeouts.wait, and 30 minutes].
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    wait_timeout: Option<Duration>,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let began = Instant::now();
    let session = &context.session;
    let project = session.project()?;
    project.check_services(&arguments.names)?;
    let consent = session.consent(arguments.yes);
    let _guard = session
        .lock_within(&project, "dm rebuild", arguments.wait_timeout)
        .await?;
    let rebuild = Rebuild {
        command: "rebuild",
        only: &arguments.names,
        wait: arguments.wait_timeout,
    };
    let rebuilt = rebuild.run(session, &project, consent).await?;
    let round = Round::of(&rebuilt.complete()?, began.elapsed());
    context
        .printer
        .result(dev::SCHEMA, &round, |canvas| dev::render(&round, canvas))?;
    Ok(Exit::Success)
}
