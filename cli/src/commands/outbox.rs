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

/// Look at what the services have written to be published.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show events, the latest first.
    Ls(List),
    /// Show an event: its envelope, how far it is, and which queues and inboxes have it.
    Show {
        /// The event's id.
        id: String,
    },
    /// Show how the outboxes stand.
    Stats {
        /// Of this service; may be repeated.
        #[arg(long, value_name = "NAME")]
        service: Vec<String>,
        /// Go on showing it until interrupted.
        #[arg(long, short)]
        watch: bool,
        /// End with exit code 1 if more than so many wait in one outbox.
        #[arg(long, value_name = "N", conflicts_with = "watch")]
        max_pending: Option<u64>,
        /// End with exit code 1 if more than so many of one outbox were refused.
        #[arg(long, value_name = "N", conflicts_with = "watch")]
        max_refused: Option<u64>,
        /// End with exit code 1 if one waits for longer.
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, conflicts_with = "watch")]
        max_age: Option<Duration>,
    },
    /// Send now what the broker refused, and what rests because of that.
    Retry {
        /// The events' ids; all where none is named.
        ids: Vec<String>,
        /// Of this service; may be repeated.
        #[arg(long, value_name = "NAME")]
        service: Vec<String>,
    },
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    which: Which,
    /// In this state; may be repeated.
    #[arg(long, value_name = "STATE")]
    state: Vec<State>,
    /// Begin where the page before this one ended.
    #[arg(long, value_name = "PLACE")]
    from: Option<Place>,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
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
                from: list.from.unwrap_or_default(),
            };
            let page = page::read(&database, &stores, &wanted).await?;
            context
                .printer
                .result(views::outbox::LIST_SCHEMA, &page, |canvas| {
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
                    screen.show(views::outbox::STATS_SCHEMA, &document, state, |canvas| {
                        views::outbox::depths(&depths, Utc::now(), canvas)
                    })?;
                    tokio::time::sleep(WATCH).await;
                }
            }
            let depths = stats::depths(&database, &stores).await?;
            let document = views::outbox::Depths { outboxes: &depths };
            context
                .printer
                .result(views::outbox::STATS_SCHEMA, &document, |canvas| {
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
