//! One line per event, for pipes and the logs of CI jobs: stable, searchable, and
//! without repetition.

use std::collections::HashMap;
use std::time::Duration;

use dm_stack::event::{NodeState, ProgressUnit, RunEvent};
use dm_terminal::canvas::StyleRole;
use dm_terminal::{Printer, text};

use super::Reporter;
use super::layout::{describe_activity, percent};
use super::run_state::{NodePhase, RunState};
use crate::failure;

/// The interval after which progress within one activity is reported again.
const REPEAT_INTERVAL: Duration = Duration::from_secs(5);
/// The percentage step after which progress is reported again.
const PERCENT_STEP: u64 = 10;
/// The number of steps up to which each step is reported.
const MAX_LISTED_STEPS: u64 = 30;
/// How long lines are held back that are printed only if something has to be done.
const HOLD_BACK_TIMEOUT: Duration = Duration::from_secs(3);
/// The time without a line after which the active nodes are reported, so that a slow
/// run does not look like a dead one.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);

/// Writes lines like `12.3s postgres ready (2.1s)`.
pub(crate) struct PlainReporter {
    printer: Printer,
    run: RunState,
    reported: HashMap<String, ReportedState>,
    /// Lines that are printed only if something has to be done; `None` once it has.
    held_back: Option<Vec<String>>,
    /// The latest time of an event.
    last_event_at: Duration,
    /// When the last line was written.
    last_line_at: Duration,
}

/// The last reported state of an active node.
struct ReportedState {
    activity: String,
    percent: Option<u64>,
    step: Option<u64>,
    reported_at: Duration,
}

impl PlainReporter {
    /// Creates a reporter that uses this printer.
    pub(crate) fn new(printer: &Printer) -> Self {
        Self {
            printer: printer.clone(),
            run: RunState::default(),
            reported: HashMap::new(),
            held_back: (!printer.settings().verbose).then(Vec::new),
            last_event_at: Duration::ZERO,
            last_line_at: Duration::ZERO,
        }
    }

    fn write_line(&mut self, elapsed: Duration, text: &str) {
        let time = self
            .printer
            .stderr_canvas()
            .paint(StyleRole::Muted, &text::format_seconds(elapsed));
        let line = format!("{time} {}", text::sanitize(text, true));
        self.last_event_at = self.last_event_at.max(elapsed);
        match &mut self.held_back {
            Some(held_back) => held_back.push(line),
            None => self.printer.write_stderr(&line),
        }
    }

    /// Prints the held-back lines, because something has to be done.
    fn flush_held_back(&mut self) {
        if let Some(lines) = self.held_back.take() {
            self.printer.write_stderr(&lines.join("\n"));
        }
    }

    /// Returns whether an event also occurs if nothing has to be done.
    fn is_noop_event(&self, event: &RunEvent) -> bool {
        match event {
            RunEvent::Started { .. } => true,
            RunEvent::Node { state, .. } => matches!(
                state,
                NodeState::Waiting { .. }
                    | NodeState::Working { current: None, .. }
                    | NodeState::Ready { unchanged: true }
            ),
            RunEvent::Finished { ok, .. } => *ok && self.run.is_unchanged(),
            _ => false,
        }
    }

    fn report_node(&mut self, name: &str, state: &NodeState, elapsed: Duration) {
        let canvas = self.printer.stderr_canvas();
        let verbose = self.printer.settings().verbose;
        let duration = self
            .run
            .find_row(name)
            .and_then(|row| row.elapsed(elapsed))
            .map_or(String::new(), |duration| {
                format!(" ({})", text::format_duration(duration))
            });
        let text = match state {
            NodeState::Waiting { .. } | NodeState::Creating if !verbose => return,
            NodeState::Waiting { .. } | NodeState::Creating | NodeState::Stopping => {
                describe_activity(state)
            }
            NodeState::Working { .. } | NodeState::Starting { .. } => {
                if !self.is_worth_reporting(name, state, elapsed) {
                    return;
                }
                describe_activity(state)
            }
            NodeState::Ready { unchanged: true } => {
                canvas.paint(StyleRole::Success, "ready") + " (unchanged)"
            }
            NodeState::Ready { unchanged: false } => {
                canvas.paint(StyleRole::Success, "ready") + &duration
            }
            NodeState::Removed => format!("removed{duration}"),
            NodeState::Failed => canvas.paint(StyleRole::Error, "failed") + &duration,
            NodeState::Blocked { .. } => describe_activity(state),
        };
        self.write_line(elapsed, &format!("{name} {text}"));
    }

