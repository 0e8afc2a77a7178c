//! `dm logs`.

use std::time::Duration;

use clap::Args;
use futures_util::StreamExt as _;
use futures_util::stream::SelectAll;

use super::context::Context;
use crate::engine::logs::LogQuery;
use crate::error::{Exit, Result};
use crate::output::logs::LogPrinter;

/// Show the logs of the components, merged by time.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// The components; all where none is named.
    names: Vec<String>,
    /// Go on with new lines.
    #[arg(long, short)]
    follow: bool,
    /// Only lines of the last so much time, e.g. `10m`.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    since: Option<Duration>,
    /// Only the last so many lines of each.
    #[arg(long, value_name = "LINES")]
    tail: Option<usize>,
    /// Show when each line was written.
    #[arg(long, short)]
    timestamps: bool,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let project = context.project()?;
    for name in &arguments.names {
        context.check_component(&project, name)?;
    }
    let engine = context.engine(project.config()).await?;
    let containers: Vec<_> = engine
        .containers(&project.instance.filter())
        .await?
        .into_iter()
        .filter(|it| arguments.names.is_empty() || arguments.names.contains(&it.component))
        .collect();
    let names: Vec<String> = containers.iter().map(|it| it.component.clone()).collect();
    let since = arguments.since.map(|ago| {
        let ago = i64::try_from(ago.as_secs()).unwrap_or(i64::MAX);
        chrono::Utc::now().timestamp().saturating_sub(ago)
    });
    let query = LogQuery {
        follow: arguments.follow,
        since,
        tail: arguments.tail,
    };
    let mut printer = LogPrinter::new(&context.printer, &names, arguments.timestamps);
    let streams = containers.iter().map(|container| {
        let component = container.component.clone();
        Box::pin(
            engine
                .log_lines(&container.name, &query)
                .map(move |line| (component.clone(), line)),
        )
    });
    let mut merged: SelectAll<_> = streams.collect();
    if arguments.follow {
        // As they come: waiting for the slowest to sort would hold lines back.
        while let Some((component, line)) = merged.next().await {
            let line = line?;
            printer.feed(&component, format!("{}\n", line.text).as_bytes(), line.time)?;
        }
    } else {
        let mut lines = Vec::new();
        while let Some((component, line)) = merged.next().await {
            lines.push((component, line?));
        }
        lines.sort_by_key(|(_, line)| line.time);
        for (component, line) in &lines {
            printer.feed(component, format!("{}\n", line.text).as_bytes(), line.time)?;
        }
    }
    printer.finish()?;
    Ok(Exit::Success)
}
