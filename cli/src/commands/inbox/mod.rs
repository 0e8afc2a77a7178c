//! `dm inbox`.

mod render;

use std::time::Duration;

use chrono::Utc;
use clap::{Args, Subcommand};
use dm_core::error::{Exit, Result};
use dm_messaging::inbox::page::{self, Place};
use dm_messaging::inbox::retry;
use dm_messaging::inbox::stats::{self, Limits};
use dm_messaging::{queues, stores};
use dm_operations::{Desk, story};
use dm_terminal::{text, watch};

use crate::arguments::events::Which;
use crate::context::Context;
use crate::views;

/// How often `--watch` looks again.
const WATCH: Duration = Duration::from_secs(1);

/// Look at what the services have handled, and at the queues that it comes by.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show handled events, the latest first.
    Ls(List),
    /// Show an event: its envelope, how far it is, and which queues and inboxes have it.
    Show {
        /// The event's id.
        id: String,
    },
    /// Show how the work queues stand, and the pace of their consumers.
    Stats {
        /// Of this work queue; may be repeated.
        #[arg(long, value_name = "QUEUE")]
        queue: Vec<String>,
        /// Go on showing it until interrupted.
        #[arg(long, short)]
        watch: bool,
        /// End with exit code 1 if more than so many wait in one queue.
        #[arg(long, value_name = "N", conflicts_with = "watch")]
        max_ready: Option<u32>,
        /// End with exit code 1 if more than so many of one queue are to be tried again.
        #[arg(long, value_name = "N", conflicts_with = "watch")]
        max_retrying: Option<u32>,
        /// End with exit code 1 if more than so many of one queue were set aside.
        #[arg(long, value_name = "N", conflicts_with = "watch")]
        max_dead: Option<u32>,
    },
    /// Try now what waits to be tried again.
    Retry {
        /// Of this work queue; may be repeated.
        #[arg(long, value_name = "QUEUE")]
        queue: Vec<String>,
    },
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    which: Which,
    /// By this work queue; may be repeated.
    #[arg(long, value_name = "QUEUE")]
    queue: Vec<String>,
    /// Begin where the page before this one ended.
    #[arg(long, value_name = "PLACE")]
    from: Option<Place>,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let desk = Desk::open(&context.session).await?;
    let all = desk.stores();
    match arguments.action {
        Action::Ls(list) => {
            let services = stores::named(&all, &list.which.service)?;
            queues::named(&list.queue)?;
            let database = desk.database().await?;
            let wanted = page::Wanted {
                queues: list.queue,
                limit: list.which.limit,
                filter: list.which.filter(),
                from: list.from,
            };
            let page = page::read(&database, &all, &services, &wanted).await?;
            context
                .printer
                .result(render::LIST_SCHEMA, &page, |canvas| {
                    render::page(&page, Utc::now(), canvas)
                })?;
        }
        Action::Show { id } => {
            let whole = story::whole(&context.session, &desk, &id).await?;
            views::events::show(&context.printer, &whole)?;
        }
        Action::Stats {
            queue,
            watch,
            max_ready,
            max_retrying,
            max_dead,
        } => {
            let queues = queues::named(&queue)?;
            let database = desk.database().await?;
            let connection = desk.broker().await?;
            if watch {
                let mut screen = watch::Watch::new(&context.printer);
                loop {
                    let found = stats::read(&connection, &database, &all, &queues).await?;
                    let document = render::Queues { queues: &found };
                    let state = format!("{found:?}");
                    screen.show(render::STATS_SCHEMA, &document, state, |canvas| {
                        render::queues(&found, Utc::now(), canvas)
                    })?;
                    tokio::time::sleep(WATCH).await;
                }
            }
            let found = stats::read(&connection, &database, &all, &queues).await?;
            let document = render::Queues { queues: &found };
            context
                .printer
                .result(render::STATS_SCHEMA, &document, |canvas| {
                    render::queues(&found, Utc::now(), canvas)
                })?;
            let limits = Limits {
                ready: max_ready,
                retrying: max_retrying,
                dead: max_dead,
            };
            let beyond: Vec<String> = found
                .iter()
                .flat_map(|queue| queue.beyond(&limits))
                .collect();
            return Ok(views::limits::show(&context.printer, &beyond));
        }
        Action::Retry { queue } => {
            let queues = queues::named(&queue)?;
            let _guard = context
                .session
                .lock(&desk.project, "dm inbox retry")
                .await?;
            let connection = desk.broker().await?;
            let moved = retry::retry(&connection, &queues).await?;
            let moved = usize::try_from(moved).unwrap_or(usize::MAX);
            let what = text::count(moved, "event");
            context.printer.done(&format!("{what} tried again now"));
        }
    }
    Ok(Exit::Success)
}
