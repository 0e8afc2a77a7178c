//! `dm status`.

use std::time::Duration;

use clap::Args;
use dm_backup::{Backup, Purpose};
use dm_core::error::{ExitStatus, Result};
use dm_operations::backup;
use dm_stack::Stack;
use dm_stack::status::{ComponentState, StatusRow};
use dm_stack::status_collector;
use dm_terminal::live_table;

use crate::context::Context;
use crate::views::backup::{ScheduleStatus, SchedulerState};
use crate::views::{self, status};

/// The refresh interval of `--watch`.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// Show the state and the address of each component.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Examples:
  dm status
  dm status --watch --memory
  dm status --check --quiet")]
pub(crate) struct Arguments {
    /// Refresh the table every second until interrupted.
    #[arg(long, short)]
    watch: bool,
    /// Show the memory usage of each component, which may take a second.
    #[arg(long, short)]
    memory: bool,
    /// Exit with code 1 unless every component is ready.
    #[arg(long, conflicts_with = "watch")]
    check: bool,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<ExitStatus> {
    let project = context.session.project()?;
    let stack = context.session.stack_for_inspection(&project).await?;
    if arguments.watch {
        let mut screen = live_table::LiveTable::new(&context.printer);
        loop {
            let rows = status_collector::collect_status(&stack, arguments.memory).await?;
            let document = status::StatusDocument::new(&stack.instance.name, &rows);
            // Changed times alone do not count as a change.
            let state = rows
                .iter()
                .map(|row| format!("{} {:?}\n", row.component, row.state))
                .collect();
            screen.update(&dm_core::document::STATUS, &document, state, |canvas| {
                status::render(&rows, canvas)
            })?;
            tokio::time::sleep(REFRESH_INTERVAL).await;
        }
    }
    let rows = status_collector::collect_status(&stack, arguments.memory).await?;
    let store = backup::open_store(&project, None);
    let last_backup = store.newest(&[Purpose::Manual, Purpose::Scheduled])?;
    let is_running_scheduler = |row: &StatusRow| {
        use ComponentState::{Ready, Starting, Unhealthy};
        row.component == dm_backup::scheduler::NAME
            && matches!(row.state, Ready | Starting | Unhealthy)
    };
    let scheduler_state = match stack.engine.is_local() {
        false => SchedulerState::RemoteEngine,
        true if rows.iter().any(is_running_scheduler) => SchedulerState::Running,
        true => SchedulerState::NotRunning,
    };
    let schedule = ScheduleStatus::new(
        project.config().backup.every.as_duration(),
        scheduler_state,
        project.schedule_dir().report(),
        &context.session.complete_hint("dm up"),
    );
    print_status(context, &stack, &rows, last_backup.as_ref(), schedule)?;
    let all_ready = rows
        .iter()
        .all(|row| matches!(row.state, ComponentState::Ready | ComponentState::Done));
    Ok(if arguments.check && !all_ready {
        ExitStatus::Findings
    } else {
        ExitStatus::Success
    })
}

fn print_status(
    context: &Context,
    stack: &Stack,
    rows: &[StatusRow],
    last_backup: Option<&Backup>,
    schedule: ScheduleStatus,
) -> Result<()> {
    let printer = &context.printer;
    let last_backup = last_backup.map(views::backup::LastBackup::new);
    if printer.is_json() {
        let mut document = status::StatusDocument::new(&stack.instance.name, rows);
        document.last_backup = last_backup;
        document.schedule = Some(schedule);
        printer.print_document(&dm_core::document::STATUS, &document)?;
    } else {
        printer.write_stdout(&status::render(rows, &printer.stdout_canvas()))?;
        if let Some(last_backup) = last_backup {
            printer.note(&context.session.complete_hint(&last_backup.sentence()));
        }
        printer.note(&schedule.sentence());
    }
    Ok(())
}
