//! `dm up`.

mod plan;

use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use dm_config::Prepare;
use dm_core::error::{Exit, Result};
use dm_engine::Engine;
use dm_host::consent::Consent;
use dm_stack::timings::Timings;
use dm_stack::{reset, up};
use dm_terminal::Canvas;

use super::context::{Context, PortUse, Project};
use super::golden;
use super::run::{BringUp, Brought, show};
use crate::views;
use plan::PlanRow;

/// Where an instance's ports come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum PortChoice {
    /// The default instance has those of dm.toml, every other one free ones.
    #[default]
    Fixed,
    /// Free ones where those of dm.toml are taken.
    Auto,
}

/// Bring the stack up.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// Only these components, and what they need.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Show what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Install and start what is missing on this machine without asking.
    #[arg(long, short)]
    yes: bool,
    /// How long the components may take to become ready, and how long to wait for another
    /// command on the instance, e.g. `90s` [default: timeouts.wait, and 30 minutes].
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    wait_timeout: Option<Duration>,
    /// Which ports to publish.
    #[arg(long, value_enum, default_value_t)]
    ports: PortChoice,
    /// Begin with empty data even where golden images would save the time.
    #[arg(long)]
    no_golden: bool,
    /// Show what waited for what, and how long.
    #[arg(long, conflicts_with = "dry_run")]
    timings: bool,
    /// Wait until everything is ready: what `up` does anyway.
    #[arg(long, hide = true)]
    wait: bool,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let project = context.project()?;
    for warning in project.config().rabbitmq.policies.warnings() {
        context.printer.warn(&warning);
    }
    let consent = context.consent(arguments.yes);
    if arguments.dry_run {
        return dry_run(context, &project, &arguments, consent).await;
    }
    let _guard = context
        .lock_within(&project, "dm up", arguments.wait_timeout)
        .await?;
    let engine = context.engine_or_start(&project, &consent).await?;
    warn_of_no_golden(context, &project, &engine, &arguments).await?;
    let run = BringUp {
        command: "up",
        project: &project,
        engine,
        ports: PortUse::Allocate {
            free: arguments.ports == PortChoice::Auto,
            only: &arguments.only,
        },
        consent,
        request: request(&project, &arguments),
        bundle: None,
    };
    let brought = run.run(context).await?.complete()?;
    if arguments.timings {
        match Timings::of(&brought.recording.events) {
            Some(timings) => context
                .printer
                .message(&views::timings::render(&timings, &context.printer.err())),
            None => context
                .printer
                .warn("--timings has no effect: nothing was waited for"),
        }
    }
    show(context, &brought).await?;
    prepare_golden(context, &project, &brought, &arguments).await?;
    Ok(Exit::Success)
}

/// Says so where `--no-golden` comes too late.
async fn warn_of_no_golden(
    context: &Context,
    project: &Project,
    engine: &Engine,
    arguments: &Arguments,
) -> Result<()> {
    if !arguments.no_golden {
        return Ok(());
    }
    let there = engine.volumes(&project.instance.filter()).await?;
    let components = project.components(Some(engine));
    let golden = components.iter().filter(|it| it.golden().is_some());
    let kept: Vec<&str> = golden
        .map(|component| component.name())
        .filter(|name| there.contains(&project.instance.volume(name)))
        .collect();
    if let Some(warning) = too_late(&kept, &context.command("down --volumes")) {
        context.printer.warn(&warning);
    }
    Ok(())
}

/// That `--no-golden` changes nothing for components whose data is there. `removing` is the
/// command that removes it.
fn too_late(kept: &[&str], removing: &str) -> Option<String> {
    (!kept.is_empty()).then(|| {
        format!(
            "--no-golden has no effect on {}: the data is there already; for empty data, \
             remove it first: {removing}",
            kept.join(", ")
        )
    })
}

fn request(project: &Project, arguments: &Arguments) -> up::Request {
    up::Request {
        only: arguments.only.clone(),
        wait: arguments
            .wait_timeout
            .unwrap_or_else(|| project.config().timeouts.wait.get()),
        golden: if arguments.no_golden {
            up::GoldenUse::Ignore
        } else {
            up::GoldenUse::Begin
        },
        kept: up::Kept::Ask,
    }
}

/// Shows the plan. Changes nothing, neither here nor in the engine.
async fn dry_run(
    context: &Context,
    project: &Project,
    arguments: &Arguments,
    consent: Arc<Consent>,
) -> Result<Exit> {
    let engine = context.engine(project.config()).await?;
    warn_of_no_golden(context, project, &engine, arguments).await?;
    let quiet = Arc::new(dm_images::Silent);
    let (stack, containers) = context
        .stack(project, engine, PortUse::Existing, quiet, consent)
        .await?;
    if reset::is_unfinished(&stack).await? {
        let warning = "a reset was cut short: `dm up` would first throw the rest of the data away";
        context.printer.warn(warning);
    }
    let plan = up::prepare(&stack, request(project, arguments), containers).await?;
    let images = plan.images.iter().map(|component| PlanRow {
        node: format!("{component} image"),
        action: "get".into(),
        reason: Some("it is not on this engine".into()),
    });
    let steps = plan.steps.iter().map(|step| PlanRow {
        node: step.component.clone(),
        action: step.action.as_str().into(),
        reason: step.reason.clone(),
    });
    let rows: Vec<PlanRow> = images.chain(steps).collect();
    if context.printer.is_json() {
        context
            .printer
            .document(plan::SCHEMA, &plan::Document::new(&rows))?;
    } else {
        let canvas: Canvas = context.printer.out();
        context.printer.data(&plan::render(&rows, &canvas))?;
    }
    Ok(Exit::Success)
}

/// Sees to it that the next fresh start begins with golden images.
async fn prepare_golden(
    context: &Context,
    project: &Project,
    brought: &Brought,
    arguments: &Arguments,
) -> Result<()> {
    if arguments.no_golden || !arguments.only.is_empty() {
        return Ok(());
    }
    match project.config().golden.prepare {
        Prepare::Off => Ok(()),
        _ if brought.has_golden().await? => Ok(()),
        Prepare::Foreground => golden::make(context).await,
        // What is gained by the next start is lost by a job that has none.
        Prepare::Background if dm_host::is_ci() => Ok(()),
        Prepare::Background => {
            // The stack is up: all that is lost is the next start's speed.
            if let Err(error) = golden::make_in_background(context, project) {
                let why = error.chain().join(": ");
                let warning = format!("{why}; prepare golden images yourself: dm golden make");
                context.printer.warn(&warning);
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_golden_is_about_data_that_is_not_there_yet() {
        assert_eq!(too_late(&[], ""), None);
        let told = too_late(&["postgres", "rabbitmq"], "dm down --volumes").unwrap();
        assert!(
            told.starts_with("--no-golden has no effect on postgres, rabbitmq: "),
            "{told}"
        );
    }
}
