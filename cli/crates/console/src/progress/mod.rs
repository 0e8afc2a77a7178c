//! How a run is reported while it lasts: from the events of the run to live
//! lines, plain lines or JSON lines on stderr.

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

/// How often live lines are redrawn: often enough for a spinner, seldom enough
/// to cost nothing.
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);
/// How often the others look whether to say that they still wait.
const TICK_INTERVAL: Duration = Duration::from_secs(1);

/// Where events come from: either kind of tokio's channels.
pub(crate) trait EventSource: Send {
    /// The next event; none when all senders are gone.
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

/// What the reporter needs to know of the run besides its events.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ReportOptions {
    /// When the run gives up, counted from its start.
    pub deadline: Option<Duration>,
}

/// Shows a run. `elapsed` counts from when the reporter began, which is when
/// the run began.
trait Reporter: Send {
    /// Something happened.
    fn on_event(&mut self, event: &RunEvent, elapsed: Duration);
    /// A beat passed.
    fn on_tick(&mut self, elapsed: Duration);
    /// Nothing more will come.
    fn finish(&mut self, elapsed: Duration);
}

/// Reports a run until it is finished or all senders of its events are gone.
/// Never fails: a run is not to be lost because nobody watches it.
///
/// To be run beside the executor, e.g. by `tokio::join!` or in a task of its
/// own. Events sent after [`Event::Finished`] are not read.
pub(crate) async fn report_run(
    printer: &Printer,
    mut source: impl EventSource,
    options: ReportOptions,
) -> RunRecording {
    let (mut reporter, beat): (Box<dyn Reporter>, Duration) = match printer.settings().progress {
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
    // The first beat is late, so that a run that has nothing to do never
    // flickers.
    let mut beats = tokio::time::interval_at(start + beat, beat);
    beats.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut recording = RunRecording::default();
    loop {
        tokio::select! {
            event = source.next_event() => {
                let Some(event) = event else { break };
                reporter.on_event(&event, start.elapsed());
                let last = matches!(event, RunEvent::Finished { .. });
                recording.add(event);
                if last {
                    break;
                }
            }
            _ = beats.tick() => reporter.on_tick(start.elapsed()),
        }
    }
    reporter.finish(start.elapsed());
    recording
}

#[cfg(test)]
mod tests;
