//! `dm status`.

use std::time::Duration;

use clap::Args;
use dm_backup::{Purpose, Set};
use dm_core::error::{Exit, Result};
use dm_operations::backup;
use dm_stack::Stack;
use dm_stack::inspect;
use dm_stack::status::{ComponentState, StatusRow};
use dm_terminal::watch;

use crate::context::Context;
use crate::views::backup::{Place, Schedule};
use crate::views::{self, status};

/// How often `--watch` looks again.
const WATCH: Duration = Duration::from_secs(1);

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

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let project = context.session.project()?;
    let stack = context.session.quiet_stack(&project).await?;
    if arguments.watch {
        let mut screen = watch::Watch::new(&context.printer);
        loop {
            let rows = inspect::rows(&stack, arguments.memory).await?;
            let document = status::Document::new(&stack.instance.name, &rows);
            // A change is a change of everything but the times.
            let state = rows
                .iter()
                .map(|row| format!("{} {:?}\n", row.component, row.state))
                .collect();
            screen.show(&dm_core::document::STATUS, &document, state, |canvas| {
                status::render(&rows, canvas)
            })?;
            tokio::time::sleep(WATCH).await;
        }
    }
    let rows = inspect::rows(&stack, arguments.memory).await?;
    let sets = backup::store(&project, None);
    let last = sets.newest(&[Purpose::Manual, Purpose::Scheduled])?;
    let runs = |row: &StatusRow| {
        use ComponentState::{Ready, Starting, Unhealthy};
        row.component == dm_backup::component::NAME
            && matches!(row.state, Ready | Starting | Unhealthy)
    };
    let place = match stack.engine.is_local() {
        false => Place::Elsewhere,
        true if rows.iter().any(runs) => Place::Runs,
        true => Place::Missing,
    };
    let schedule = Schedule::new(
        project.config().backup.every.get(),
        place,
        project.schedule_folder().state(),
    );
    show(context, &stack, &rows, last.as_ref(), schedule)?;
    let all_ready = rows
        .iter()
        .all(|row| matches!(row.state, ComponentState::Ready | ComponentState::Done));
    Ok(if arguments.check && !all_ready {
        Exit::Found
    } else {
        Exit::Success
    })
}

fn show(
    context: &Context,
    stack: &Stack,
    rows: &[StatusRow],
    last: Option<&Set>,
    schedule: Schedule,
) -> Result<()> {
    let printer = &context.printer;
    let last = last.map(views::backup::Last::new);
    if printer.is_json() {
        let mut document = status::Document::new(&stack.instance.name, rows);
        document.last_backup = last;
        document.schedule = Some(schedule);
        printer.document(&dm_core::document::STATUS, &document)?;
    } else {
        printer.data(&status::render(rows, &printer.out()))?;
        if let Some(last) = last {
            printer.note(&last.sentence());
        }
        printer.note(&schedule.sentence());
    }
    Ok(())
}
