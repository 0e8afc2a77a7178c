//! `dm outbox`.

use std::time::Duration;

use chrono::Utc;
use clap::{Args, Subcommand};
use dm_core::error::{ExitStatus, Result};
use dm_core::number::whole_number;
use dm_messaging::outbox::page::{self, OutboxCursor};
use dm_messaging::outbox::stats::{self, OutboxThresholds};
use dm_messaging::outbox::{OutboxState, retry};
use dm_messaging::service_tables;
use dm_operations::{StackClients, trace};
use dm_terminal::{live_table, text};

use crate::arguments::MAX_COUNT;
use crate::arguments::event_filter::EventFilterArgs;
use crate::context::Context;
use crate::views;

/// The refresh interval of `--watch`.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// Inspect the outboxes, and retry refused events.
///
/// Each service writes its events to its outbox, in the transaction that causes them. A relay
/// publishes them to the broker.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  dm outbox ls --state refused
  dm outbox stats --watch")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the events of the outboxes, latest first.
    #[command(after_long_help = "Examples:
  dm outbox ls --service order --since 1h
  dm outbox ls --aggregate order/ord_9001
  dm outbox ls --state pending --state refused")]
    Ls(OutboxListArgs),
    /// Show an event: its envelope, its state, and its deliveries.
    #[command(after_long_help = "Examples:
  dm outbox show evt_0f3c
  dm outbox show evt_0f3c --json")]
    Show {
        /// Event id.
        #[arg(value_name = "EVENT_ID")]
        id: String,
    },
    /// Show the backlog, the age and the publish rate of each outbox.
    ///
    /// Exit code 1 if an outbox exceeds a limit, or if a session other than the relay holds
    /// the relay's lock.
    #[command(after_long_help = "Examples:
  dm outbox stats --watch
  dm outbox stats --service order
  dm outbox stats --max-refused 0 --max-age 1m")]
    Stats {
        /// Show only the outbox of this service; may be repeated.
        #[arg(long, value_name = "SERVICE")]
        service: Vec<String>,
        /// Refresh the table every second until interrupted.
        #[arg(long, short)]
        watch: bool,
        /// Exit with code 1 if an outbox has more than N pending events.
        #[arg(long, value_name = "N", value_parser = whole_number::<u64>(0..=MAX_COUNT.into()), allow_negative_numbers = true, conflicts_with = "watch")]
        max_pending: Option<u64>,
        /// Exit with code 1 if an outbox has more than N refused events.
        #[arg(long, value_name = "N", value_parser = whole_number::<u64>(0..=MAX_COUNT.into()), allow_negative_numbers = true, conflicts_with = "watch")]
        max_refused: Option<u64>,
        /// Exit with code 1 if an event is unpublished for longer than this, e.g. `5m`.
        ///
        /// Held events do not count.
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, conflicts_with = "watch")]
        max_age: Option<Duration>,
    },
    /// Publish refused events now, instead of after their delay.
    ///
    /// Held events stay held.
    #[command(after_long_help = "Examples:
  dm outbox retry
  dm outbox retry --service order
  dm outbox retry evt_0f3c")]
    Retry {
        /// Ids of the events to publish [default: all refused events].
        #[arg(value_name = "EVENT_ID")]
        ids: Vec<String>,
        /// Publish only events of this service; may be repeated.
        #[arg(long, value_name = "SERVICE")]
        service: Vec<String>,
    },
}

#[derive(Debug, Args)]
struct OutboxListArgs {
    #[command(flatten)]
    filter: EventFilterArgs,
    /// Show only events in this state; may be repeated.
    #[arg(long, value_name = "STATE")]
    state: Vec<OutboxState>,
    /// Continue after the previous page, at the cursor that it printed.
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<OutboxCursor>,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<ExitStatus> {
    if let Action::Ls(list) = &arguments.action {
        list.filter.check_period()?;
    }
    let clients = StackClients::open(&context.session).await?;
    let all = clients.service_tables();
    match arguments.action {
        Action::Ls(list) => {
            let tables = service_tables::resolve_services(&all, &list.filter.service)?;
            let database = clients.connect_database().await?;
            let request = page::OutboxPageRequest {
                states: list.state,
                limit: list.filter.limit,
                filter: list.filter.into_filter(),
                cursor: list.cursor.unwrap_or_default(),
            };
            let page = page::load_page(&database, &tables, &request).await?;
            context
                .printer
                .print_result(&dm_core::document::OUTBOX, &page, |canvas| {
                    views::outbox::render_page(&page, Utc::now(), canvas)
                })?;
        }
        Action::Show { id } => {
            let event = trace::load_event(&context.session, &clients, &id).await?;
            views::events::print_event(&context.printer, &event)?;
        }
        Action::Stats {
            service,
            watch,
            max_pending,
            max_refused,
            max_age,
        } => {
            let tables = service_tables::resolve_services(&all, &service)?;
            let database = clients.connect_database().await?;
            if watch {
                let mut screen = live_table::LiveTable::new(&context.printer);
                loop {
                    let depths = stats::load_depths(&database, &tables).await?;
                    let document = views::outbox::OutboxStatsDocument { outboxes: &depths };
                    let state = format!("{depths:?}");
                    screen.update(
                        &dm_core::document::OUTBOX_STATS,
                        &document,
                        state,
                        |canvas| views::outbox::render_stats(&depths, Utc::now(), canvas),
                    )?;
                    tokio::time::sleep(REFRESH_INTERVAL).await;
                }
            }
            let depths = stats::load_depths(&database, &tables).await?;
            let document = views::outbox::OutboxStatsDocument { outboxes: &depths };
            context.printer.print_result(
                &dm_core::document::OUTBOX_STATS,
                &document,
                |canvas| views::outbox::render_stats(&depths, Utc::now(), canvas),
            )?;
            let limits = OutboxThresholds {
                pending: max_pending,
                refused: max_refused,
                age: max_age,
            };
            let violations: Vec<String> = depths
                .iter()
                .flat_map(|depth| depth.describe_exceeded(&limits, Utc::now()))
                .collect();
            return Ok(views::limit_violations::print(
                &context.printer,
                &violations,
            ));
        }
        Action::Retry { ids, service } => {
            let tables = service_tables::resolve_services(&all, &service)?;
            let _guard = context
                .session
                .lock(&clients.project, "dm outbox retry")
                .await?;
            let database = clients.connect_database().await?;
            let retried = retry::retry_refused(&database, &tables, &ids).await?;
            context
                .printer
                .done(&format!("{} sent again", text::pluralize(retried, "event")));
        }
    }
    Ok(ExitStatus::Success)
}
