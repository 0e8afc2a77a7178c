//! Logs that go on: over restarts, with containers made anew, and with components that
//! start later.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use chrono::{DateTime, Utc};
use dm_core::error::Result;
use dm_engine::containers::{Container, State};
use dm_engine::logs::{LogLine, LogQuery};
use dm_engine::{Engine, EngineError};
use dm_terminal::Printer;
use futures_util::stream::{self, SelectAll};
use futures_util::{Stream, StreamExt as _};
use tokio::time::{MissedTickBehavior, interval};

use super::Lines;

/// How often it is looked which containers run.
const LOOK: Duration = Duration::from_millis(500);

/// What a container's log brings.
enum Brought {
    Line(Result<LogLine, EngineError>),
    End,
}

type Logs = Pin<Box<dyn Stream<Item = (String, Brought)> + Send>>;

/// What is known of a container whose log is or was followed.
#[derive(Debug)]
struct Followed {
    component: String,
    /// Whether its log is read now.
    is_read: bool,
    /// When the last line that was shown was written.
    last: Option<DateTime<Utc>>,
}

/// Follows the logs of an instance.
pub(super) struct Follow<'a> {
    pub(super) engine: &'a Engine,
    pub(super) filter: &'a [(&'a str, &'a str)],
    pub(super) printer: &'a Printer,
    pub(super) is_wanted: &'a dyn Fn(&str) -> bool,
}

impl Follow<'_> {
    /// Shows lines until the process is interrupted.
    pub(super) async fn run(&self, query: LogQuery, lines: &mut Lines) -> Result<()> {
        let mut followed: BTreeMap<String, Followed> = BTreeMap::new();
        let mut merged: SelectAll<Logs> = SelectAll::new();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_first = true;
        loop {
            tokio::select! {
                _ = look.tick() => {
                    let containers = self.containers().await?;
                    if is_first && containers.iter().all(|it| it.state != State::Running) {
                        self.printer.note("no component is running; waiting for a start");
                    }
                    for container in containers {
                        if let Some(logs) = self.attach(&container, &query, is_first, &mut followed) {
                            merged.push(logs);
                        }
                    }
                    is_first = false;
                }
                Some((id, brought)) = merged.next() => {
                    let Some(of) = followed.get_mut(&id) else { continue };
                    match brought {
                        Brought::Line(Ok(line)) => {
                            // Asked for again from a whole second on.
                            if line.time.is_some() && line.time <= of.last {
                                continue;
                            }
                            of.last = line.time.or(of.last);
                            lines.show(&of.component, line)?;
                        }
                        // Its container went away in the middle; a log that can't be read
                        // at all is an error.
                        Brought::Line(Err(error)) if of.last.is_none() => return Err(error.into()),
                        Brought::Line(Err(_)) => {}
                        Brought::End => {
                            of.is_read = false;
                            self.printer.note(&format!("{} has stopped; waiting for it", of.component));
                        }
                    }
                }
            }
        }
    }

    async fn containers(&self) -> Result<Vec<Container>, EngineError> {
        let mut containers = self.engine.containers(self.filter).await?;
        containers.retain(|container| (self.is_wanted)(&container.component));
        Ok(containers)
    }

    /// The log of a container that is not read yet, or not any more.
    fn attach(
        &self,
        container: &Container,
        query: &LogQuery,
        is_first: bool,
        followed: &mut BTreeMap<String, Followed>,
    ) -> Option<Logs> {
        let before = followed.get(&container.id);
        // What a stopped one wrote is shown once, as what was there.
        let is_due = match before {
            Some(before) => !before.is_read && container.state == State::Running,
            None => is_first || container.state == State::Running,
        };
        if !is_due {
            return None;
        }
        let last = before.and_then(|before| before.last);
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
        let of = Followed {
            component: container.component.clone(),
            is_read: true,
            last,
        };
        followed.insert(container.id.clone(), of);
        let (id, end) = (container.id.clone(), container.id.clone());
        let log = self
            .engine
            .log_lines(&container.id, &query)
            .map(move |line| (id.clone(), Brought::Line(line)));
        let end = stream::once(async move { (end, Brought::End) });
        Some(Box::pin(log.chain(end)))
    }
}
