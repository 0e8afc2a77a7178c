//! `dm dev`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use dm_core::error::{Error, Exit, Result};
use dm_host::consent::Consent;
use tokio::time::Instant;

use super::context::{Context, Project};
use super::rebuild::{Rebuild, check_services, round};
use crate::dev::{Changes, SourceState, Watch};
use crate::views;

/// Rebuild and restart at every change of the sources.
///
/// Watches what the services are made of (services, migrations, fixtures,
/// Cargo.toml, Cargo.lock) and dm.toml. What the compiler finds is shown, and what
/// ran before keeps running until it compiles again. Ends with Ctrl-C; the stack
/// stays up.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// Only these services and what they need.
    #[arg(long, value_name = "SERVICE", value_delimiter = ',')]
    only: Vec<String>,
    /// Install and start what is missing on this machine without asking.
    #[arg(long, short)]
    yes: bool,
    /// How long the components may take to become ready after a change, and how long to wait
    /// for another command on the instance, e.g. `90s`
    /// [default: timeouts.wait, and 30 minutes].
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    wait_timeout: Option<Duration>,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let project = context.project()?;
    check_services(&project, &arguments.only)?;
    let root = project.loaded.root.clone();
    let consent = context.consent(arguments.yes);
    // From before the first build on, so that no change is missed.
    let mut watch = Watch::new(&root)?;
    let mut built = SourceState::read(&root)?;
    bring(
        context,
        &arguments,
        project,
        consent.clone(),
        Instant::now(),
    )
    .await?;
    while let Some((changed, began)) = next_change(context, &mut watch, &root, &mut built).await? {
        context.printer.note(&format!("{changed} changed"));
        let round = async {
            let project = context.project()?;
            bring(context, &arguments, project, consent.clone(), began).await
        };
        // A wrong line in dm.toml, an engine that went away: the next change may
        // be its remedy.
        if let Err(error) = round.await {
            tell(context, &error)?;
        }
    }
    context
        .printer
        .note("no longer watching; the stack keeps running");
    Ok(Exit::Success)
}

/// Tells of a failure that ends nothing.
fn tell(context: &Context, error: &Error) -> Result<()> {
    let printer = &context.printer;
    if printer.is_json() {
        let document = dm_terminal::report::document(error);
        printer.data(&dm_terminal::json::line(
            dm_terminal::report::SCHEMA,
            &document,
        )?)?;
    } else {
        printer.message(&dm_terminal::report::text(error, &printer.err()));
    }
    Ok(())
}

/// Waits until the sources are others than those that were built, and takes them for
/// built. Answers what changed and when that was seen; nothing where the wait is
/// interrupted.
async fn next_change(
    context: &Context,
    watch: &mut Watch,
    root: &Path,
    built: &mut SourceState,
) -> Result<Option<(Changes, Instant)>> {
    if context.interrupt.is_cancelled() {
        return Ok(None);
    }
    context.printer.note("watching for changes; Ctrl-C ends it");
    loop {
        let changed = tokio::select! {
            () = context.interrupt.cancelled() => return Ok(None),
            changed = watch.changed() => changed?,
        };
        let seen = Instant::now();
        let now = SourceState::read(root)?;
        // A file that was written and says what it said before is no change.
        if now != *built {
            *built = now;
            return Ok(Some((changed, seen)));
        }
    }
}

/// Makes the stack what the sources and the configuration say, and tells what came
/// of it.
async fn bring(
    context: &Context,
    arguments: &Arguments,
    project: Project,
    consent: Arc<Consent>,
    began: Instant,
) -> Result<()> {
    let _guard = context
        .lock_within(&project, "dm dev", arguments.wait_timeout)
        .await?;
    let rebuild = Rebuild {
        command: "dev",
        only: &arguments.only,
        wait: arguments.wait_timeout,
    };
    let brought = rebuild.run(context, &project, consent).await?;
    if brought.outcome.interrupted {
        return Ok(());
    }
    let printer = &context.printer;
    let round = round(&brought, began.elapsed());
    if printer.is_json() {
        let line = dm_terminal::json::line(views::dev::SCHEMA, &round)?;
        printer.data(&line)?;
    } else {
        printer.data(&views::dev::render(&round, &printer.out()))?;
    }
    Ok(())
}
