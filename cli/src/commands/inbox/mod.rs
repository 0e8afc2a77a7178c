//! `dm inbox`.

mod render;

use std::time::Duration;

use chrono::Utc;
use clap::{Args, Subcommand};
use dm_core::error::{ExitStatus, Result};
use dm_core::number::whole_number;
use dm_messaging::inbox::page::{self, InboxCursor};
use dm_messaging::inbox::retry;
use dm_messaging::inbox::stats::{self, InboxThresholds};
use dm_messaging::{queues, service_tables};
use dm_operations::{StackClients, trace};
use dm_terminal::{live_table, text};

use crate::arguments::MAX_COUNT;
use crate::arguments::event_filter::EventFilterArgs;
use crate::context::Context;
use crate::views;

/// The refresh interval of `--watch`.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// Inspect the processed events and the work queues.
///
/// Each service records the events that it has processed in its inbox. The events arrive
/// through a work queue of the service.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  dm inbox ls --service inventory
  dm inbox stats --watch")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the processed events, latest first.
    #[command(after_long_help = "Examples:
  dm inbox ls --since 10m
  dm inbox ls --aggregate order/ord_9001
  dm inbox ls --queue inventory.order-events.q --limit 100")]
    Ls(InboxListArgs),
    /// Show an event: its envelope, its state, and its deliveries.
    #[command(after_long_help = "Examples:
  dm inbox show evt_0f3c
  dm inbox show evt_0f3c --json")]
    Show {
        /// Event id.
        #[arg(value_name = "EVENT_ID")]
        id: String,
    },
    /// Show the depth and the processing rate of each work queue.
    ///
    /// Exit code 1 if a queue exceeds a limit.
    #[command(after_long_help = "Examples:
  dm inbox stats --watch
  dm inbox stats --queue inventory.order-events.q
  dm inbox stats --max-ready 1000 --max-dead 0")]
    Stats {
        /// Show only this work queue; may be repeated.
        #[arg(long, value_name = "QUEUE")]
        queue: Vec<String>,
        /// Refresh the table every second until interrupted.
        #[arg(long, short)]
        watch: bool,
        /// Exit with code 1 if a queue has more than N waiting messages.
        #[arg(long, value_name = "N", value_parser = whole_number::<u32>(0..=MAX_COUNT), allow_negative_numbers = true, conflicts_with = "watch")]
        max_ready: Option<u32>,
        /// Exit with code 1 if a queue has more than N messages that wait for a retry.
        #[arg(long, value_name = "N", value_parser = whole_number::<u32>(0..=MAX_COUNT), allow_negative_numbers = true, conflicts_with = "watch")]
        max_retrying: Option<u32>,
        /// Exit with code 1 if a queue has more than N dead letters.
        #[arg(long, value_name = "N", value_parser = whole_number::<u32>(0..=MAX_COUNT), allow_negative_numbers = true, conflicts_with = "watch")]
        max_dead: Option<u32>,
    },
    /// Requeue messages now, without waiting for their retry delay.
    ///
    /// Earlier attempts still count towards the limit of attempts.
    #[command(after_long_help = "Examples:
  dm inbox retry
  dm inbox retry --queue inventory.order-events.q")]
    Retry {
        /// Requeue only messages of this work queue; may be repeated.
        #[arg(long, value_name = "QUEUE")]
        queue: Vec<String>,
    },
}

#[derive(Debug, Args)]
struct InboxListArgs {
    #[command(flatten)]
    filter: EventFilterArgs,
    /// Show only events that arrived through this work queue; may be repeated.
    #[arg(long, value_name = "QUEUE")]
    queue: Vec<String>,
    /// Continue after the previous page, at the cursor that it printed.
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<InboxCursor>,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<ExitStatus> {
    if let Action::Ls(list) = &arguments.action {
        list.filter.check_period()?;
    }
    let clients = StackClients::open(&context.session).await?;
    let all = clients.service_tables();
    match arguments.action {
        Action::Ls(list) => {
            let services = service_tables::resolve_services(&all, &list.filter.service)?;
            queues::resolve_event_queues(&list.queue)?;
            let database = clients.connect_database().await?;
            let request = page::InboxPageRequest {
                queues: list.queue,
                limit: list.filter.limit,
                filter: list.filter.into_filter(),
                cursor: list.cursor,
            };
            let page = page::load_page(&database, &all, &services, &request).await?;
            context
                .printer
                .print_result(&dm_core::document::INBOX, &page, |canvas| {
                    render::render_page(&page, Utc::now(), canvas)
                })?;
        }
        Action::Show { id } => {
            let event = trace::load_event(&context.session, &clients, &id).await?;
            views::events::print_event(&context.printer, &event)?;
        }
        Action::Stats {
            queue,
            watch,
            max_ready,
            max_retrying,
            max_dead,
        } => {
            let queues = queues::resolve_event_queues(&queue)?;
            let database = clients.connect_database().await?;
            let connection = clients.connect_broker().await?;
            if watch {
                let mut screen = live_table::LiveTable::new(&context.printer);
                loop {
                    let queue_stats =
                        stats::load_stats(&connection, &database, &all, &queues).await?;
                    let document = render::QueuesDocument {
                        queues: &queue_stats,
                    };
                    let state = format!("{queue_stats:?}");
                    screen.update(
                        &dm_core::document::INBOX_STATS,
                        &document,
                        state,
                        |canvas| render::render_queues(&queue_stats, Utc::now(), canvas),
                    )?;
                    tokio::time::sleep(REFRESH_INTERVAL).await;
                }
            }
            let queue_stats = stats::load_stats(&connection, &database, &all, &queues).await?;
            let document = render::QueuesDocument {
                queues: &queue_stats,
            };
            context
                .printer
                .print_result(&dm_core::document::INBOX_STATS, &document, |canvas| {
                    render::render_queues(&queue_stats, Utc::now(), canvas)
                })?;
            let limits = InboxThresholds {
                ready: max_ready,
                retrying: max_retrying,
                dead_lettered: max_dead,
            };
            let violations: Vec<String> = queue_stats
                .iter()
                .flat_map(|queue| queue.describe_exceeded(&limits))
                .collect();
            return Ok(views::limit_violations::print(
                &context.printer,
                &violations,
            ));
        }
        Action::Retry { queue } => {
            let queues = queues::resolve_event_queues(&queue)?;
            let _guard = context
                .session
                .lock(&clients.project, "dm inbox retry")
                .await?;
            let connection = clients.connect_broker().await?;
            let moved = retry::requeue_waiting(&connection, &queues).await?;
            let events = text::pluralize(moved, "event");
            context.printer.done(&format!("{events} requeued"));
        }
    }
    Ok(ExitStatus::Success)
}
