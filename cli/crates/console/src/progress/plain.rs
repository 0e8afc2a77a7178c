//! One line an event, for a pipe and for the log of a CI job: stable, to be
//! searched, and without spam.

use std::collections::HashMap;
use std::time::Duration;

use dm_stack::event::{Event, NodeState, Unit};
use dm_terminal::style::Role;
use dm_terminal::{Printer, text};

use super::Reporter;
use super::board::{Board, Stage};
use super::view::{activity, percent};
use crate::failure;

/// Progress within one activity is told again after so long …
const REPEAT: Duration = Duration::from_secs(5);
/// … or when so many hundredths were done.
const STEP: u64 = 10;
/// … or when a step of so few began.
const FEW_STEPS: u64 = 30;
/// To see that there is nothing to do may take so long before it is worth a
/// line by itself.
const HELD: Duration = Duration::from_secs(3);
/// After so long without a line it is said what is waited for, so that nobody
/// takes a slow run for a dead one.
const SILENCE: Duration = Duration::from_secs(10);

/// Writes lines like `12.3s postgres ready (2.1s)`.
pub(crate) struct Plain {
    printer: Printer,
    board: Board,
    told: HashMap<String, Told>,
    /// Lines that are of no interest unless something has to be done.
    held: Option<Vec<String>>,
    /// The last moment that an event told of.
    now: Duration,
    /// When the last line was written.
    spoke: Duration,
}

/// What was last told of a node at work.
struct Told {
    doing: String,
    percent: Option<u64>,
    step: Option<u64>,
    at: Duration,
}

impl Plain {
    /// A reporter to this printer.
    pub(crate) fn new(printer: &Printer) -> Self {
        Self {
            printer: printer.clone(),
            board: Board::default(),
            told: HashMap::new(),
            held: (!printer.settings().verbose).then(Vec::new),
            now: Duration::ZERO,
            spoke: Duration::ZERO,
        }
    }

    fn line(&mut self, at: Duration, rest: &str) {
        let time = self.printer.err().paint(Role::Muted, &text::seconds(at));
        let line = format!("{time} {}", text::harmless(rest, true));
        self.now = self.now.max(at);
        match &mut self.held {
            Some(held) => held.push(line),
            None => self.printer.message(&line),
        }
    }

    /// Something has to be done: tells what was held back.
    fn release(&mut self) {
        if let Some(held) = self.held.take() {
            self.printer.message(&held.join("\n"));
        }
    }

    /// True for what happens where there is nothing to do, too.
    fn is_idle(&self, event: &Event) -> bool {
        match event {
            Event::Started { .. } => true,
            Event::Node { state, .. } => matches!(
                state,
                NodeState::Waiting { .. }
                    | NodeState::Working { current: None, .. }
                    | NodeState::Ready { kept: true }
            ),
            Event::Finished { ok, .. } => *ok && self.board.unchanged(),
            _ => false,
        }
    }

    fn node(&mut self, name: &str, state: &NodeState, at: Duration) {
        let canvas = self.printer.err();
        let verbose = self.printer.settings().verbose;
        let took = self
            .board
            .row(name)
            .and_then(|row| row.took(at))
            .map_or(String::new(), |took| format!(" ({})", text::duration(took)));
        let rest = match state {
            NodeState::Waiting { .. } | NodeState::Creating if !verbose => return,
            NodeState::Waiting { .. } | NodeState::Creating | NodeState::Stopping => {
                activity(state)
            }
            NodeState::Working { .. } | NodeState::Starting { .. } => {
                if !self.worth_telling(name, state, at) {
                    return;
                }
                activity(state)
            }
            NodeState::Ready { kept: true } => canvas.paint(Role::Good, "ready") + " (kept)",
            NodeState::Ready { kept: false } => canvas.paint(Role::Good, "ready") + &took,
            NodeState::Gone => format!("gone{took}"),
            NodeState::Failed => canvas.paint(Role::Bad, "failed") + &took,
            NodeState::Blocked { .. } => activity(state),
        };
        self.line(at, &format!("{name} {rest}"));
    }

    /// True for a new activity, and for one that has got further.
    fn worth_telling(&mut self, name: &str, state: &NodeState, at: Duration) -> bool {
        let verbose = self.printer.settings().verbose;
        let (doing, percent, step) = match state {
            NodeState::Working {
                doing,
                current,
                total,
                unit,
                ..
            } => {
                let few = *unit == Unit::Steps && total.is_none_or(|of| of <= FEW_STEPS);
                let step = current.filter(|_| few);
                (doing.clone(), percent(*current, *total), step)
            }
            _ => ("starting".to_owned(), None, None),
        };
        let further = match self.told.get(name) {
            Some(told) if told.doing == doing => {
                let step = match (told.percent, percent) {
                    (Some(before), Some(now)) => now >= before + STEP || step > told.step,
                    _ => step > told.step,
                };
                // What a probe answers is for who asked for details.
                let repeats = verbose || !matches!(state, NodeState::Starting { .. });
                step || (repeats && at >= told.at + REPEAT)
            }
            _ => true,
        };
        if further {
            self.told.insert(
                name.to_owned(),
                Told {
                    doing,
                    percent,
                    step,
                    at,
                },
            );
        }
        further
    }
}

impl Reporter for Plain {
    fn event(&mut self, event: &Event, elapsed: Duration) {
        self.board.apply(event);
        self.spoke = elapsed;
        if !self.is_idle(event) {
            self.release();
        }
        match event {
            Event::Started { nodes, .. } if nodes.is_empty() => {}
            Event::Started {
                command,
                instance,
                nodes,
            } => {
                let count = text::count(nodes.len(), "node");
                let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
                let line = format!(
                    "{command} instance {instance}, {count}: {}",
                    names.join(" ")
                );
                self.line(self.now, &line);
            }
            Event::Node { name, state, at } => self.node(name, state, *at),
            Event::Failed(it) => failure::show(it, &self.printer),
            Event::Note { name, text, at } => {
                let about = name
                    .as_ref()
                    .map_or(String::new(), |name| format!("{name} "));
                self.line(*at, &format!("{about}note: {text}"));
            }
            Event::Diagnostics { path } => {
                let bundle = failure::bundle(path, &self.printer.err());
                self.printer.message(&bundle);
            }
            Event::Interrupted => {
                self.line(
                    elapsed,
                    "interrupted, stopping; interrupt again to stop immediately",
                );
            }
            Event::Finished { ok, at } => {
                let Some(outcome) = self.board.outcome(*ok, *at) else {
                    return;
                };
                let canvas = self.printer.err();
                // One line for all that was held back.
                if *ok && self.board.unchanged() && self.held.take().is_some() {
                    self.printer.message(&canvas.paint(Role::Good, &outcome));
                    return;
                }
                let role = if *ok { Role::Good } else { Role::Bad };
                self.line(*at, &canvas.paint(role, &outcome));
            }
        }
    }

    fn tick(&mut self, elapsed: Duration) {
        if elapsed >= HELD {
            self.release();
        }
        if elapsed < self.spoke + SILENCE {
            return;
        }
        self.spoke = elapsed;
        let waits: Vec<String> = self
            .board
            .of(Stage::Active)
            .map(|row| {
                let state = row.state.as_ref().map(activity).unwrap_or_default();
                let took = row.took(elapsed).unwrap_or_default();
                format!("{} {state} ({})", row.node.name, text::duration(took))
            })
            .collect();
        if !waits.is_empty() {
            self.line(elapsed, &format!("still working: {}", waits.join("; ")));
        }
    }

    fn end(&mut self, _: Duration) {
        self.release();
    }
}
