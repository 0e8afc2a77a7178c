//! `dm outbox`.

use std::time::Duration;

use chrono::Utc;
use clap::{Args, Subcommand};
use dm_core::error::{Exit, Result};
use dm_messaging::outbox::page::{self, Place};
use dm_messaging::outbox::stats::{self, Limits};
use dm_messaging::outbox::{State, retry};
use dm_messaging::stores;
use dm_operations::{Desk, story};
use dm_terminal::{text, watch};

use crate::arguments::events::Which;
use crate::context::Context;
use crate::views;

/// How often `--watch` looks again.
const WATCH: Duration = Duration::from_secs(1);

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
    Ls(List),
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
        #[arg(long, value_name = "N", conflicts_with = "watch")]
        max_pending: Option<u64>,
        /// Exit with code 1 if an outbox has more than N refused events.
        #[arg(long, value_name = "N", conflicts_with = "watch")]
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
struct List {
    #[command(flatten)]
    which: Which,
    /// Show only events in this state; may be repeated.
    #[arg(long, value_name = "STATE")]
    state: Vec<State>,
    /// Continue after the previous page, at the cursor that it printed.
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<Place>,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let desk = Desk::open(&context.session).await?;
    let all = desk.stores();
    match arguments.action {
        Action::Ls(list) => {
            let stores = stores::named(&all, &list.which.service)?;
            let database = desk.database().await?;
            let wanted = page::Wanted {
                states: list.state,
                limit: list.which.limit,
                filter: list.which.filter(),
                from: list.cursor.unwrap_or_default(),
            };
            let page = page::read(&database, &stores, &wanted).await?;
            context
                .printer
                .result(&dm_core::document::OUTBOX, &page, |canvas| {
                    views::outbox::page(&page, Utc::now(), canvas)
                })?;
        }
        Action::Show { id } => {
            let whole = story::whole(&context.session, &desk, &id).await?;
            views::events::show(&context.printer, &whole)?;
        }
        Action::Stats {
            service,
            watch,
            max_pending,
            max_refused,
            max_age,
        } => {
            let stores = stores::named(&all, &service)?;
            let database = desk.database().await?;
            if watch {
                let mut screen = watch::Watch::new(&context.printer);
                loop {
                    let depths = stats::depths(&database, &stores).await?;
                    let document = views::outbox::Depths { outboxes: &depths };
                    let state = format!("{depths:?}");
                    screen.show(&dm_core::document::OUTBOX_STATS, &document, state, |canvas| {
                        views::outbox::depths(&depths, Utc::now(), canvas)
                    })?;
                    tokio::time::sleep(WATCH).await;
                }
            }
            let depths = stats::depths(&database, &stores).await?;
            let document = views::outbox::Depths { outboxes: &depths };
            context
                .printer
                .result(&dm_core::document::OUTBOX_STATS, &document, |canvas| {
                    views::outbox::depths(&depths, Utc::now(), canvas)
                })?;
            let limits = Limits {
                pending: max_pending,
                refused: max_refused,
                age: max_age,
            };
            let beyond: Vec<String> = depths
                .iter()
                .flat_map(|depth| depth.beyond(&limits, Utc::now()))
                .collect();
            return Ok(views::limits::show(&context.printer, &beyond));
        }
        Action::Retry { ids, service } => {
            let stores = stores::named(&all, &service)?;
            let _guard = context
                .session
                .lock(&desk.project, "dm outbox retry")
                .await?;
            let database = desk.database().await?;
            let woken = retry::retry(&database, &stores, &ids).await?;
            let woken = usize::try_from(woken).unwrap_or(usize::MAX);
            context
                .printer
                .done(&format!("{} sent again", text::count(woken, "event")));
        }
    }
    Ok(Exit::Success)
}
