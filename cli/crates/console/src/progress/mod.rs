//! How a run is reported while it lasts: from the events of the run to live
//! lines, plain lines or JSON lines on stderr.

mod board;
mod json;
mod live;
mod plain;
mod silent;
mod view;

use std::future::Future;
use std::time::Duration;

use dm_operations::Recording;
use dm_stack::event::Event;
use dm_terminal::{Printer, ProgressChoice};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

/// How often live lines are redrawn: often enough for a spinner, seldom enough
/// to cost nothing.
const BEAT: Duration = Duration::from_millis(100);
/// How often the others look whether to say that they still wait.
const SLOW_BEAT: Duration = Duration::from_secs(1);

/// Where events come from: either kind of tokio's channels.
pub(crate) trait EventSource: Send {
    /// The next event; none when all senders are gone.
    fn next(&mut self) -> impl Future<Output = Option<Event>> + Send;
}

impl EventSource for mpsc::Receiver<Event> {
    fn next(&mut self) -> impl Future<Output = Option<Event>> + Send {
        self.recv()
    }
}

impl EventSource for mpsc::UnboundedReceiver<Event> {
    fn next(&mut self) -> impl Future<Output = Option<Event>> + Send {
        self.recv()
    }
}

/// What the reporter needs to know of the run besides its events.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    /// When the run gives up, counted from its start.
    pub deadline: Option<Duration>,
}

/// Shows a run. `elapsed` counts from when the reporter began, which is when
/// the run began.
trait Reporter: Send {
    /// Something happened.
    fn event(&mut self, event: &Event, elapsed: Duration);
    /// A beat passed.
    fn tick(&mut self, elapsed: Duration);
    /// Nothing more will come.
    fn end(&mut self, elapsed: Duration);
}

/// Reports a run until it is finished or all senders of its events are gone.
/// Never fails: a run is not to be lost because nobody watches it.
///
/// To be run beside the executor, e.g. by `tokio::join!` or in a task of its
/// own. Events sent after [`Event::Finished`] are not read.
pub(crate) async fn report(
    printer: &Printer,
    mut source: impl EventSource,
    options: Options,
) -> Recording {
    let (mut reporter, beat): (Box<dyn Reporter>, Duration) = match printer.settings().progress {
        ProgressChoice::Live => (Box::new(live::Live::new(printer, options)), BEAT),
        ProgressChoice::Json => (Box::new(json::Json::new(printer)), SLOW_BEAT),
        ProgressChoice::None => (Box::new(silent::Silent::new(printer)), SLOW_BEAT),
        ProgressChoice::Auto | ProgressChoice::Plain => {
            (Box::new(plain::Plain::new(printer)), SLOW_BEAT)
        }
    };
    let start = Instant::now();
    // The first beat is late, so that a run that has nothing to do never
    // flickers.
    let mut beats = tokio::time::interval_at(start + beat, beat);
    beats.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut recording = Recording::default();
    loop {
        tokio::select! {
            event = source.next() => {
                let Some(event) = event else { break };
                reporter.event(&event, start.elapsed());
                let last = matches!(event, Event::Finished { .. });
                recording.add(event);
                if last {
                    break;
                }
            }
            _ = beats.tick() => reporter.tick(start.elapsed()),
        }
    }
    reporter.end(start.elapsed());
    recording
}

#[cfg(test)]
mod tests;