    /// Returns whether the activity is new or has made enough progress.
    fn is_worth_reporting(&mut self, name: &str, state: &NodeState, elapsed: Duration) -> bool {
        let verbose = self.printer.settings().verbose;
        let (activity, percent, step) = match state {
            NodeState::Working {
                activity,
                current,
                total,
                unit,
                ..
            } => {
                let is_listed = *unit == ProgressUnit::Steps
                    && total.is_none_or(|total| total <= MAX_LISTED_STEPS);
                let step = current.filter(|_| is_listed);
                (activity.clone(), percent(*current, *total), step)
            }
            _ => ("starting".to_owned(), None, None),
        };
        let is_due = match self.reported.get(name) {
            Some(reported) if reported.activity == activity => {
                let has_advanced = match (reported.percent, percent) {
                    (Some(before), Some(now)) => {
                        now >= before + PERCENT_STEP || step > reported.step
                    }
                    _ => step > reported.step,
                };
                // Changes of the probe's result are details.
                let is_repeated = verbose || !matches!(state, NodeState::Starting { .. });
                has_advanced || (is_repeated && elapsed >= reported.reported_at + REPEAT_INTERVAL)
            }
            _ => true,
        };
        if is_due {
            self.reported.insert(
                name.to_owned(),
                ReportedState {
                    activity,
                    percent,
                    step,
                    reported_at: elapsed,
                },
            );
        }
        is_due
    }
}

impl Reporter for PlainReporter {
    fn on_event(&mut self, event: &RunEvent, elapsed: Duration) {
        self.run.apply(event);
        self.last_line_at = elapsed;
        if !self.is_noop_event(event) {
            self.flush_held_back();
        }
        match event {
            RunEvent::Started { nodes, .. } if nodes.is_empty() => {}
            RunEvent::Started {
                command,
                instance,
                nodes,
            } => {
                let count = text::pluralize(nodes.len(), "node");
                let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
                let line = format!(
                    "{command} instance {instance}, {count}: {}",
                    names.join(" ")
                );
                self.write_line(self.last_event_at, &line);
            }
            RunEvent::Node {
                name,
                state,
                elapsed,
            } => self.report_node(name, state, *elapsed),
            RunEvent::Failed(failure) => failure::print(failure, &self.printer),
            RunEvent::Note {
                name,
                text,
                elapsed,
            } => {
                let about = name
                    .as_ref()
                    .map_or(String::new(), |name| format!("{name} "));
                self.write_line(*elapsed, &format!("{about}note: {text}"));
            }
            RunEvent::Diagnostics { path } => {
                let bundle = failure::render_bundle_path(path, &self.printer.stderr_canvas());
                self.printer.write_stderr(&bundle);
            }
            RunEvent::Interrupted => {
                self.write_line(
                    elapsed,
                    "interrupted, stopping; interrupt again to stop immediately",
                );
            }
            RunEvent::Finished { ok, elapsed } => {
                let Some(outcome) = self.run.outcome_sentence(*ok, *elapsed) else {
                    return;
                };
                let canvas = self.printer.stderr_canvas();
                // One line replaces all held-back ones.
                if *ok && self.run.is_unchanged() && self.held_back.take().is_some() {
                    self.printer
                        .write_stderr(&canvas.paint(StyleRole::Success, &outcome));
                    return;
                }
                let role = if *ok {
                    StyleRole::Success
                } else {
                    StyleRole::Error
                };
                self.write_line(*elapsed, &canvas.paint(role, &outcome));
            }
        }
    }

    fn on_tick(&mut self, elapsed: Duration) {
        if elapsed >= HOLD_BACK_TIMEOUT {
            self.flush_held_back();
        }
        if elapsed < self.last_line_at + HEARTBEAT_INTERVAL {
            return;
        }
        self.last_line_at = elapsed;
        let active: Vec<String> = self
            .run
            .rows_in(NodePhase::Active)
            .map(|row| {
                let state = row
                    .state
                    .as_ref()
                    .map(describe_activity)
                    .unwrap_or_default();
                let duration = row.elapsed(elapsed).unwrap_or_default();
                format!(
                    "{} {state} ({})",
                    row.node.name,
                    text::format_duration(duration)
                )
            })
            .collect();
        if !active.is_empty() {
            self.write_line(elapsed, &format!("still working: {}", active.join("; ")));
        }
    }

    fn finish(&mut self, _: Duration) {
        self.flush_held_back();
    }
}
