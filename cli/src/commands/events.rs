//! `dm events`.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Subcommand};
use dm_core::error::{Exit, Result};
use dm_engine::logs::LogQuery;
use dm_messaging::story::{self, Site, Story};
use dm_messaging::tail::{Filter, Tail};
use dm_operations::Desk;
use dm_terminal::json;
use futures_util::StreamExt as _;

use crate::context::Context;
use crate::views;

/// How long before an event its request may have begun.
const BEFORE: TimeDelta = TimeDelta::seconds(30);

/// Watch events pass, or tell the story of one thing.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show events as they pass, failures among them, by a queue of its own.
    Tail(Follow),
    /// Tell the whole story of an order, a trace or an event: what was published, who
    /// handled it when, what that caused, and what was set aside.
    Trace {
        /// `ord_9001`, `expense/exp_12`, a trace id or an event id.
        id: String,
        /// With the services' log lines.
        #[arg(long)]
        logs: bool,
    },
}

#[derive(Debug, Args)]
struct Follow {
    /// With this binding key, e.g. `order.#`; may be repeated.
    #[arg(long, value_name = "KEY")]
    key: Vec<String>,
    /// Of this type or one that ends so, e.g. `order.created.v1`; may be repeated.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Vec<String>,
    /// Published by this service, or failed in it; may be repeated.
    #[arg(long, value_name = "NAME")]
    service: Vec<String>,
    /// Of this trace.
    #[arg(long, value_name = "ID")]
    trace: Option<String>,
    /// Of this aggregate, e.g. `order/ord_9001`.
    #[arg(long, value_name = "SUBJECT", allow_hyphen_values = true)]
    aggregate: Option<String>,
    /// With what the events say.
    #[arg(long)]
    data: bool,
    /// End after so many.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let desk = Desk::open(&context.session).await?;
    match arguments.action {
        Action::Tail(follow) => tail(context, &desk, follow).await,
        Action::Trace { id, logs } => trace(context, &desk, &id, logs).await,
    }
}

async fn tail(context: &Context, desk: &Desk, follow: Follow) -> Result<Exit> {
    let filter = Filter {
        types: follow.event_type,
        services: follow.service,
        trace: follow.trace,
        subject: follow.aggregate,
    };
    let connection = desk.broker().await?;
    let mut tail = Tail::open(&connection, &follow.key).await?;
    context.printer.note("listening; Ctrl-C ends it");
    let mut shown = 0;
    while let Some(seen) = tail.next().await? {
        if !filter.takes(&seen) {
            continue;
        }
        let line = if context.printer.is_json() {
            json::line(views::events::TAIL_SCHEMA, &seen)?
        } else {
            views::events::line(&seen, follow.data, &context.printer.out())
        };
        context.printer.data(&line)?;
        shown += 1;
        if follow.limit.is_some_and(|limit| shown >= limit) {
            break;
        }
    }
    Ok(Exit::Success)
}

async fn trace(context: &Context, desk: &Desk, id: &str, logs: bool) -> Result<Exit> {
    let (stores, database) = (desk.stores(), desk.database().await?);
    let connection = desk
        .dead_letters_or_warn(&*context.session.frontend)
        .await?;
    let site = Site {
        stores: &stores,
        database: &database,
        connection: connection.as_ref(),
    };
    let story = story::about(site, id).await?;
    let lines = if logs {
        log_lines(desk, &story).await?
    } else {
        Vec::new()
    };
    let document = views::events::Told {
        story: &story,
        logs: &lines,
    };
    context
        .printer
        .result(views::events::TRACE_SCHEMA, &document, |canvas| {
            views::events::story(&document, canvas)
        })?;
    Ok(Exit::Success)
}

/// What the services logged under the story's traces, by time.
async fn log_lines(desk: &Desk, story: &Story) -> Result<Vec<views::events::LogLine>> {
    let traces: BTreeSet<&str> = story.traces.iter().map(String::as_str).collect();
    let first = story.events.iter().map(|event| event.row.created_at).min();
    let query = LogQuery {
        follow: false,
        since: first.map(|first: DateTime<Utc>| (first - BEFORE).timestamp()),
        tail: None,
    };
    let services = desk.config().services.all().map(|(name, _)| name);
    let mut found = Vec::new();
    for container in desk
        .engine
        .containers(&desk.project.instance.filter())
        .await?
        .into_iter()
        .filter(|it| services.contains(&it.component.as_str()))
    {
        let lines = desk.engine.log_lines(&container.name, &query);
        let mut lines = std::pin::pin!(lines);
        while let Some(line) = lines.next().await {
            let line = line?;
            if traces.iter().any(|trace| line.text.contains(trace)) {
                found.push(views::events::LogLine {
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
