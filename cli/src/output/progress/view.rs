//! A run as lines for a terminal of a given size.

use std::time::Duration;

use super::board::{Board, Row, Stage};
use crate::output::style::{Canvas, Glyph, Role};
use crate::output::text;
use crate::stack::event::NodeState;

/// A wider line is no easier to read.
const WIDEST: usize = 100;
/// The columns of a duration.
const TIME: usize = 7;
/// The columns of a progress bar, where there is room for one.
const BAR: usize = 20;

/// What a node is doing, in words, without numbers that change all the time.
pub fn activity(state: &NodeState) -> String {
    match state {
        NodeState::Waiting { on } if on.is_empty() => "waiting".into(),
        NodeState::Waiting { on } => format!("waiting for {}", on.join(", ")),
        NodeState::Working {
            doing,
            detail,
            current,
            total,
        } => {
            let mut text = doing.clone();
            if let Some(detail) = detail {
                text.push(' ');
                text.push_str(detail);
            }
            if let Some(amount) = amount(*current, *total) {
                text.push_str(&format!(" ({amount})"));
            }
            text
        }
        NodeState::Creating => "creating".into(),
        NodeState::Starting { probe: None } => "starting".into(),
        NodeState::Starting { probe: Some(probe) } => format!("starting ({probe})"),
        NodeState::Ready { kept: true } => "ready, kept".into(),
        NodeState::Ready { kept: false } => "ready".into(),
        NodeState::Stopping => "stopping".into(),
        NodeState::Gone => "gone".into(),
        NodeState::Failed => "failed".into(),
        NodeState::Blocked { by } => format!("blocked by {by}"),
    }
}

/// How many hundredths are done.
pub fn percent(current: Option<u64>, total: Option<u64>) -> Option<u64> {
    let (current, total) = (current?, total.filter(|total| *total > 0)?);
    let hundredths = u128::from(current.min(total)) * 100 / u128::from(total);
    u64::try_from(hundredths).ok()
}

/// How much is done: `62%, 45.1 MB of 72.8 MB`, `43%, 3 of 7`, `45.1 MB`.
fn amount(current: Option<u64>, total: Option<u64>) -> Option<String> {
    let current = current?;
    // Events count bytes or steps alike; nothing has ten thousand steps, and
    // no download worth showing is as small as ten kilobytes.
    let size = |number| {
        if total.unwrap_or(current) < 10_000 {
            number_of_steps(number)
        } else {
            text::bytes(number)
        }
    };
    Some(match (percent(Some(current), total), total) {
        (Some(percent), Some(total)) => {
            format!("{percent}%, {} of {}", size(current), size(total))
        }
        _ => size(current),
    })
}

fn number_of_steps(number: u64) -> String {
    number.to_string()
}

/// The lines of a run under way. They are narrower than the canvas, and fewer
/// than `rows`, so that a terminal neither breaks nor scrolls them.
pub fn frame(
    board: &Board,
    now: Duration,
    deadline: Option<Duration>,
    canvas: &Canvas,
    rows: usize,
) -> Vec<String> {
    // One line for the total, one for the cursor.
    let room = rows.saturating_sub(2).max(1);
    let layout = Layout::of(board, canvas);
    let mut lines = lines(board, now, &layout, room);
    lines.push(total(board, now, deadline, &layout));
    lines
        .iter()
        .map(|line| text::truncate(line, layout.width, canvas.style))
        .collect()
}

/// The lines that stay when the run is over. What was kept is one line, and so
/// is what never began.
pub fn summary(board: &Board, at: Duration, canvas: &Canvas) -> Vec<String> {
    let layout = Layout {
        over: true,
        ..Layout::of(board, canvas)
    };
    let group = |role, glyph, what, of: &dyn Fn(&Row) -> bool| {
        let rows: Vec<&Row> = board.rows.iter().filter(|row| of(row)).collect();
        (!rows.is_empty()).then(|| layout.group(role, glyph, what, &rows))
    };
    let kept = group(Role::Good, Glyph::Ready, "kept", &Row::kept);
    let blocked = group(Role::Muted, Glyph::Skipped, "blocked", &|row| {
        row.stage() == Stage::Blocked
    });
    let waiting = group(Role::Muted, Glyph::Waiting, "not begun", &|row| {
        row.stage() == Stage::Waiting
    });
    let changed = board
        .rows
        .iter()
        .filter(|row| !row.kept() && !matches!(row.stage(), Stage::Blocked | Stage::Waiting))
        .map(|row| layout.row(row, at));
    kept.into_iter()
        .chain(changed)
        .chain(blocked)
        .chain(waiting)
        .collect()
}

