//! Logs that go on: over restarts, with containers made anew, and with components that
//! start later.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use chrono::{DateTime, Utc};
use dm_core::error::Result;
use dm_engine::containers::{Container, ContainerState};
use dm_engine::logs::{LogLine, LogQuery};
use dm_engine::{Engine, EngineError};
use dm_terminal::Printer;
use futures_util::stream::{self, SelectAll};
use futures_util::{Stream, StreamExt as _};
use tokio::time::{MissedTickBehavior, interval};

use super::LogLineWriter;

/// How often it is looked which containers run.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// What a container's log brings.
enum LogItem {
    Line(Result<LogLine, EngineError>),
    End,
}

type LogItemStream = Pin<Box<dyn Stream<Item = (String, LogItem)> + Send>>;

/// What is known of a container whose log is or was followed.
#[derive(Debug)]
struct FollowedContainer {
    component: String,
    /// Whether its log is read now.
    is_open: bool,
    /// When the last line that was shown was written.
    last_line_at: Option<DateTime<Utc>>,
}

/// Follows the logs of an instance.
pub(super) struct LogFollower<'a> {
    pub(super) engine: &'a Engine,
    pub(super) filter: &'a [(&'a str, &'a str)],
    pub(super) printer: &'a Printer,
    pub(super) is_wanted: &'a dyn Fn(&str) -> bool,
}

impl LogFollower<'_> {
    /// Shows lines until the process is interrupted.
    pub(super) async fn run(&self, query: LogQuery, lines: &mut LogLineWriter) -> Result<()> {
        let mut followed: BTreeMap<String, FollowedContainer> = BTreeMap::new();
        let mut merged: SelectAll<LogItemStream> = SelectAll::new();
        let mut look = interval(POLL_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_first = true;
        loop {
            tokio::select! {
                _ = look.tick() => {
                    let containers = self.wanted_containers().await?;
                    if is_first && containers.iter().all(|it| it.state != ContainerState::Running) {
                        self.printer.note("no component is running; waiting for a start");
                    }
                    for container in containers {
                        if let Some(logs) = self.open_log(&container, &query, is_first, &mut followed) {
                            merged.push(logs);
                        }
                    }
                    is_first = false;
                }
                Some((id, brought)) = merged.next() => {
                    let Some(of) = followed.get_mut(&id) else { continue };
                    match brought {
                        LogItem::Line(Ok(line)) => {
                            // Asked for again from a whole second on.
                            if line.time.is_some() && line.time <= of.last_line_at {
                                continue;
                            }
                            of.last_line_at = line.time.or(of.last_line_at);
                            lines.write_line(&of.component, line)?;
                        }
                        // Its container went away in the middle; a log that can't be read
                        // at all is an error.
                        LogItem::Line(Err(error)) if of.last_line_at.is_none() => return Err(error.into()),
                        LogItem::Line(Err(_)) => {}
                        LogItem::End => {
                            of.is_open = false;
                            self.printer.note(&format!("{} has stopped; waiting for it", of.component));
                        }
                    }
                }
            }
        }
    }

    async fn wanted_containers(&self) -> Result<Vec<Container>, EngineError> {
        let mut containers = self.engine.list_containers(self.filter).await?;
        containers.retain(|container| (self.is_wanted)(&container.component));
        Ok(containers)
    }

    /// The log of a container that is not read yet, or not any more.
    fn open_log(
        &self,
        container: &Container,
        query: &LogQuery,
        is_first: bool,
        followed: &mut BTreeMap<String, FollowedContainer>,
    ) -> Option<LogItemStream> {
        let before = followed.get(&container.id);
        // What a stopped one wrote is shown once, as what was there.
        let is_due = match before {
            Some(before) => !before.is_open && container.state == ContainerState::Running,
            None => is_first || container.state == ContainerState::Running,
        };
        if !is_due {
            return None;
        }
        let last = before.and_then(|before| before.last_line_at);
        let query = match before {
            // All since its last line; of one that came later all.
            Some(_) => LogQuery {
                since: last.map(|last| last.timestamp()),
                tail: None,
                ..query.clone()
            },
            None if is_first => query.clone(),
            None => LogQuery {
                since: None,
                tail: None,
                ..query.clone()
            },
        };
        if !is_first {
            self.printer.note(&format!(
                "{} is running again; its log continues",
                container.component
            ));
        }
        let of = FollowedContainer {
            component: container.component.clone(),
            is_open: true,
            last_line_at: last,
        };
        followed.insert(container.id.clone(), of);
        let (id, end) = (container.id.clone(), container.id.clone());
        let log = self
            .engine
            .log_lines(&container.id, &query)
            .map(move |line| (id.clone(), LogItem::Line(line)));
        let end = stream::once(async move { (end, LogItem::End) });
        Some(Box::pin(log.chain(end)))
    }
}
