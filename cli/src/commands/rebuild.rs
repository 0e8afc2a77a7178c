//! `dm rebuild`.

use std::time::Duration;

use clap::Args;
use dm_core::error::{ExitStatus, Result};
use dm_operations::rebuild::{Rebuild, RebuildResult};
use tokio::time::Instant;

use crate::context::Context;
use crate::views::rebuild;

/// Compile the services and restart the changed ones.
///
/// All services are compiled before any of them is stopped. If the sources do not compile, the
/// previous version keeps running.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Examples:
  dm rebuild
  dm rebuild order inventory")]
pub(crate) struct Arguments {
    /// Services to restart; their dependencies are started [default: all services].
    #[arg(value_name = "SERVICE")]
    names: Vec<String>,
    /// Install and start missing software on this machine without asking.
    #[arg(long, short)]
    yes: bool,
    /// Time limit for the components to become ready, e.g. `90s` [default: timeouts.wait].
    ///
    /// The time starts when all images are present. If set, the option also limits the wait for
    /// the instance lock, which is 30 min otherwise.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    wait_timeout: Option<Duration>,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<ExitStatus> {
    let started_at = Instant::now();
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
        wait_timeout: arguments.wait_timeout,
    };
    let run = rebuild.run(session, &project, consent).await?;
    let result = RebuildResult::new(&run.into_result()?, started_at.elapsed());
    context
        .printer
        .print_result(&dm_core::document::REBUILD, &result, |canvas| {
            rebuild::render(&result, canvas)
        })?;
    Ok(ExitStatus::Success)
}
