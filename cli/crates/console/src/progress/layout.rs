//! Lays out a run as lines for a terminal of a given size.

use std::time::Duration;

use dm_stack::event::{NodeState, ProgressUnit};
use dm_terminal::canvas::{Canvas, Glyph, StyleRole};
use dm_terminal::live::{BAR_WIDTH, LiveLine};
use dm_terminal::text;

use super::run_state::{NodePhase, NodeRow, RunState};

/// The maximum width: a wider line is not easier to read.
const MAX_WIDTH: usize = 100;
/// The columns of a duration.
const DURATION_WIDTH: usize = 7;
/// The columns of a glyph or spinner and of the space behind it.
const GLYPH_WIDTH: usize = 2;

/// Describes the state of a node in words.
pub(crate) fn describe_activity(state: &NodeState) -> String {
    match state {
        NodeState::Waiting { waiting_for } if waiting_for.is_empty() => "waiting".into(),
        NodeState::Waiting { waiting_for } => format!("waiting for {}", waiting_for.join(", ")),
        NodeState::Working {
            activity,
            detail,
            current,
            total,
            unit,
        } => {
            let detail = detail
                .as_ref()
                .map_or(String::new(), |detail| format!(" {detail}"));
            match (format_amount(*current, *total, *unit), unit) {
                (None, _) => format!("{activity}{detail}"),
                // The detail describes the step.
                (Some(step), ProgressUnit::Steps | ProgressUnit::Crates) => {
                    format!("{activity} {step}{detail}")
                }
                (Some(bytes), ProgressUnit::Bytes) => format!("{activity}{detail} ({bytes})"),
            }
        }
        NodeState::Creating => "creating".into(),
        NodeState::Starting { probe: None } => "starting".into(),
        NodeState::Starting { probe: Some(probe) } => format!("starting ({probe})"),
        NodeState::Ready { unchanged: true } => "ready, unchanged".into(),
        NodeState::Ready { unchanged: false } => "ready".into(),
        NodeState::Stopping => "stopping".into(),
        NodeState::Removed => "removed".into(),
        NodeState::Failed => "failed".into(),
        NodeState::Blocked { blocked_by } => format!("blocked by {blocked_by}"),
    }
}

