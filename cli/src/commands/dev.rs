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
    /// The time starts when all images are present. If set, the option also limits the wait for
    /// the instance lock, which is 30 min otherwise.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    wait_timeout: Option<Duration>,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<ExitStatus> {
    let (session, printer) = (&context.session, &context.printer);
    let project = session.project()?;
    project.check_services(&arguments.only)?;
    let consent = session.consent(arguments.yes);
    // Started before the first build, so that no change is missed.
    let mut sources = SourceWatcher::start(&project.loaded.root)?;
    let started_at = Instant::now();
    rebuild_once(context, &arguments, &project, consent.clone(), started_at).await?;
    while !session.interrupt.is_cancelled() {
        printer.note("watching for changes; Ctrl-C ends it");
        let Some((changed, changed_at)) = sources.wait_for_change(&session.interrupt).await? else {
            break;
        };
        printer.note(&format!("{changed} changed"));
        let rebuild = async {
            let project = session.project()?;
            rebuild_once(context, &arguments, &project, consent.clone(), changed_at).await
        };
        // An invalid line in dm.toml or an engine that stopped: the next change may fix it.
        if let Err(error) = rebuild.await {
            print_failure(context, error)?;
        }
    }
    printer.note("no longer watching; the stack keeps running");
    Ok(ExitStatus::Success)
}

/// Prints an error after which the watch continues.
fn print_failure(context: &Context, error: Error) -> Result<()> {
    let printer = &context.printer;
    let error = context.session.complete_error(error);
    if printer.is_json() {
        let document = dm_terminal::error_report::to_document(&error);
        printer.write_stdout(&dm_terminal::json::format_line(
            &dm_core::document::ERROR,
            &document,
        )?)?;
    } else {
        printer.write_stderr(&dm_terminal::error_report::render_text(
            &error,
            &printer.stderr_canvas(),
        ));
    }
    Ok(())
}

/// Rebuilds the stack from the sources and the configuration, and prints the result.
async fn rebuild_once(
    context: &Context,
    arguments: &Arguments,
    project: &Project,
    consent: Arc<Consent>,
    started_at: Instant,
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
    let run = rebuild.run(session, project, consent).await?;
    if run.outcome.interrupted {
        return Ok(());
    }
    let printer = &context.printer;
    let result = RebuildResult::new(&run, started_at.elapsed());
    if printer.is_json() {
        let line = dm_terminal::json::format_line(&dm_core::document::REBUILD, &result)?;
        printer.write_stdout(&line)?;
    } else {
        printer.write_stdout(&views::rebuild::render(&result, &printer.stdout_canvas()))?;
    }
    Ok(())
}