fn lines(board: &Board, now: Duration, layout: &Layout, room: usize) -> Vec<String> {
    if board.rows.len() <= room {
        return board.rows.iter().map(|row| layout.row(row, now)).collect();
    }
    let stage = |stage| board.of(stage).collect::<Vec<_>>();
    let (done, waiting, blocked) = (
        stage(Stage::Done),
        stage(Stage::Waiting),
        stage(Stage::Blocked),
    );
    let grouped = |rows: &[&Row]| usize::from(!rows.is_empty());

    // What is finished gives way first, then what has not begun.
    let collapse_waiting = board.rows.len() - done.len() + grouped(&done) > room;
    let mut lines = Vec::new();
    if !done.is_empty() {
        lines.push(layout.group(Role::Good, Glyph::Ready, "ready", &done));
    }
    if collapse_waiting {
        let busy: Vec<&Row> = board
            .of(Stage::Failed)
            .chain(board.of(Stage::Active))
            .collect();
        let groups = grouped(&done) + grouped(&waiting) + grouped(&blocked);
        let room = room.saturating_sub(groups).max(1);
        let shown = if busy.len() > room {
            room - 1
        } else {
            busy.len()
        };
        lines.extend(busy[..shown].iter().map(|row| layout.row(row, now)));
        if shown < busy.len() {
            lines.push(layout.group(Role::Active, Glyph::Dot, "more", &busy[shown..]));
        }
        if !waiting.is_empty() {
            lines.push(layout.group(Role::Muted, Glyph::Waiting, "waiting", &waiting));
        }
        if !blocked.is_empty() {
            lines.push(layout.group(Role::Muted, Glyph::Skipped, "blocked", &blocked));
        }
    } else {
        lines.extend(
            board
                .rows
                .iter()
                .filter(|row| row.stage() != Stage::Done)
                .map(|row| layout.row(row, now)),
        );
    }
    // On two or three rows even the groups are too many.
    lines.truncate(room);
    lines
}

fn total(board: &Board, now: Duration, deadline: Option<Duration>, layout: &Layout) -> String {
    let done = board.of(Stage::Done).count();
    let dot = layout.canvas.style.glyph(Glyph::Dot);
    let mut line = format!(
        "{} {} {dot} {done}/{} done",
        board.command,
        text::duration(now),
        board.rows.len()
    );
    if board.interrupted {
        line.push_str(&format!(
            " {dot} interrupted, winding down; Ctrl-C again to stop at once"
        ));
    } else if let Some(deadline) = deadline {
        let left = text::duration(deadline.saturating_sub(now));
        line.push_str(&format!(" {dot} gives up in {left}"));
    }
    let line = text::truncate(&line, layout.width, layout.canvas.style);
    let role = if board.interrupted {
        Role::Warn
    } else {
        Role::Muted
    };
    layout.canvas.paint(role, &line)
}

/// Where the parts of a line stand.
struct Layout<'a> {
    canvas: &'a Canvas,
    width: usize,
    name: usize,
    /// True where the run is over.
    over: bool,
}

impl<'a> Layout<'a> {
    fn of(board: &Board, canvas: &'a Canvas) -> Self {
        let width = canvas.width.saturating_sub(1).min(WIDEST);
        let longest = board
            .rows
            .iter()
            .map(|row| text::width(&row.node.name))
            .max()
            .unwrap_or(0);
        Self {
            canvas,
            width,
            name: longest.min(width / 3),
            over: false,
        }
    }

