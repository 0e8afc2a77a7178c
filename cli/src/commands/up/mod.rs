//! `dm up`.

mod plan;

use std::time::Duration;

use clap::{Args, ValueEnum};
use dm_core::error::{ExitStatus, Result};
use dm_operations::up::Up;
use dm_operations::{Project, RunResult, golden};
use dm_stack::timings::Timings;

use crate::context::Context;
use crate::views;
use plan::PlanRow;

/// The choice of the host ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum PortChoice {
    /// Ports of dm.toml; a named instance always uses free ports.
    #[default]
    Fixed,
    /// Ports of dm.toml, and free ports for those that are taken.
    Auto,
}

/// Start the stack and wait until every component is ready.
///
/// Starts the container engine if necessary, gets the images, and starts the components in the
/// order of their dependencies. On a running stack, repairs the components that are stopped or
/// outdated, and changes nothing else.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Examples:
  dm up
  dm up --only keycloak --dry-run
  dm up --instance review --timings")]
pub(crate) struct Arguments {
    /// Start only these components and their dependencies, separated by commas.
    #[arg(long, value_name = "COMPONENT", value_delimiter = ',')]
    only: Vec<String>,
    /// Show the planned changes without making them.
    #[arg(long)]
    dry_run: bool,
    /// Install and start missing software on this machine without asking.
    #[arg(long, short)]
    yes: bool,
    /// Time limit for the components to become ready, e.g. `90s` [default: timeouts.wait].
    ///
    /// The time starts when all images are present. If set, the option also limits the wait for
    /// the instance lock, which is 30 min otherwise.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    wait_timeout: Option<Duration>,
    /// Choice of the host ports to publish.
    #[arg(long, value_enum, default_value_t)]
    ports: PortChoice,
    /// Start new components with empty data instead of golden images.
    #[arg(long)]
    no_golden: bool,
    /// Show the critical path of the start: each step, and how long it took.
    #[arg(long, conflicts_with = "dry_run")]
    timings: bool,
    /// Wait until every component is ready (always the case).
    #[arg(long, hide = true)]
    wait: bool,
}

impl Arguments {
    fn to_request(&self) -> Up {
        Up {
            only: self.only.clone(),
            free_ports: self.ports == PortChoice::Auto,
            use_golden_images: !self.no_golden,
            wait_timeout: self.wait_timeout,
        }
    }

    /// Returns whether the run starts the full stack, so that golden images may be prepared for the
    /// next fresh start.
    fn is_full_start(&self) -> bool {
        !self.no_golden && self.only.is_empty()
    }
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<ExitStatus> {
    let session = &context.session;
    let project = session.project()?;
    for warning in project.config().rabbitmq.policies.data_loss_warnings() {
        context.printer.warn(&warning);
    }
    if arguments.dry_run {
        return dry_run(context, &project, &arguments).await;
    }
    let consent = session.consent(arguments.yes);
    let _guard = session
        .lock_within(&project, "dm up", arguments.wait_timeout)
        .await?;
    let run = arguments
        .to_request()
        .run(session, &project, consent)
        .await?;
    let run = run.into_result()?;
    if arguments.timings {
        print_timings(context, &run);
    }
    let rows = run.status().await?;
    views::status::print(&context.printer, &run.stack.instance.name, &rows)?;
    if arguments.is_full_start() {
        golden::prepare(session, &project, &run).await?;
    }
    Ok(ExitStatus::Success)
}

/// Prints the critical path of the run.
fn print_timings(context: &Context, run: &RunResult) {
    let printer = &context.printer;
    match Timings::from_events(&run.recording.events) {
        Some(timings) => printer.write_stderr(&dm_console::timings::render(
            &timings,
            &printer.stderr_canvas(),
        )),
        None => printer.warn("--timings has no effect: no component had to be waited for"),
    }
}

/// Returns the warning that the next start completes an interrupted reset. `up_command` is the
/// command that starts the stack.
fn interrupted_reset_warning(up_command: &str) -> String {
    format!("a reset was interrupted: `{up_command}` would first remove the remaining data")
}

/// Prints the plan without changing anything on the host or in the engine.
async fn dry_run(
    context: &Context,
    project: &Project,
    arguments: &Arguments,
) -> Result<ExitStatus> {
    let preview = arguments
        .to_request()
        .preview(&context.session, project)
        .await?;
    let printer = &context.printer;
    if preview.finishes_reset {
        let up = context.session.complete_hint("dm up");
        printer.warn(&interrupted_reset_warning(&up));
    }
    let images = preview.plan.images.iter().map(|component| PlanRow {
        node: format!("{component} image"),
        action: "get".into(),
        reason: Some("the engine does not have it".into()),
    });
    let steps = preview.plan.steps.iter().map(|step| PlanRow {
        node: step.component.clone(),
        action: step.action.as_str().into(),
        reason: step.reason.clone(),
    });
    let rows: Vec<PlanRow> = images.chain(steps).collect();
    printer.print_result(
        &dm_core::document::PLAN,
        &plan::PlanDocument::new(&rows),
        |canvas| plan::render(&rows, canvas),
    )?;
    Ok(ExitStatus::Success)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warning_of_an_interrupted_reset_names_the_command() {
        assert_eq!(
            interrupted_reset_warning("dm --instance review up"),
            "a reset was interrupted: `dm --instance review up` would first remove the remaining \
             data"
        );
    }
}
