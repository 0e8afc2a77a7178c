//! A run as lines for a terminal of a given size.

use std::time::Duration;

use dm_stack::event::{NodeState, ProgressUnit};
use dm_terminal::canvas::{Canvas, Glyph, StyleRole};
use dm_terminal::live::{BAR_WIDTH, LiveLine};
use dm_terminal::text;

use super::run_state::{NodePhase, NodeRow, RunState};

/// A wider line is no easier to read.
const MAX_WIDTH: usize = 100;
/// The columns of a duration.
const DURATION_WIDTH: usize = 7;
/// The columns of a sign or a spinner, and of the space behind it.
const GLYPH_WIDTH: usize = 2;

/// What a node is doing, in words, without numbers that change all the time.
pub(crate) fn describe_activity(state: &NodeState) -> String {
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
            match (format_amount(*current, *total, *unit), unit) {
                (None, _) => format!("{doing}{detail}"),
                // The detail is what the step does.
                (Some(step), ProgressUnit::Steps | ProgressUnit::Crates) => {
                    format!("{doing} {step}{detail}")
                }
                (Some(bytes), ProgressUnit::Bytes) => format!("{doing}{detail} ({bytes})"),
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
fn describe_briefly(state: &NodeState) -> String {
    let NodeState::Working {
        doing,
        detail,
        current: Some(current),
        total: Some(total),
        unit,
    } = state
    else {
        return describe_activity(state);
    };
    let amount = match (unit, percent(Some(*current), Some(*total))) {
        (ProgressUnit::Bytes, Some(percent)) => format!("{percent}%"),
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
fn format_amount(current: Option<u64>, total: Option<u64>, unit: ProgressUnit) -> Option<String> {
    let current = current?;
    let percent = percent(Some(current), total);
    Some(match (unit, total, percent) {
        (ProgressUnit::Bytes, Some(total), Some(percent)) => format!(
            "{percent}%, {} of {}",
            text::format_bytes(current),
            text::format_bytes(total)
        ),
        (ProgressUnit::Bytes, ..) => text::format_bytes(current),
        (ProgressUnit::Steps, Some(total), _) => format!("step {current}/{total}"),
        (ProgressUnit::Steps, None, _) => format!("step {current}"),
        (ProgressUnit::Crates, Some(total), _) => format!("{current} of {total}"),
        (ProgressUnit::Crates, None, _) => current.to_string(),
    })
}

/// The lines of a run under way. They are narrower than the canvas, and fewer
/// than `rows`, so that a terminal neither breaks nor scrolls them.
pub(crate) fn render_frame(
    board: &RunState,
    now: Duration,
    deadline: Option<Duration>,
    canvas: &Canvas,
    rows: usize,
) -> Vec<LiveLine> {
    // One line for the total, one for the cursor.
    let room = rows.saturating_sub(2).max(1);
    let layout = RowLayout::new(board, canvas);
    let mut lines = render_rows(board, now, &layout, room);
    lines.push(LiveLine::Text(render_total(board, now, deadline, &layout)));
    lines
}

/// The lines that stay when the run is over. What was kept is one line, and so
/// is what never began.
pub(crate) fn render_summary(board: &RunState, at: Duration, canvas: &Canvas) -> Vec<String> {
    let layout = RowLayout::new(board, canvas);
    let group = |role, glyph, what, of: &dyn Fn(&NodeRow) -> bool| {
        let rows: Vec<&NodeRow> = board.rows.iter().filter(|row| of(row)).collect();
        (!rows.is_empty()).then(|| layout.render_group(role, glyph, what, &rows))
    };
    let kept = group(
        StyleRole::Success,
        Glyph::Check,
        "kept",
        &NodeRow::is_unchanged,
    );
    let blocked = group(StyleRole::Muted, Glyph::Skipped, "blocked", &|row| {
        row.phase() == NodePhase::Blocked
    });
    let waiting = group(StyleRole::Muted, Glyph::Waiting, "not started", &|row| {
        row.phase() == NodePhase::Waiting
    });
    let changed = board
        .rows
        .iter()
        .filter(|row| {
            !row.is_unchanged() && !matches!(row.phase(), NodePhase::Blocked | NodePhase::Waiting)
        })
        .map(|row| layout.render_static_row(row, at));
    kept.into_iter()
        .chain(changed)
        .chain(blocked)
        .chain(waiting)
        .collect()
}

fn render_rows(board: &RunState, now: Duration, layout: &RowLayout, room: usize) -> Vec<LiveLine> {
    if board.rows.len() <= room {
        return board
            .rows
            .iter()
            .map(|row| layout.render_row(row, now))
            .collect();
    }
    let stage = |stage| board.rows_in(stage).collect::<Vec<_>>();
    let (done, waiting, blocked) = (
        stage(NodePhase::Done),
        stage(NodePhase::Waiting),
        stage(NodePhase::Blocked),
    );
    let grouped = |rows: &[&NodeRow]| usize::from(!rows.is_empty());
    let group = |role, glyph, what, rows: &[&NodeRow]| {
        LiveLine::Text(layout.render_group(role, glyph, what, rows))
    };

    // What is finished gives way first, then what has not begun.
    let collapse_waiting = board.rows.len() - done.len() + grouped(&done) > room;
    let mut lines = Vec::new();
    if !done.is_empty() {
        lines.push(group(StyleRole::Success, Glyph::Check, "ready", &done));
    }
    if collapse_waiting {
        let busy: Vec<&NodeRow> = board
            .rows_in(NodePhase::Failed)
            .chain(board.rows_in(NodePhase::Active))
            .collect();
        let groups = grouped(&done) + grouped(&waiting) + grouped(&blocked);
        let room = room.saturating_sub(groups).max(1);
        let shown = if busy.len() > room {
            room - 1
        } else {
            busy.len()
        };
        lines.extend(busy[..shown].iter().map(|row| layout.render_row(row, now)));
        if shown < busy.len() {
            lines.push(group(
                StyleRole::Active,
                Glyph::Separator,
                "more",
                &busy[shown..],
            ));
        }
        if !waiting.is_empty() {
            lines.push(group(StyleRole::Muted, Glyph::Waiting, "waiting", &waiting));
        }
        if !blocked.is_empty() {
            lines.push(group(StyleRole::Muted, Glyph::Skipped, "blocked", &blocked));
        }
    } else {
        lines.extend(
            board
                .rows
                .iter()
                .filter(|row| row.phase() != NodePhase::Done)
                .map(|row| layout.render_row(row, now)),
        );
    }
    // On two or three rows even the groups are too many.
    lines.truncate(room);
    lines
}

fn render_total(
    board: &RunState,
    now: Duration,
    deadline: Option<Duration>,
    layout: &RowLayout,
) -> String {
    let done = board.rows_in(NodePhase::Done).count();
    let dot = layout.canvas.style.glyph(Glyph::Separator);
    let mut line = format!(
        "{} {} {dot} {done}/{} done",
        board.command,
        text::format_duration(now),
        board.rows.len()
    );
    if board.interrupted {
        line.push_str(&format!(
            " {dot} interrupted, stopping; Ctrl-C again to stop immediately"
        ));
    } else if let Some(deadline) = deadline {
        let left = text::format_duration(deadline.saturating_sub(now));
        line.push_str(&format!(" {dot} times out in {left}"));
    }
    let line = text::truncate(&line, layout.width, layout.canvas.style);
    let role = if board.interrupted {
        StyleRole::Warning
    } else {
        StyleRole::Muted
    };
    layout.canvas.paint(role, &line)
}

/// Where the parts of a line stand.
struct RowLayout<'a> {
    run: &'a RunState,
    canvas: &'a Canvas,
    width: usize,
    name_width: usize,
}

impl<'a> RowLayout<'a> {
    fn new(board: &'a RunState, canvas: &'a Canvas) -> Self {
        let width = canvas.width.saturating_sub(1).min(MAX_WIDTH);
        let longest = board
            .rows
            .iter()
            .map(|row| text::display_width(&row.node.name))
            .max()
            .unwrap_or(0);
        Self {
            run: board,
            canvas,
            width,
            name_width: longest.min(width / 3),
        }
    }

    /// Glyph or spinner, name, state, time.
    fn render_row(&self, row: &NodeRow, now: Duration) -> LiveLine {
        if row.phase() != NodePhase::Active {
            return LiveLine::Text(self.render_static_row(row, now));
        }
        self.render_bar_row(row, now)
            .unwrap_or_else(|| LiveLine::Spinner(self.render_activity(row, StyleRole::Active, now)))
    }

    /// The row where nothing turns (any more).
    fn render_static_row(&self, row: &NodeRow, now: Duration) -> String {
        let (role, glyph) = match row.phase() {
            NodePhase::Waiting => (StyleRole::Muted, Glyph::Waiting),
            NodePhase::Blocked => (StyleRole::Muted, Glyph::Skipped),
            NodePhase::Done => (StyleRole::Success, Glyph::Check),
            NodePhase::Failed => (StyleRole::Error, Glyph::Failed),
            NodePhase::Active => (StyleRole::Warning, Glyph::Waiting),
        };
        let sign = self.canvas.paint_glyph(role, glyph);
        format!("{sign} {}", self.render_activity(row, role, now))
    }

    /// Name, state in words, time.
    fn render_activity(&self, row: &NodeRow, role: StyleRole, now: Duration) -> String {
        let state = match &row.state {
            Some(state) => describe_briefly(state),
            None => describe_activity(&NodeState::Waiting {
                on: self.run.unready_dependencies(row),
            }),
        };
        let room = self
            .width
            .saturating_sub(GLYPH_WIDTH + self.name_width + 2 + 1 + DURATION_WIDTH);
        let words = text::sanitize(&state, false);
        let words = text::truncate(&words, room, self.canvas.style);
        // Verb in the state's colour, what belongs to it muted.
        let words = match words.split_once(' ') {
            Some((verb, rest)) if row.phase() == NodePhase::Active => {
                let rest = self.canvas.paint(StyleRole::Muted, &format!(" {rest}"));
                self.canvas.paint(role, verb) + &rest
            }
            _ => self.canvas.paint(role, &words),
        };
        let line = format!("{}  {words}", self.render_name(row));
        self.with_elapsed_time(&line, row, now, self.width.saturating_sub(GLYPH_WIDTH))
    }

    /// The row with a bar, where something can be counted and there is room.
    fn render_bar_row(&self, row: &NodeRow, now: Duration) -> Option<LiveLine> {
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
        let amount = format_amount(Some(*done), Some(*of), *unit)?;
        let before = format!(
            "{}  {} ",
            self.render_name(row),
            self.canvas.paint(StyleRole::Active, doing)
        );
        let room = self
            .width
            .checked_sub(
                GLYPH_WIDTH + text::display_width(&before) + BAR_WIDTH + 1 + DURATION_WIDTH,
            )
            .filter(|room| *of > 0 && *room > text::display_width(&amount))?;
        let detail = detail.as_ref().map_or(String::new(), |detail| {
            self.canvas.paint(
                StyleRole::Muted,
                &text::sanitize(&format!(" {detail}"), false),
            )
        });
        let style = self.canvas.style;
        let after = text::truncate(&format!(" {amount}{detail}"), room, style);
        Some(LiveLine::Bar {
            prefix: before,
            current: *done,
            total: *of,
            suffix: self.with_elapsed_time(&after, row, now, room + 1 + DURATION_WIDTH),
        })
    }

    fn render_name(&self, row: &NodeRow) -> String {
        let name = text::truncate(&row.node.name, self.name_width, self.canvas.style);
        let name = text::pad_right(&name, self.name_width);
        if matches!(row.phase(), NodePhase::Waiting | NodePhase::Blocked) {
            self.canvas.paint(StyleRole::Muted, &name)
        } else {
            name
        }
    }

    /// The text with the time at the right edge of so many columns.
    fn with_elapsed_time(
        &self,
        line: &str,
        row: &NodeRow,
        now: Duration,
        columns: usize,
    ) -> String {
        let style = self.canvas.style;
        let Some(took) = row.elapsed(now).filter(|_| !row.is_unchanged()) else {
            return text::truncate(line, columns, style);
        };
        let time = text::pad_left(&text::format_duration(took), DURATION_WIDTH);
        let time = self.canvas.paint(StyleRole::Muted, &time);
        let line = text::pad_right(line, columns.saturating_sub(DURATION_WIDTH + 1));
        text::truncate(&format!("{line} {time}"), columns, style)
    }

    /// Several rows in one line: how many, and as many names as fit.
    fn render_group(&self, role: StyleRole, glyph: Glyph, what: &str, rows: &[&NodeRow]) -> String {
        let names: Vec<&str> = rows.iter().map(|row| row.node.name.as_str()).collect();
        let head = format!("{} {what}", rows.len());
        let room = self
            .width
            .saturating_sub(2 + text::display_width(&head) + 2);
        let names = text::truncate(&names.join(", "), room, self.canvas.style);
        let line = format!(
            "{} {}  {}",
            self.canvas.paint_glyph(role, glyph),
            self.canvas.paint(role, &head),
            self.canvas.paint(StyleRole::Muted, &names)
        );
        text::truncate(&line, self.width, self.canvas.style)
    }
}
