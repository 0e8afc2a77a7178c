//! Follows logs across restarts, including recreated containers and components that start
//! later.

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

/// The interval at which the running containers are listed.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// An item of a container's log stream.
enum LogItem {
    Line(Result<LogLine, EngineError>),
    End,
}

type LogItemStream = Pin<Box<dyn Stream<Item = (String, LogItem)> + Send>>;

/// The state of a container whose log is or was followed.
#[derive(Debug)]
struct FollowedContainer {
    component: String,
    /// Whether the log is being read.
    is_open: bool,
    /// The time of the last line that was printed.
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
    /// Prints lines until the process is interrupted.
    pub(super) async fn run(&self, query: LogQuery, writer: &mut LogLineWriter) -> Result<()> {
        let mut followed: BTreeMap<String, FollowedContainer> = BTreeMap::new();
        let mut merged: SelectAll<LogItemStream> = SelectAll::new();
        let mut poll = interval(POLL_INTERVAL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_first = true;
        loop {
            tokio::select! {
                _ = poll.tick() => {
                    let containers = self.wanted_containers().await?;
                    let is_running =
                        |container: &Container| container.state == ContainerState::Running;
                    if is_first && !containers.iter().any(is_running) {
                        self.printer.note("no component is running; waiting for a start");
                    }
                    for container in containers {
                        let log = self.open_log(&container, &query, is_first, &mut followed);
                        merged.extend(log);
                    }
                    is_first = false;
                }
                Some((id, item)) = merged.next() => {
                    let Some(container) = followed.get_mut(&id) else { continue };
                    match item {
                        LogItem::Line(Ok(line)) => {
                            // A reopened log starts at a full second and may repeat lines.
                            if line.time.is_some() && line.time <= container.last_line_at {
                                continue;
                            }
                            container.last_line_at = line.time.or(container.last_line_at);
                            writer.write_line(&container.component, line)?;
                        }
                        // A container may be removed while its log is read. A log that cannot
                        // be read at all is an error.
                        LogItem::Line(Err(error)) if container.last_line_at.is_none() => {
                            return Err(error.into());
                        }
                        LogItem::Line(Err(_)) => {}
                        LogItem::End => {
                            container.is_open = false;
                            let component = &container.component;
                            let note = format!("{component} has stopped; waiting for it");
                            self.printer.note(&note);
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

    /// Opens the log of a container if it is not being read.
    fn open_log(
        &self,
        container: &Container,
        query: &LogQuery,
        is_first: bool,
        followed: &mut BTreeMap<String, FollowedContainer>,
    ) -> Option<LogItemStream> {
        let known = followed.get(&container.id);
        // The log of a stopped container is printed once, at the start.
        let is_due = match known {
            Some(known) => !known.is_open && container.state == ContainerState::Running,
            None => is_first || container.state == ContainerState::Running,
        };
        if !is_due {
            return None;
        }
        let last_line_at = known.and_then(|known| known.last_line_at);
        let query = match known {
            // Everything since the last line; for a new container, everything.
            Some(_) => LogQuery {
                since: last_line_at.map(|time| time.timestamp()),
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
                "{} has started; following its log",
                container.component
            ));
        }
        let state = FollowedContainer {
            component: container.component.clone(),
            is_open: true,
            last_line_at,
        };
        followed.insert(container.id.clone(), state);
        let (id, end) = (container.id.clone(), container.id.clone());
        let log = self
            .engine
            .log_lines(&container.id, &query)
            .map(move |line| (id.clone(), LogItem::Line(line)));
        let end = stream::once(async move { (end, LogItem::End) });
        Some(Box::pin(log.chain(end)))
    }
}
