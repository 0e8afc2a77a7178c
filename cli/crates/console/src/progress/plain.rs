//! One line an event, for a pipe and for the log of a CI job: stable, to be
//! searched, and without spam.

use std::collections::HashMap;
use std::time::Duration;

use dm_stack::event::{NodeState, ProgressUnit, RunEvent};
use dm_terminal::canvas::StyleRole;
use dm_terminal::{Printer, text};

use super::Reporter;
use super::layout::{describe_activity, percent};
use super::run_state::{NodePhase, RunState};
use crate::failure;

/// Progress within one activity is told again after so long …
const REPEAT_INTERVAL: Duration = Duration::from_secs(5);
/// … or when so many hundredths were done.
const PERCENT_STEP: u64 = 10;
/// … or when a step of so few began.
const MAX_LISTED_STEPS: u64 = 30;
/// To see that there is nothing to do may take so long before it is worth a
/// line by itself.
const HOLD_BACK_TIMEOUT: Duration = Duration::from_secs(3);
/// After so long without a line it is said what is waited for, so that nobody
/// takes a slow run for a dead one.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);

/// Writes lines like `12.3s postgres ready (2.1s)`.
pub(crate) struct PlainReporter {
    printer: Printer,
    run: RunState,
    reported: HashMap<String, ReportedState>,
    /// Lines that are of no interest unless something has to be done.
    held_back: Option<Vec<String>>,
    /// The last moment that an event told of.
    last_event_at: Duration,
    /// When the last line was written.
    last_line_at: Duration,
}

/// What was last told of a node at work.
struct ReportedState {
    activity: String,
    percent: Option<u64>,
    step: Option<u64>,
    reported_at: Duration,
}

impl PlainReporter {
    /// A reporter to this printer.
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

    fn write_line(&mut self, at: Duration, rest: &str) {
        let time = self
            .printer
            .stderr_canvas()
            .paint(StyleRole::Muted, &text::format_seconds(at));
        let line = format!("{time} {}", text::sanitize(rest, true));
        self.last_event_at = self.last_event_at.max(at);
        match &mut self.held_back {
            Some(held) => held.push(line),
            None => self.printer.write_stderr(&line),
        }
    }

    /// Something has to be done: tells what was held back.
    fn flush_held_back(&mut self) {
        if let Some(held) = self.held_back.take() {
            self.printer.write_stderr(&held.join("\n"));
        }
    }

    /// True for what happens where there is nothing to do, too.
    fn is_noop_event(&self, event: &RunEvent) -> bool {
        match event {
            RunEvent::Started { .. } => true,
            RunEvent::Node { state, .. } => matches!(
                state,
                NodeState::Waiting { .. }
                    | NodeState::Working { current: None, .. }
                    | NodeState::Ready { kept: true }
            ),
            RunEvent::Finished { ok, .. } => *ok && self.run.is_unchanged(),
            _ => false,
        }
    }

    fn report_node(&mut self, name: &str, state: &NodeState, at: Duration) {
        let canvas = self.printer.stderr_canvas();
        let verbose = self.printer.settings().verbose;
        let took = self
            .run
            .find_row(name)
            .and_then(|row| row.elapsed(at))
            .map_or(String::new(), |took| {
                format!(" ({})", text::format_duration(took))
            });
        let rest = match state {
            NodeState::Waiting { .. } | NodeState::Creating if !verbose => return,
            NodeState::Waiting { .. } | NodeState::Creating | NodeState::Stopping => {
                describe_activity(state)
            }
            NodeState::Working { .. } | NodeState::Starting { .. } => {
                if !self.is_worth_reporting(name, state, at) {
                    return;
                }
                describe_activity(state)
            }
            NodeState::Ready { kept: true } => {
                canvas.paint(StyleRole::Success, "ready") + " (kept)"
            }
            NodeState::Ready { kept: false } => canvas.paint(StyleRole::Success, "ready") + &took,
            NodeState::Gone => format!("gone{took}"),
            NodeState::Failed => canvas.paint(StyleRole::Error, "failed") + &took,
            NodeState::Blocked { .. } => describe_activity(state),
        };
        self.write_line(at, &format!("{name} {rest}"));
    }

    /// True for a new activity, and for one that has got further.
    fn is_worth_reporting(&mut self, name: &str, state: &NodeState, at: Duration) -> bool {
        let verbose = self.printer.settings().verbose;
        let (doing, percent, step) = match state {
            NodeState::Working {
                doing,
                current,
                total,
                unit,
                ..
            } => {
                let few =
                    *unit == ProgressUnit::Steps && total.is_none_or(|of| of <= MAX_LISTED_STEPS);
                let step = current.filter(|_| few);
                (doing.clone(), percent(*current, *total), step)
            }
            _ => ("starting".to_owned(), None, None),
        };
        let further = match self.reported.get(name) {
            Some(told) if told.activity == doing => {
                let step = match (told.percent, percent) {
                    (Some(before), Some(now)) => now >= before + PERCENT_STEP || step > told.step,
                    _ => step > told.step,
                };
                // What a probe answers is for who asked for details.
                let repeats = verbose || !matches!(state, NodeState::Starting { .. });
                step || (repeats && at >= told.reported_at + REPEAT_INTERVAL)
            }
            _ => true,
        };
        if further {
            self.reported.insert(
                name.to_owned(),
                ReportedState {
                    activity: doing,
                    percent,
                    step,
                    reported_at: at,
                },
            );
        }
        further
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
            RunEvent::Node { name, state, at } => self.report_node(name, state, *at),
            RunEvent::Failed(it) => failure::print(it, &self.printer),
            RunEvent::Note { name, text, at } => {
                let about = name
                    .as_ref()
                    .map_or(String::new(), |name| format!("{name} "));
                self.write_line(*at, &format!("{about}note: {text}"));
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
            RunEvent::Finished { ok, at } => {
                let Some(outcome) = self.run.outcome_sentence(*ok, *at) else {
                    return;
                };
                let canvas = self.printer.stderr_canvas();
                // One line for all that was held back.
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
                self.write_line(*at, &canvas.paint(role, &outcome));
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
        let waits: Vec<String> = self
            .run
            .rows_in(NodePhase::Active)
            .map(|row| {
                let state = row
                    .state
                    .as_ref()
                    .map(describe_activity)
                    .unwrap_or_default();
                let took = row.elapsed(elapsed).unwrap_or_default();
                format!(
                    "{} {state} ({})",
                    row.node.name,
                    text::format_duration(took)
                )
            })
            .collect();
        if !waits.is_empty() {
            self.write_line(elapsed, &format!("still working: {}", waits.join("; ")));
        }
    }

    fn finish(&mut self, _: Duration) {
        self.flush_held_back();
    }
}