/// Like [`describe_activity`], with the most important part first, for narrow terminals.
fn describe_briefly(state: &NodeState) -> String {
    let NodeState::Working {
        activity,
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
    format!("{activity} {amount} {detail}")
        .trim_end()
        .to_owned()
}

/// Returns the percentage that is done.
pub(crate) fn percent(current: Option<u64>, total: Option<u64>) -> Option<u64> {
    let (current, total) = (current?, total.filter(|total| *total > 0)?);
    let hundredths = u128::from(current.min(total)) * 100 / u128::from(total);
    u64::try_from(hundredths).ok()
}

/// Formats the amount that is done: `62%, 45.1 MB of 72.8 MB`, `45.1 MB`, `step 3/7`, `120 of 402`.
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

/// Renders the lines of a run in progress. They are narrower than the canvas, and
/// fewer than `rows`, so that a terminal neither breaks nor scrolls them.
pub(crate) fn render_frame(
    run: &RunState,
    now: Duration,
    deadline: Option<Duration>,
    canvas: &Canvas,
    rows: usize,
) -> Vec<LiveLine> {
    // One line for the total, one for the cursor.
    let room = rows.saturating_sub(2).max(1);
    let layout = RowLayout::new(run, canvas);
    let mut lines = render_rows(run, now, &layout, room);
    lines.push(LiveLine::Text(render_total(run, now, deadline, &layout)));
    lines
}

/// Renders the lines that stay after the run. All unchanged nodes share one line, and
/// so do those that never started.
pub(crate) fn render_summary(run: &RunState, elapsed: Duration, canvas: &Canvas) -> Vec<String> {
    let layout = RowLayout::new(run, canvas);
    let group = |role, glyph, label, is_member: &dyn Fn(&NodeRow) -> bool| {
        let rows: Vec<&NodeRow> = run.rows.iter().filter(|row| is_member(row)).collect();
        (!rows.is_empty()).then(|| layout.render_group(role, glyph, label, &rows))
    };
    let unchanged = group(
        StyleRole::Success,
        Glyph::Check,
        "unchanged",
        &NodeRow::is_unchanged,
    );
    let blocked = group(StyleRole::Muted, Glyph::Skipped, "blocked", &|row| {
        row.phase() == NodePhase::Blocked
    });
    let waiting = group(StyleRole::Muted, Glyph::Waiting, "not started", &|row| {
        row.phase() == NodePhase::Waiting
    });
    let changed = run
        .rows
        .iter()
        .filter(|row| {
            !row.is_unchanged() && !matches!(row.phase(), NodePhase::Blocked | NodePhase::Waiting)
        })
        .map(|row| layout.render_static_row(row, elapsed));
    unchanged
        .into_iter()
        .chain(changed)
        .chain(blocked)
        .chain(waiting)
        .collect()
}

fn render_rows(run: &RunState, now: Duration, layout: &RowLayout, room: usize) -> Vec<LiveLine> {
    if run.rows.len() <= room {
        return run
            .rows
            .iter()
            .map(|row| layout.render_row(row, now))
            .collect();
    }
    let rows_in = |phase| run.rows_in(phase).collect::<Vec<_>>();
    let (done, waiting, blocked) = (
        rows_in(NodePhase::Done),
        rows_in(NodePhase::Waiting),
        rows_in(NodePhase::Blocked),
    );
    let group_height = |rows: &[&NodeRow]| usize::from(!rows.is_empty());
    let group = |role, glyph, label, rows: &[&NodeRow]| {
        LiveLine::Text(layout.render_group(role, glyph, label, rows))
    };

    // Finished nodes are collapsed first, then those that have not started.
    let collapse_waiting = run.rows.len() - done.len() + group_height(&done) > room;
    let mut lines = Vec::new();
    if !done.is_empty() {
        lines.push(group(StyleRole::Success, Glyph::Check, "ready", &done));
    }
    if collapse_waiting {
        let active: Vec<&NodeRow> = run
            .rows_in(NodePhase::Failed)
            .chain(run.rows_in(NodePhase::Active))
            .collect();
        let groups = group_height(&done) + group_height(&waiting) + group_height(&blocked);
        let room = room.saturating_sub(groups).max(1);
        let shown = if active.len() > room {
            room - 1
        } else {
            active.len()
        };
        lines.extend(
            active[..shown]
                .iter()
                .map(|row| layout.render_row(row, now)),
        );
        if shown < active.len() {
            lines.push(group(
                StyleRole::Active,
                Glyph::Separator,
                "more",
                &active[shown..],
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
            run.rows
                .iter()
                .filter(|row| row.phase() != NodePhase::Done)
                .map(|row| layout.render_row(row, now)),
        );
    }
    // Two or three rows are too few even for the groups.
    lines.truncate(room);
    lines
}

fn render_total(
    run: &RunState,
    now: Duration,
    deadline: Option<Duration>,
    layout: &RowLayout,
) -> String {
    let done = run.rows_in(NodePhase::Done).count();
    let dot = layout.canvas.style.glyph(Glyph::Separator);
    let mut line = format!(
        "{} {} {dot} {done}/{} done",
        run.command,
        text::format_duration(now),
        run.rows.len()
    );
    if run.interrupted {
        line.push_str(&format!(
            " {dot} interrupted, stopping; Ctrl-C again to stop immediately"
        ));
    } else if let Some(deadline) = deadline {
        let remaining = text::format_duration(deadline.saturating_sub(now));
        line.push_str(&format!(" {dot} times out in {remaining}"));
    }
    let line = text::truncate(&line, layout.width, layout.canvas.style);
    let role = if run.interrupted {
        StyleRole::Warning
    } else {
        StyleRole::Muted
    };
    layout.canvas.paint(role, &line)
}

/// The layout of the parts of a line.
struct RowLayout<'a> {
    run: &'a RunState,
    canvas: &'a Canvas,
    width: usize,
    name_width: usize,
}

impl<'a> RowLayout<'a> {
    fn new(run: &'a RunState, canvas: &'a Canvas) -> Self {
        let width = canvas.width.saturating_sub(1).min(MAX_WIDTH);
        let longest = run
            .rows
            .iter()
            .map(|row| text::display_width(&row.node.name))
            .max()
            .unwrap_or(0);
        Self {
            run,
            canvas,
            width,
            name_width: longest.min(width / 3),
        }
    }

    /// Renders a row: glyph or spinner, name, state, time.
    fn render_row(&self, row: &NodeRow, now: Duration) -> LiveLine {
        if row.phase() != NodePhase::Active {
            return LiveLine::Text(self.render_static_row(row, now));
        }
        self.render_bar_row(row, now)
            .unwrap_or_else(|| LiveLine::Spinner(self.render_activity(row, StyleRole::Active, now)))
    }

    /// Renders a row without a spinner.
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

    /// Renders the name, the state in words and the time.
    fn render_activity(&self, row: &NodeRow, role: StyleRole, now: Duration) -> String {
        let state = match &row.state {
            Some(state) => describe_briefly(state),
            None => describe_activity(&NodeState::Waiting {
                waiting_for: self.run.unready_dependencies(row),
            }),
        };
        let room = self
            .width
            .saturating_sub(GLYPH_WIDTH + self.name_width + 2 + 1 + DURATION_WIDTH);
        let activity = text::sanitize(&state, false);
        let activity = text::truncate(&activity, room, self.canvas.style);
        // The verb has the state's colour, the rest is muted.
        let activity = match activity.split_once(' ') {
            Some((verb, rest)) if row.phase() == NodePhase::Active => {
                let rest = self.canvas.paint(StyleRole::Muted, &format!(" {rest}"));
                self.canvas.paint(role, verb) + &rest
            }
            _ => self.canvas.paint(role, &activity),
        };
        let line = format!("{}  {activity}", self.render_name(row));
        self.with_elapsed_time(&line, row, now, self.width.saturating_sub(GLYPH_WIDTH))
    }

    /// Renders a row with a bar, if the amounts are known and there is enough room.
    fn render_bar_row(&self, row: &NodeRow, now: Duration) -> Option<LiveLine> {
        let Some(NodeState::Working {
            activity,
            detail,
            current: Some(current),
            total: Some(total),
            unit,
        }) = &row.state
        else {
            return None;
        };
        let amount = format_amount(Some(*current), Some(*total), *unit)?;
        let prefix = format!(
            "{}  {} ",
            self.render_name(row),
            self.canvas.paint(StyleRole::Active, activity)
        );
        let room = self
            .width
            .checked_sub(
                GLYPH_WIDTH + text::display_width(&prefix) + BAR_WIDTH + 1 + DURATION_WIDTH,
            )
            .filter(|room| *total > 0 && *room > text::display_width(&amount))?;
        let detail = detail.as_ref().map_or(String::new(), |detail| {
            self.canvas.paint(
                StyleRole::Muted,
                &text::sanitize(&format!(" {detail}"), false),
            )
        });
        let style = self.canvas.style;
        let suffix = text::truncate(&format!(" {amount}{detail}"), room, style);
        Some(LiveLine::Bar {
            prefix,
            current: *current,
            total: *total,
            suffix: self.with_elapsed_time(&suffix, row, now, room + 1 + DURATION_WIDTH),
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

    /// Adds the elapsed time to a text, at the right edge of `columns`.
    fn with_elapsed_time(
        &self,
        line: &str,
        row: &NodeRow,
        now: Duration,
        columns: usize,
    ) -> String {
        let style = self.canvas.style;
        let Some(elapsed) = row.elapsed(now).filter(|_| !row.is_unchanged()) else {
            return text::truncate(line, columns, style);
        };
        let time = text::pad_left(&text::format_duration(elapsed), DURATION_WIDTH);
        let time = self.canvas.paint(StyleRole::Muted, &time);
        let line = text::pad_right(line, columns.saturating_sub(DURATION_WIDTH + 1));
        text::truncate(&format!("{line} {time}"), columns, style)
    }

    /// Renders several rows as one line: their number, and as many names as fit.
    fn render_group(
        &self,
        role: StyleRole,
        glyph: Glyph,
        label: &str,
        rows: &[&NodeRow],
    ) -> String {
        let names: Vec<&str> = rows.iter().map(|row| row.node.name.as_str()).collect();
        let head = format!("{} {label}", rows.len());
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