    /// Glyph, name, state, time.
    fn row(&self, row: &Row, now: Duration) -> String {
        let style = self.canvas.style;
        let (role, sign) = self.sign(row, now);
        let name = text::truncate(&row.node.name, self.name, style);
        let name = text::pad(&name, self.name);
        let time = row
            .took(now)
            .filter(|_| !row.kept())
            .map(text::duration)
            .unwrap_or_default();
        let room = self.width.saturating_sub(2 + self.name + 2 + 1 + TIME);
        let state = self.state(row, role, room);
        let muted = matches!(row.stage(), Stage::Waiting | Stage::Blocked);
        let name = if muted {
            self.canvas.paint(Role::Muted, &name)
        } else {
            name
        };
        let line = format!("{} {name}  {state}", self.canvas.paint(role, sign));
        if time.is_empty() {
            return line;
        }
        let time = self.canvas.paint(Role::Muted, &text::pad_left(&time, TIME));
        format!(
            "{} {time}",
            text::pad(&line, self.width.saturating_sub(TIME + 1))
        )
    }

    fn sign(&self, row: &Row, now: Duration) -> (Role, &'static str) {
        let style = self.canvas.style;
        match row.stage() {
            Stage::Waiting => (Role::Muted, style.glyph(Glyph::Waiting)),
            Stage::Blocked => (Role::Muted, style.glyph(Glyph::Skipped)),
            Stage::Done => (Role::Good, style.glyph(Glyph::Ready)),
            Stage::Failed => (Role::Bad, style.glyph(Glyph::Failed)),
            // Nothing turns any more on what stays.
            Stage::Active if self.over => (Role::Warn, style.glyph(Glyph::Waiting)),
            Stage::Active => {
                let beat = usize::try_from(now.as_millis() / 100).unwrap_or_default();
                (Role::Active, style.spinner(beat))
            }
        }
    }

    /// The state in words, with a bar where something can be counted and there
    /// is room.
    fn state(&self, row: &Row, role: Role, room: usize) -> String {
        let style = self.canvas.style;
        let Some(state) = &row.state else {
            return self.canvas.paint(Role::Muted, "waiting");
        };
        if let NodeState::Working {
            doing,
            detail,
            current,
            total,
        } = state
            && let Some(percent) = percent(*current, *total)
        {
            return self.working(doing, detail.as_deref(), (*current, *total), percent, room);
        }
        let words = text::truncate(&text::harmless(&activity(state), false), room, style);
        // Verb in the state's colour, what belongs to it muted.
        match words.split_once(' ') {
            Some((verb, rest)) if row.stage() == Stage::Active => {
                let rest = self.canvas.paint(Role::Muted, &format!(" {rest}"));
                self.canvas.paint(role, verb) + &rest
            }
            _ => self.canvas.paint(role, &words),
        }
    }

    fn working(
        &self,
        doing: &str,
        detail: Option<&str>,
        (current, total): (Option<u64>, Option<u64>),
        percent: u64,
        room: usize,
    ) -> String {
        let style = self.canvas.style;
        let amount = amount(current, total).unwrap_or_default();
        if room < doing.len() + amount.len() + BAR + 2 {
            let detail = detail.map_or(String::new(), |detail| format!(" {detail}"));
            let words = format!("{doing} {percent}%{detail}");
            let words = text::truncate(&text::harmless(&words, false), room, style);
            return self.canvas.paint(Role::Active, &words);
        }
        let full = usize::try_from(percent).unwrap_or_default() * BAR / 100;
        let bar = format!(
            "{}{}",
            self.canvas
                .paint(Role::Active, &style.glyph(Glyph::Full).repeat(full)),
            self.canvas
                .paint(Role::Muted, &style.glyph(Glyph::Rest).repeat(BAR - full)),
        );
        let mut words = format!("{} {bar} {amount}", self.canvas.paint(Role::Active, doing));
        if let Some(detail) = detail {
            words.push_str(&self.canvas.paint(Role::Muted, &format!(" {detail}")));
        }
        text::truncate(&text::harmless(&words, style.colour), room, style)
    }

    /// Several rows in one line: how many, and as many names as fit.
    fn group(&self, role: Role, glyph: Glyph, what: &str, rows: &[&Row]) -> String {
        let names: Vec<&str> = rows.iter().map(|row| row.node.name.as_str()).collect();
        let head = format!("{} {what}", rows.len());
        let room = self.width.saturating_sub(2 + text::width(&head) + 2);
        let names = text::truncate(&names.join(", "), room, self.canvas.style);
        format!(
            "{} {}  {}",
            self.canvas.sign(role, glyph),
            self.canvas.paint(role, &head),
            self.canvas.paint(Role::Muted, &names)
        )
    }
}
