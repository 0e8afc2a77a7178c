//! `dm rebuild`.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use dm_core::error::{Exit, Result};
use dm_host::consent::Consent;
use dm_stack::executor::Emitter;
use dm_stack::{Stack, StackError, compile, up};
use tokio::time::Instant;

use super::context::{Context, PortUse, Project};
use super::run::{BringUp, Brought};
use crate::views::dev::{self, Round};

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
    let project = context.project()?;
    check_services(&project, &arguments.names)?;
    let consent = context.consent(arguments.yes);
    let _guard = context
        .lock_within(&project, "dm rebuild", arguments.wait_timeout)
        .await?;
    let rebuild = Rebuild {
        command: "rebuild",
        only: &arguments.names,
        wait: arguments.wait_timeout,
    };
    let brought = rebuild.run(context, &project, consent).await?.complete()?;
    let round = round(&brought, began.elapsed());
    let printer = &context.printer;
    if printer.is_json() {
        printer.document(dev::SCHEMA, &round)?;
    } else {
        printer.data(&dev::render(&round, &printer.out()))?;
    }
    Ok(Exit::Success)
}

/// Checks that each name is a service's.
///
/// # Errors
/// [`StackError::UnknownService`] with the nearest name.
pub fn check_services(project: &Project, names: &[String]) -> Result<()> {
    let known = project.config().services.all().map(|(name, _)| name);
    if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(StackError::UnknownService {
            name: name.clone(),
            known: known.map(str::to_owned).to_vec(),
        }
        .into());
    }
    Ok(())
}

/// A run that compiles first, and then restarts what changed.
pub struct Rebuild<'a> {
    /// What was asked for.
    pub command: &'static str,
    /// Only these and what they need; all where empty.
    pub only: &'a [String],
    /// How long components may take; the configuration's time where none is given.
    pub wait: Option<Duration>,
}

impl Rebuild<'_> {
    /// Does it. The caller has the instance's lock.
    ///
    /// # Errors
    /// What stops the run before its first node; what fails in a node is in the
    /// outcome.
    pub async fn run(
        &self,
        context: &Context,
        project: &Project,
        consent: Arc<Consent>,
    ) -> Result<Brought> {
        let wait = self
            .wait
            .unwrap_or_else(|| project.config().timeouts.wait.get());
        let run = BringUp {
            command: self.command,
            project,
            engine: context.engine_or_start(project, &consent).await?,
            ports: PortUse::Allocate {
                free: false,
                only: self.only,
            },
            consent,
            request: up::Request {
                only: self.only.to_vec(),
                wait,
                golden: up::GoldenUse::Begin,
                kept: up::Kept::Leave,
            },
            bundle: None,
        };
        let compile = async |stack: &Arc<Stack>, emitter: &Emitter| {
            let compiled = compile::services(stack, emitter, &context.interrupt).await?;
            Ok(Some(compiled))
        };
        run.after(context, compile).await
    }
}

/// What became of a rebuild.
#[must_use]
pub fn round(brought: &Brought, took: Duration) -> Round {
    let failures = &brought.outcome.failures;
    Round {
        ok: brought.outcome.ok(),
        restarted: brought.recording.brought_up(),
        compile_errors: failures.iter().map(|it| it.source_errors.len()).sum(),
        failed: failures.iter().map(|it| it.name.clone()).collect(),
        took,
    }
}
