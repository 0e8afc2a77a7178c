//! `dm reset`.

use std::sync::Arc;

use clap::Args;
use dm_core::error::{Coded, Exit, Result};
use dm_seed::SeedFile;
use dm_stack::executor::Emitter;
use dm_stack::{Stack, reset, up};
use thiserror::Error;

use super::context::{Context, PortUse, Project};
use super::run::{BringUp, show};
use super::seed::Scale;
use super::{backup, seed};

/// Throw all data of the instance away and bring it up fresh.
///
/// With a backup, that is restored and checked beside the data that there is, which goes
/// when the backup takes its place: a backup that can't be restored changes nothing.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// Don't ask.
    #[arg(long, short)]
    yes: bool,
    /// What to begin with: the scale of a seed, as `dm seed` takes it, or the id of
    /// a backup, or `latest`.
    #[arg(long, value_name = "SEED|BACKUP")]
    to: Option<String>,
}

/// The data is still there.
#[derive(Debug, Error)]
#[error("a reset removes all data of instance `{instance}`, and that was not confirmed")]
struct NotConfirmed {
    instance: String,
}

impl Coded for NotConfirmed {
    fn code(&self) -> &'static str {
        "not-confirmed"
    }

    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn next(&self) -> Vec<String> {
        vec!["call the same command again with --yes".into()]
    }
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let project = context.project()?;
    let to = arguments.to.as_deref();
    // What it begins with is found, and checked, while there still is what was there.
    let seed = to.and_then(|to| Scale::parse(to).ok());
    let set = match to {
        Some(id) if seed.is_none() => {
            let set = backup::store(&project, None).find(id)?;
            backup::check(&project, &set, false)?;
            let keys = backup::identities(&project, None)?;
            set.open(&keys)?;
            Some((set, keys))
        }
        _ => None,
    };
    if seed.is_some() {
        SeedFile::read(&project.loaded.root)?;
    }
    if let Some((set, _)) = &set
        && !arguments.yes
        && context.printer.can_ask()
    {
        backup::compare(context, &project, set).await?;
    }
    confirm(context, &project, arguments.yes)?;
    // One lock for all of it: whatever waits must not come between the reset and what the
    // instance begins with.
    let _guard = context.lock(&project, "dm reset").await?;
    if let Some((set, keys)) = set {
        return backup::begin(context, &project, &set.open(&keys)?).await;
    }
    fresh(context, &project, arguments.yes).await?;
    match seed {
        Some(scale) => seed::fill(context, &seed::Arguments::of(scale)).await,
        None => Ok(Exit::Success),
    }
}

/// Asks whether the data may go.
///
/// # Errors
/// Nobody says so.
pub(super) fn confirm(context: &Context, project: &Project, yes: bool) -> Result<()> {
    let instance = project.instance.name.clone();
    let question = format!("remove all data of instance `{instance}` and start fresh?");
    let confirmed = yes || (context.printer.can_ask() && context.printer.confirm(&question)?);
    if !confirmed {
        return Err(NotConfirmed { instance }.into());
    }
    Ok(())
}

/// Throws the data away and brings the instance up fresh. The caller has the instance's
/// lock.
///
/// # Errors
/// The engine fails, or a component does.
pub(super) async fn fresh(context: &Context, project: &Project, yes: bool) -> Result<()> {
    let run = BringUp {
        command: "reset",
        project,
        engine: context.engine(project.config()).await?,
        ports: PortUse::Existing,
        consent: context.consent(yes),
        request: up::Request {
            only: Vec::new(),
            wait: project.config().timeouts.wait.get(),
            golden: up::GoldenUse::Begin,
            kept: up::Kept::Ask,
        },
        bundle: None,
    };
    let remove = async |stack: &Arc<Stack>, emitter: &Emitter| {
        let cleared = reset::clear(stack, emitter, &context.interrupt).await?;
        Ok(Some(cleared))
    };
    let brought = run.after(context, remove).await?.complete()?;
    show(context, &brought).await
}
