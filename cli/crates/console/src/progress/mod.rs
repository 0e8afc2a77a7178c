//! Reports a run in progress: turns its events into live lines, plain lines or JSON
//! lines on stderr.

mod json;
mod layout;
mod live;
mod plain;
mod quiet;
mod run_state;

use std::future::Future;
use std::time::Duration;

use dm_operations::RunRecording;
use dm_stack::event::RunEvent;
use dm_terminal::{Printer, ProgressChoice};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

/// The interval at which live lines are redrawn: short enough for a spinner, long
/// enough to cost nothing.
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);
/// The interval at which the other reporters check whether to report active nodes.
const TICK_INTERVAL: Duration = Duration::from_secs(1);

/// A source of events: either kind of tokio's channels.
pub(crate) trait EventSource: Send {
    /// Returns the next event, or `None` when all senders have been dropped.
    fn next_event(&mut self) -> impl Future<Output = Option<RunEvent>> + Send;
}

impl EventSource for mpsc::Receiver<RunEvent> {
    fn next_event(&mut self) -> impl Future<Output = Option<RunEvent>> + Send {
        self.recv()
    }
}

impl EventSource for mpsc::UnboundedReceiver<RunEvent> {
    fn next_event(&mut self) -> impl Future<Output = Option<RunEvent>> + Send {
        self.recv()
    }
}

/// The options of a reporter.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ReportOptions {
    /// When the run times out, counted from its start.
    pub deadline: Option<Duration>,
}

/// Shows a run. `elapsed` counts from the start of the reporter, which is the start
/// of the run.
trait Reporter: Send {
    /// Handles an event.
    fn on_event(&mut self, event: &RunEvent, elapsed: Duration);
    /// Handles a tick of the clock.
    fn on_tick(&mut self, elapsed: Duration);
    /// Handles the end of the events.
    fn finish(&mut self, elapsed: Duration);
}

/// Reports a run until it is finished or all senders of its events were dropped.
/// Never fails: a run must not be lost because its output cannot be written.
///
/// Runs concurrently with the executor, e.g. by `tokio::join!` or in a task of its
/// own. Events sent after [`RunEvent::Finished`] are not read.
pub(crate) async fn report_run(
    printer: &Printer,
    mut source: impl EventSource,
    options: ReportOptions,
) -> RunRecording {
    let (mut reporter, interval): (Box<dyn Reporter>, Duration) = match printer.settings().progress
    {
        ProgressChoice::Live => (
            Box::new(live::LiveReporter::new(printer, options)),
            REDRAW_INTERVAL,
        ),
        ProgressChoice::Json => (Box::new(json::JsonReporter::new(printer)), TICK_INTERVAL),
        ProgressChoice::None => (Box::new(quiet::QuietReporter::new(printer)), TICK_INTERVAL),
        ProgressChoice::Auto | ProgressChoice::Plain => {
            (Box::new(plain::PlainReporter::new(printer)), TICK_INTERVAL)
        }
    };
    let start = Instant::now();
    // The first tick comes after one interval, so that a run without changes never
    // flickers.
    let mut ticks = tokio::time::interval_at(start + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut recording = RunRecording::default();
    loop {
        tokio::select! {
            event = source.next_event() => {
                let Some(event) = event else { break };
                reporter.on_event(&event, start.elapsed());
                let is_last = matches!(event, RunEvent::Finished { .. });
                recording.add(event);
                if is_last {
                    break;
                }
            }
            _ = ticks.tick() => reporter.on_tick(start.elapsed()),
        }
    }
    reporter.finish(start.elapsed());
    recording
}

#[cfg(test)]
mod tests;
