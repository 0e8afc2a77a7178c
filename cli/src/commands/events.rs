//! `dm events`.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Subcommand};
use dm_core::error::{ExitStatus, Result};
use dm_core::number::whole_number;
use dm_engine::logs::LogQuery;
use dm_messaging::tail::{EventTail, TailFilter};
use dm_messaging::trace::{self, EventTrace, TraceContext};
use dm_operations::StackClients;
use dm_terminal::json;
use futures_util::StreamExt as _;

use crate::arguments::MAX_COUNT;
use crate::context::Context;
use crate::views;

/// The longest time between the start of a request and its first event.
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
    /// the events that resulted, and the dead letters; and the timeline of each order.
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
    #[arg(long, value_name = "N", value_parser = whole_number::<u64>(1..=MAX_COUNT.into()), allow_negative_numbers = true)]
    limit: Option<u64>,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<ExitStatus> {
    let clients = StackClients::open(&context.session).await?;
    match arguments.action {
        Action::Tail(arguments) => tail(context, &clients, arguments).await,
        Action::Trace { id, logs } => trace(context, &clients, &id, logs).await,
    }
}

async fn tail(
    context: &Context,
    clients: &StackClients,
    arguments: TailArgs,
) -> Result<ExitStatus> {
    let filter = TailFilter {
        types: arguments.event_type,
        services: arguments.service,
        trace_id: arguments.trace,
        subject: arguments.aggregate,
    };
    let connection = clients.connect_broker().await?;
    let mut tail = EventTail::open(&connection, &arguments.key).await?;
    context.printer.note("listening; Ctrl-C ends it");
    let mut shown = 0;
    while let Some(event) = tail.next().await? {
        if !filter.matches(&event) {
            continue;
        }
        let line = if context.printer.is_json() {
            json::format_line(&dm_core::document::EVENT, &event)?
        } else {
            views::events::render_observed(&event, arguments.data, &context.printer.stdout_canvas())
        };
        context.printer.write_stdout(&line)?;
        shown += 1;
        if arguments.limit.is_some_and(|limit| shown >= limit) {
            break;
        }
    }
    Ok(ExitStatus::Success)
}

async fn trace(
    context: &Context,
    clients: &StackClients,
    id: &str,
    logs: bool,
) -> Result<ExitStatus> {
    let (service_tables, database) = (clients.service_tables(), clients.connect_database().await?);
    let connection = clients
        .lock_dead_letters_or_warn(&*context.session.frontend)
        .await?;
    let trace_context = TraceContext {
        service_tables: &service_tables,
        database: &database,
        connection: connection.as_ref(),
    };
    let trace = trace::load_trace(trace_context, id).await?;
    let lines = if logs {
        collect_log_lines(clients, &trace).await?
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

/// Returns the log lines of the services with the trace ids of the events, by time.
async fn collect_log_lines(
    clients: &StackClients,
    trace: &EventTrace,
) -> Result<Vec<views::events::TraceLogLine>> {
    let traces: BTreeSet<&str> = trace.traces.iter().map(String::as_str).collect();
    let first = trace.events.iter().map(|event| event.row.created_at).min();
    let query = LogQuery {
        follow: false,
        since: first.map(|first: DateTime<Utc>| (first - REQUEST_LEAD_TIME).timestamp()),
        tail: None,
    };
    let services = clients.config().services.all().map(|(name, _)| name);
    let mut trace_lines = Vec::new();
    for container in clients
        .engine
        .list_containers(&clients.project.instance.label_filter())
        .await?
        .into_iter()
        .filter(|container| services.contains(&container.component.as_str()))
    {
        let lines = clients.engine.log_lines(&container.name, &query);
        let mut lines = std::pin::pin!(lines);
        while let Some(line) = lines.next().await {
            let line = line?;
            if traces.iter().any(|trace| line.text.contains(trace)) {
                trace_lines.push(views::events::TraceLogLine {
                    at: line.time,
                    component: container.component.clone(),
                    text: line.text,
                });
            }
        }
    }
    trace_lines.sort_by_key(|line| line.at);
    Ok(trace_lines)
}
