//! `dm events`.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Subcommand};
use dm_core::error::{ExitStatus, Result};
use dm_engine::logs::LogQuery;
use dm_messaging::tail::{EventTail, TailFilter};
use dm_messaging::trace::{self, EventTrace, TraceContext};
use dm_operations::StackClients;
use dm_terminal::json;
use futures_util::StreamExt as _;

use crate::context::Context;
use crate::views;

/// How long before an event its request may have begun.
const REQUEST_LEAD_TIME: TimeDelta = TimeDelta::seconds(30);

/// Tail events, or trace one through the system.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  dm events tail --service order
  dm events trace ord_9001")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print events as they are published, retried or dead-lettered.
    ///
    /// Reads from a temporary queue, so that no consumer misses a message.
    #[command(after_long_help = "Examples:
  dm events tail
  dm events tail --key 'order.#' --data
  dm events tail --type order.created.v1 --limit 1 --json")]
    Tail(TailArgs),
    /// Trace an order, another aggregate, a request or an event through the system.
    ///
    /// Prints a tree: the published events, the services that processed each of them and when,
    /// the events that resulted, and the dead letters.
    #[command(after_long_help = "Examples:
  dm events trace ord_9001
  dm events trace expense/exp_12
  dm events trace 0af7651916cd43dd8448eb211c80319c --logs")]
    Trace {
        /// Aggregate (e.g. `ord_9001` or `expense/exp_12`), trace id, or event id.
        id: String,
        /// Include the log lines of the services.
        #[arg(long)]
        logs: bool,
    },
}

#[derive(Debug, Args)]
struct TailArgs {
    /// Show only published events with this binding key, e.g. `order.#`; may be repeated.
    ///
    /// Retries and dead letters are shown whatever their routing key.
    #[arg(long, value_name = "KEY")]
    key: Vec<String>,
    /// Show only events of this type or type suffix, e.g. `order.created.v1`; may be repeated.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Vec<String>,
    /// Show only events that this service published or failed to process; may be repeated.
    #[arg(long, value_name = "SERVICE")]
    service: Vec<String>,
    /// Show only events of this trace.
    #[arg(long, value_name = "TRACE_ID")]
    trace: Option<String>,
    /// Show only events of this aggregate, e.g. `order/ord_9001`.
    #[arg(long, value_name = "SUBJECT", allow_hyphen_values = true)]
    aggregate: Option<String>,
    /// Show the data of each event.
    #[arg(long)]
    data: bool,
    /// Maximum number of events to show; the command then ends [default: no limit].
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<ExitStatus> {
    let desk = StackClients::open(&context.session).await?;
    match arguments.action {
        Action::Tail(follow) => tail(context, &desk, follow).await,
        Action::Trace { id, logs } => trace(context, &desk, &id, logs).await,
    }
}

async fn tail(context: &Context, desk: &StackClients, follow: TailArgs) -> Result<ExitStatus> {
    let filter = TailFilter {
        types: follow.event_type,
        services: follow.service,
        trace_id: follow.trace,
        subject: follow.aggregate,
    };
    let connection = desk.connect_broker().await?;
    let mut tail = EventTail::open(&connection, &follow.key).await?;
    context.printer.note("listening; Ctrl-C ends it");
    let mut shown = 0;
    while let Some(seen) = tail.next().await? {
        if !filter.matches(&seen) {
            continue;
        }
        let line = if context.printer.is_json() {
            json::format_line(&dm_core::document::EVENT, &seen)?
        } else {
            views::events::render_observed(&seen, follow.data, &context.printer.stdout_canvas())
        };
        context.printer.write_stdout(&line)?;
        shown += 1;
        if follow.limit.is_some_and(|limit| shown >= limit) {
            break;
        }
    }
    Ok(ExitStatus::Success)
}

async fn trace(context: &Context, desk: &StackClients, id: &str, logs: bool) -> Result<ExitStatus> {
    let (stores, database) = (desk.stores(), desk.connect_database().await?);
    let connection = desk
        .lock_dead_letters_or_warn(&*context.session.frontend)
        .await?;
    let site = TraceContext {
        service_tables: &stores,
        database: &database,
        connection: connection.as_ref(),
    };
    let trace = trace::load_trace(site, id).await?;
    let lines = if logs {
        collect_log_lines(desk, &trace).await?
    } else {
        Vec::new()
    };
    let document = views::events::TraceDocument {
        trace: &trace,
        logs: &lines,
    };
    context
        .printer
        .print_result(&dm_core::document::EVENT_TRACE, &document, |canvas| {
            views::events::render_trace(&document, canvas)
        })?;
    Ok(ExitStatus::Success)
}

/// What the services logged under the story's traces, by time.
async fn collect_log_lines(
    desk: &StackClients,
    trace: &EventTrace,
) -> Result<Vec<views::events::TraceLogLine>> {
    let traces: BTreeSet<&str> = trace.traces.iter().map(String::as_str).collect();
    let first = trace.events.iter().map(|event| event.row.created_at).min();
    let query = LogQuery {
        follow: false,
        since: first.map(|first: DateTime<Utc>| (first - REQUEST_LEAD_TIME).timestamp()),
        tail: None,
    };
    let services = desk.config().services.all().map(|(name, _)| name);
    let mut found = Vec::new();
    for container in desk
        .engine
        .list_containers(&desk.project.instance.label_filter())
        .await?
        .into_iter()
        .filter(|it| services.contains(&it.component.as_str()))
    {
        let lines = desk.engine.log_lines(&container.name, &query);
        let mut lines = std::pin::pin!(lines);
        while let Some(line) = lines.next().await {
            let line = line?;
            if traces.iter().any(|trace| line.text.contains(trace)) {
                found.push(views::events::TraceLogLine {
                    at: line.time,
                    component: container.component.clone(),
                    text: line.text,
                });
            }
        }
    }
    found.sort_by_key(|line| line.at);
    Ok(found)
}
