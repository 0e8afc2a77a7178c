//! `dm logs`.

mod follow;
mod render;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use clap::Args;
use dm_components::Component;
use dm_core::error::{ExitStatus, Result};
use dm_core::number::whole_number;
use dm_engine::logs::{LogLine, LogQuery};
use dm_terminal::OutputError;
use futures_util::StreamExt as _;
use futures_util::stream::SelectAll;

use dm_operations::exec::NotRunning;

use crate::arguments::MAX_COUNT;
use crate::arguments::event_filter::parse_instant;
use crate::context::Context;
use follow::LogFollower;
use render::LogPrinter;

/// Show the logs of all components in one stream.
///
/// Services write JSON, which is shown as text; --json prints each line as it was written. With
/// --follow, the output continues across restarts, and includes components that start later; if
/// no component runs, the command waits for one.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Examples:
  dm logs --follow
  dm logs order inventory --tail 20 --timestamps
  dm logs keycloak --since 5m")]
pub(crate) struct Arguments {
    /// Components to show [default: all].
    #[arg(value_name = "COMPONENT")]
    names: Vec<String>,
    /// Print new lines until interrupted.
    #[arg(long, short)]
    follow: bool,
    /// Show only lines at or after this time: an age such as `10m`, or a timestamp.
    ///
    /// Timestamps have the form `2026-02-03T10:00:00Z`.
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    since: Option<DateTime<Utc>>,
    /// Show only the last N lines of each component.
    #[arg(long, value_name = "N", value_parser = whole_number::<usize>(0..=MAX_COUNT as usize), allow_negative_numbers = true)]
    tail: Option<usize>,
    /// Show the time of each line.
    #[arg(long, short)]
    timestamps: bool,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<ExitStatus> {
    let project = context.session.project()?;
    for name in &arguments.names {
        project.check_component(name)?;
    }
    let engine = context.session.engine(project.config()).await?;
    let query = LogQuery {
        follow: arguments.follow,
        since: arguments.since.map(|since| since.timestamp()),
        tail: arguments.tail,
    };
    let components = project.components(None);
    let is_wanted = |name: &str| {
        arguments.names.is_empty() || arguments.names.iter().any(|selected| selected == name)
    };
    let filter = project.instance.label_filter();
    let mut containers = engine.list_containers(&filter).await?;
    containers.retain(|container| is_wanted(&container.component));
    let mut names: Vec<String> = containers
        .iter()
        .map(|container| container.component.clone())
        .collect();
    if arguments.follow {
        // Any component may start later.
        let others = components
            .iter()
            .map(|component| component.name().to_owned());
        names.extend(others.filter(|name| is_wanted(name)));
        names.sort();
        names.dedup();
    } else if names.is_empty() {
        let component = arguments.names.first();
        return Err(NotRunning::new(component.map(String::as_str)).into());
    }
    let printer = LogPrinter::new(&context.printer, &names, arguments.timestamps);
    let mut writer = LogLineWriter {
        printer,
        is_json: context.printer.is_json(),
        components: components
            .iter()
            .map(|component| (component.name(), Arc::clone(component)))
            .collect(),
    };
    if arguments.follow {
        let follower = LogFollower {
            engine: &engine,
            filter: &filter,
            printer: &context.printer,
            is_wanted: &is_wanted,
        };
        follower.run(query, &mut writer).await?;
    } else {
        let streams = containers.iter().map(|container| {
            let component = container.component.clone();
            Box::pin(
                engine
                    .log_lines(&container.name, &query)
                    .map(move |line| (component.clone(), line)),
            )
        });
        let mut merged: SelectAll<_> = streams.collect();
        let mut all = Vec::new();
        while let Some((component, line)) = merged.next().await {
            all.push((component, line?));
        }
        all.sort_by_key(|(_, line)| line.time);
        for (component, line) in all {
            writer.write_line(&component, line)?;
        }
    }
    writer.printer.finish()?;
    Ok(ExitStatus::Success)
}

/// Formats and writes log lines.
struct LogLineWriter {
    printer: LogPrinter,
    is_json: bool,
    components: BTreeMap<&'static str, Arc<dyn Component>>,
}

impl LogLineWriter {
    /// Writes a line of a component.
    fn write_line(&mut self, component: &str, line: LogLine) -> Result<(), OutputError> {
        let text = match self.components.get(component) {
            Some(component) if !self.is_json => component.format_log_line(line.text),
            _ => line.text,
        };
        self.printer
            .write_chunk(component, format!("{text}\n").as_bytes(), line.time)
    }
}
