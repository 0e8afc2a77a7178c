//! A run as lines for a terminal of a given size.

use std::time::Duration;

use dm_stack::event::{NodeState, Unit};
use dm_terminal::live::{BAR, Line};
use dm_terminal::style::{Canvas, Glyph, Role};
use dm_terminal::text;

use super::board::{Board, Row, Stage};

/// A wider line is no easier to read.
const WIDEST: usize = 100;
/// The columns of a duration.
const TIME: usize = 7;
/// The columns of a sign or a spinner, and of the space behind it.
const SIGN: usize = 2;

/// What a node is doing, in words, without numbers that change all the time.
pub(crate) fn activity(state: &NodeState) -> String {
    match state {
        NodeState::Waiting { on } if on.is_empty() => "waiting".into(),
        NodeState::Waiting { on } => format!("waiting for {}", on.join(", ")),
        NodeState::Working {
            doing,
            detail,
            current,
            total,
            unit,
        } => {
            let detail = detail
                .as_ref()
                .map_or(String::new(), |detail| format!(" {detail}"));
            match (amount(*current, *total, *unit), unit) {
                (None, _) => format!("{doing}{detail}"),
                // The detail is what the step does.
                (Some(step), Unit::Steps | Unit::Crates) => format!("{doing} {step}{detail}"),
                (Some(bytes), Unit::Bytes) => format!("{doing}{detail} ({bytes})"),
            }
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

/// As [`activity`], with what matters most in front, where room is short.
fn brief(state: &NodeState) -> String {
    let NodeState::Working {
        doing,
        detail,
        current: Some(current),
        total: Some(total),
        unit,
    } = state
    else {
        return activity(state);
    };
    let amount = match (unit, percent(Some(*current), Some(*total))) {
        (Unit::Bytes, Some(percent)) => format!("{percent}%"),
        _ => format!("{current}/{total}"),
    };
    let detail = detail.as_deref().unwrap_or_default();
    format!("{doing} {amount} {detail}").trim_end().to_owned()
}

/// How many hundredths are done.
pub(crate) fn percent(current: Option<u64>, total: Option<u64>) -> Option<u64> {
    let (current, total) = (current?, total.filter(|total| *total > 0)?);
    let hundredths = u128::from(current.min(total)) * 100 / u128::from(total);
    u64::try_from(hundredths).ok()
}

/// How much is done: `62%, 45.1 MB of 72.8 MB`, `45.1 MB`, `step 3/7`, `120 of 402`.
fn amount(current: Option<u64>, total: Option<u64>, unit: Unit) -> Option<String> {
    let current = current?;
    let percent = percent(Some(current), total);
    Some(match (unit, total, percent) {
        (Unit::Bytes, Some(total), Some(percent)) => format!(
            "{percent}%, {} of {}",
            text::bytes(current),
            text::bytes(total)
        ),
        (Unit::Bytes, ..) => text::bytes(current),
        (Unit::Steps, Some(total), _) => format!("step {current}/{total}"),
        (Unit::Steps, None, _) => format!("step {current}"),
        (Unit::Crates, Some(total), _) => format!("{current} of {total}"),
        (Unit::Crates, None, _) => current.to_string(),
    })
}

/// The lines of a run under way. They are narrower than the canvas, and fewer
/// than `rows`, so that a terminal neither breaks nor scrolls them.
pub(crate) fn frame(
    board: &Board,
    now: Duration,
    deadline: Option<Duration>,
    canvas: &Canvas,
    rows: usize,
) -> Vec<Line> {
    // One line for the total, one for the cursor.
    let room = rows.saturating_sub(2).max(1);
    let layout = Layout::of(board, canvas);
    let mut lines = lines(board, now, &layout, room);
    lines.push(Line::Text(total(board, now, deadline, &layout)));
    lines
}

/// The lines that stay when the run is over. What was kept is one line, and so
/// is what never began.
pub(crate) fn summary(board: &Board, at: Duration, canvas: &Canvas) -> Vec<String> {
    let layout = Layout::of(board, canvas);
    let group = |role, glyph, what, of: &dyn Fn(&Row) -> bool| {
        let rows: Vec<&Row> = board.rows.iter().filter(|row| of(row)).collect();
        (!rows.is_empty()).then(|| layout.group(role, glyph, what, &rows))
    };
    let kept = group(Role::Good, Glyph::Ready, "kept", &Row::kept);
    let blocked = group(Role::Muted, Glyph::Skipped, "blocked", &|row| {
        row.stage() == Stage::Blocked
    });
    let waiting = group(Role::Muted, Glyph::Waiting, "not started", &|row| {
        row.stage() == Stage::Waiting
    });
    let changed = board
        .rows
        .iter()
        .filter(|row| !row.kept() && !matches!(row.stage(), Stage::Blocked | Stage::Waiting))
        .map(|row| layout.still(row, at));
    kept.into_iter()
        .chain(changed)
        .chain(blocked)
        .chain(waiting)
        .collect()
}

fn lines(board: &Board, now: Duration, layout: &Layout, room: usize) -> Vec<Line> {
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
    let group =
        |role, glyph, what, rows: &[&Row]| Line::Text(layout.group(role, glyph, what, rows));

    // What is finished gives way first, then what has not begun.
    let collapse_waiting = board.rows.len() - done.len() + grouped(&done) > room;
    let mut lines = Vec::new();
    if !done.is_empty() {
        lines.push(group(Role::Good, Glyph::Ready, "ready", &done));
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
            lines.push(group(Role::Active, Glyph::Dot, "more", &busy[shown..]));
        }
        if !waiting.is_empty() {
            lines.push(group(Role::Muted, Glyph::Waiting, "waiting", &waiting));
        }
        if !blocked.is_empty() {
            lines.push(group(Role::Muted, Glyph::Skipped, "blocked", &blocked));
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
            " {dot} interrupted, stopping; Ctrl-C again to stop immediately"
        ));
    } else if let Some(deadline) = deadline {
        let left = text::duration(deadline.saturating_sub(now));
        line.push_str(&format!(" {dot} times out in {left}"));
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
    board: &'a Board,
    canvas: &'a Canvas,
    width: usize,
    name: usize,
}

impl<'a> Layout<'a> {
    fn of(board: &'a Board, canvas: &'a Canvas) -> Self {
        let width = canvas.width.saturating_sub(1).min(WIDEST);
        let longest = board
            .rows
            .iter()
            .map(|row| text::width(&row.node.name))
            .max()
            .unwrap_or(0);
        Self {
            board,
            canvas,
            width,
            name: longest.min(width / 3),
        }
    }

    /// Glyph or spinner, name, state, time.
    fn row(&self, row: &Row, now: Duration) -> Line {
        if row.stage() != Stage::Active {
            return Line::Text(self.still(row, now));
        }
        self.counted(row, now)
            .unwrap_or_else(|| Line::Busy(self.words(row, Role::Active, now)))
    }

    /// The row where nothing turns (any more).
    fn still(&self, row: &Row, now: Duration) -> String {
        let (role, glyph) = match row.stage() {
            Stage::Waiting => (Role::Muted, Glyph::Waiting),
            Stage::Blocked => (Role::Muted, Glyph::Skipped),
            Stage::Done => (Role::Good, Glyph::Ready),
            Stage::Failed => (Role::Bad, Glyph::Failed),
            Stage::Active => (Role::Warn, Glyph::Waiting),
        };
        let sign = self.canvas.sign(role, glyph);
        format!("{sign} {}", self.words(row, role, now))
    }

    /// Name, state in words, time.
    fn words(&self, row: &Row, role: Role, now: Duration) -> String {
        let state = match &row.state {
            Some(state) => brief(state),
            None => activity(&NodeState::Waiting {
                on: self.board.unready(row),
            }),
        };
        let room = self.width.saturating_sub(SIGN + self.name + 2 + 1 + TIME);
        let words = text::harmless(&state, false);
        let words = text::truncate(&words, room, self.canvas.style);
        // Verb in the state's colour, what belongs to it muted.
        let words = match words.split_once(' ') {
            Some((verb, rest)) if row.stage() == Stage::Active => {
                let rest = self.canvas.paint(Role::Muted, &format!(" {rest}"));
                self.canvas.paint(role, verb) + &rest
            }
            _ => self.canvas.paint(role, &words),
        };
        let line = format!("{}  {words}", self.name(row));
        self.timed(&line, row, now, self.width.saturating_sub(SIGN))
    }

    /// The row with a bar, where something can be counted and there is room.
    fn counted(&self, row: &Row, now: Duration) -> Option<Line> {
        let Some(NodeState::Working {
            doing,
            detail,
            current: Some(done),
            total: Some(of),
            unit,
        }) = &row.state
        else {
            return None;
        };
        let amount = amount(Some(*done), Some(*of), *unit)?;
        let before = format!(
            "{}  {} ",
            self.name(row),
            self.canvas.paint(Role::Active, doing)
        );
        let room = self
            .width
            .checked_sub(SIGN + text::width(&before) + BAR + 1 + TIME)
            .filter(|room| *of > 0 && *room > text::width(&amount))?;
        let detail = detail.as_ref().map_or(String::new(), |detail| {
            self.canvas
                .paint(Role::Muted, &text::harmless(&format!(" {detail}"), false))
        });
        let style = self.canvas.style;
        let after = text::truncate(&format!(" {amount}{detail}"), room, style);
        Some(Line::Counted {
            before,
            done: *done,
            of: *of,
            after: self.timed(&after, row, now, room + 1 + TIME),
        })
    }

    fn name(&self, row: &Row) -> String {
        let name = text::truncate(&row.node.name, self.name, self.canvas.style);
        let name = text::pad(&name, self.name);
        if matches!(row.stage(), Stage::Waiting | Stage::Blocked) {
            self.canvas.paint(Role::Muted, &name)
        } else {
            name
        }
    }

    /// The text with the time at the right edge of so many columns.
    fn timed(&self, line: &str, row: &Row, now: Duration, columns: usize) -> String {
        let style = self.canvas.style;
        let Some(took) = row.took(now).filter(|_| !row.kept()) else {
            return text::truncate(line, columns, style);
        };
        let time = text::pad_left(&text::duration(took), TIME);
        let time = self.canvas.paint(Role::Muted, &time);
        let line = text::pad(line, columns.saturating_sub(TIME + 1));
        text::truncate(&format!("{line} {time}"), columns, style)
    }

    /// Several rows in one line: how many, and as many names as fit.
    fn group(&self, role: Role, glyph: Glyph, what: &str, rows: &[&Row]) -> String {
        let names: Vec<&str> = rows.iter().map(|row| row.node.name.as_str()).collect();
        let head = format!("{} {what}", rows.len());
        let room = self.width.saturating_sub(2 + text::width(&head) + 2);
        let names = text::truncate(&names.join(", "), room, self.canvas.style);
        let line = format!(
            "{} {}  {}",
            self.canvas.sign(role, glyph),
            self.canvas.paint(role, &head),
            self.canvas.paint(Role::Muted, &names)
        );
        text::truncate(&line, self.width, self.canvas.style)
    }
}
