//! `dm dev`.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use dm_core::error::{Error, ExitStatus, Result};
use dm_host::consent::Consent;
use dm_operations::Project;
use dm_operations::dev::SourceWatcher;
use dm_operations::rebuild::{Rebuild, RebuildResult};
use tokio::time::Instant;

use crate::context::Context;
use crate::views;

/// Rebuild and restart services when their sources change.
///
/// Watches the sources of the services (services, migrations, fixtures, Cargo.toml, Cargo.lock)
/// and dm.toml. If the sources do not compile, the errors are shown and the previous version
/// keeps running. Press Ctrl-C to stop watching; the stack keeps running.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Examples:
  dm dev
  dm dev --only order,inventory")]
pub(crate) struct Arguments {
    /// Run only these services and their dependencies, separated by commas.
    #[arg(long, value_name = "SERVICE", value_delimiter = ',')]
    only: Vec<String>,
    /// Install and start missing software on this machine without asking.
    #[arg(long, short)]
    yes: bool,
    /// Time limit for the components to become ready, e.g. `90s` [default: timeouts.wait].
    ///
    /// The time starts when all images are present. The same limit applies to the wait for
    /// another command that holds the lock of the instance (30 minutes by default).
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    wait_timeout: Option<Duration>,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<ExitStatus> {
    let (session, printer) = (&context.session, &context.printer);
    let project = session.project()?;
    project.check_services(&arguments.only)?;
    let consent = session.consent(arguments.yes);
    // From before the first build on, so that no change is missed.
    let mut sources = SourceWatcher::start(&project.loaded.root)?;
    let began = Instant::now();
    rebuild_once(context, &arguments, &project, consent.clone(), began).await?;
    while !session.interrupt.is_cancelled() {
        printer.note("watching for changes; Ctrl-C ends it");
        let Some((changed, began)) = sources.wait_for_change(&session.interrupt).await? else {
            break;
        };
        printer.note(&format!("{changed} changed"));
        let round = async {
            let project = session.project()?;
            rebuild_once(context, &arguments, &project, consent.clone(), began).await
        };
        // A wrong line in dm.toml, an engine that went away: the next change may
        // be its remedy.
        if let Err(error) = round.await {
            print_failure(context, &error)?;
        }
    }
    printer.note("no longer watching; the stack keeps running");
    Ok(ExitStatus::Success)
}

/// Tells of a failure that ends nothing.
fn print_failure(context: &Context, error: &Error) -> Result<()> {
    let printer = &context.printer;
    if printer.is_json() {
        let document = dm_terminal::error_report::to_document(error);
        printer.write_stdout(&dm_terminal::json::format_line(
            &dm_core::document::ERROR,
            &document,
        )?)?;
    } else {
        printer.write_stderr(&dm_terminal::error_report::render_text(
            error,
            &printer.stderr_canvas(),
        ));
    }
    Ok(())
}

/// Makes the stack what the sources and the configuration say, and shows what came
/// of it.
async fn rebuild_once(
    context: &Context,
    arguments: &Arguments,
    project: &Project,
    consent: Arc<Consent>,
    began: Instant,
) -> Result<()> {
    let session = &context.session;
    let _guard = session
        .lock_within(project, "dm dev", arguments.wait_timeout)
        .await?;
    let rebuild = Rebuild {
        command: "dev",
        only: &arguments.only,
        wait_timeout: arguments.wait_timeout,
    };
    let rebuilt = rebuild.run(session, project, consent).await?;
    if rebuilt.outcome.interrupted {
        return Ok(());
    }
    let printer = &context.printer;
    let round = RebuildResult::new(&rebuilt, began.elapsed());
    if printer.is_json() {
        let line = dm_terminal::json::format_line(&dm_core::document::REBUILD, &round)?;
        printer.write_stdout(&line)?;
    } else {
        printer.write_stdout(&views::rebuild::render(&round, &printer.stdout_canvas()))?;
    }
    Ok(())
}
