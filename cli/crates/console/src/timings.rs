//! The timings of a run: the critical path and a chart.

use std::time::Duration;

use dm_stack::timings::{ChainLink, CriticalPath, NodeSpan, Timings};
use dm_terminal::canvas::{Canvas, Glyph, StyleRole};
use dm_terminal::text;

/// The maximum width: a wider chart is not easier to read.
const MAX_WIDTH: usize = 120;
/// The columns of a duration, e.g. `59.9s` or `1m 04s`.
const DURATION_WIDTH: usize = 7;

/// Renders the critical path as a tree, and below it the chart of all nodes.
#[must_use]
pub fn render(timings: &Timings, canvas: &Canvas) -> String {
    let mut lines = render_chain(&timings.critical_path, canvas);
    lines.push(String::new());
    lines.extend(render_chart(timings, canvas));
    lines.join("\n")
}

fn render_chain(chain: &CriticalPath, canvas: &Canvas) -> Vec<String> {
    let title = format!("critical path: {}", text::format_duration(chain.total));
    let mut lines = vec![
        canvas.paint(StyleRole::Emphasis, &title),
        canvas.wrap(
            "each node waited for the one below it; @ the time at which it could begin, + its duration",
            "",
            "",
        ),
    ];
    if canvas.style.colour {
        lines[1] = lines[1]
            .lines()
            .map(|line| canvas.paint(StyleRole::Muted, line))
            .collect::<Vec<_>>()
            .join("\n");
    }
    let rows: Vec<(String, &ChainLink)> = chain
        .links
        .iter()
        .enumerate()
        .map(|(depth, link)| (branch_prefix(depth, canvas) + &link.node, link))
        .collect();
    let room = canvas.width.saturating_sub(2 * DURATION_WIDTH + 3);
    let name_width = rows
        .iter()
        .map(|(name, _)| text::display_width(name))
        .max()
        .unwrap_or(0)
        .min(room);
    for (name, link) in &rows {
        let name = text::pad_right(&text::truncate(name, name_width, canvas.style), name_width);
        let duration = link.ready.saturating_sub(link.started);
        let share = duration.as_secs_f64() / chain.total.as_secs_f64().max(f64::EPSILON);
        let duration = text::pad_right(
            &format!("+{}", text::format_duration(duration)),
            DURATION_WIDTH,
        );
        // Long links are highlighted.
        let duration = if share >= 0.4 {
            canvas.paint(StyleRole::Warning, &duration)
        } else {
            duration
        };
        let start = canvas.paint(
            StyleRole::Muted,
            &text::pad_right(
                &format!("@{}", text::format_duration(link.started)),
                DURATION_WIDTH,
            ),
        );
        let head = format!("{name}  {start} {duration}");
        lines.push(append_phases(&head, &link.phases, canvas));
    }
    lines
}

/// Returns the tree prefix of a link. Its depth is limited, so that the names have enough room.
fn branch_prefix(depth: usize, canvas: &Canvas) -> String {
    match depth {
        0 => String::new(),
        _ => format!(
            "{}{} ",
            "  ".repeat((depth - 1).min(canvas.width / 10)),
            canvas.style.glyph(Glyph::Branch)
        ),
    }
}

/// Appends the phases of at least 50 ms, as many as fit.
fn append_phases(head: &str, phases: &[(String, Duration)], canvas: &Canvas) -> String {
    let mut line = head.to_owned();
    let mut separator = "  ";
    for (phase, length) in phases.iter().filter(|(_, length)| length.as_millis() >= 50) {
        let more = format!("{separator}{phase} {}", text::format_duration(*length));
        if text::display_width(&line) + text::display_width(&more) > canvas.width.min(MAX_WIDTH) {
            break;
        }
        line.push_str(&canvas.paint(StyleRole::Muted, &more));
        separator = ", ";
    }
    line.trim_end().to_owned()
}

/// Renders one bar per node, from its first work to its end.
fn render_chart(timings: &Timings, canvas: &Canvas) -> Vec<String> {
    let total = timings
        .spans
        .iter()
        .map(|span| span.ended)
        .max()
        .unwrap_or_default()
        .max(timings.critical_path.total);
    let width = canvas.width.min(MAX_WIDTH);
    let name_width = timings
        .spans
        .iter()
        .map(|span| text::display_width(&span.node))
        .max()
        .unwrap_or(0)
        .min(width / 3);
    let room = width.saturating_sub(name_width + DURATION_WIDTH + 4).max(1);
    let is_critical = |node: &str| {
        timings
            .critical_path
            .links
            .iter()
            .any(|link| link.node == node)
    };
    timings
        .spans
        .iter()
        // An unchanged node has no bar.
        .filter(|span| span.ended > span.started)
        .map(|span| {
            let name = text::pad_right(
                &text::truncate(&span.node, name_width, canvas.style),
                name_width,
            );
            let bar = render_bar(span, total, room, canvas);
            let role = if is_critical(&span.node) {
                StyleRole::Warning
            } else {
                StyleRole::Active
            };
            let duration = text::pad_left(
                &text::format_duration(span.ended - span.started),
                DURATION_WIDTH,
            );
            format!("{name}  {}  {duration}", canvas.paint(role, &bar))
        })
        .collect()
}

/// Renders the bar of a node. The preparation of images and containers has another glyph
/// than the start of a component.
fn render_bar(span: &NodeSpan, total: Duration, room: usize, canvas: &Canvas) -> String {
    let (total, columns) = (total.as_nanos().max(1), room as u128);
    let column = |elapsed: Duration| {
        let rounded = (elapsed.as_nanos() * columns + total / 2) / total;
        usize::try_from(rounded).unwrap_or(room).min(room)
    };
    let start = column(span.started).min(room - 1);
    let mut bar = " ".repeat(start);
    let mut used = start;
    let mut elapsed = span.started;
    for (phase, length) in &span.phases {
        elapsed += *length;
        let end = column(elapsed);
        let glyph = match phase.as_str() {
            "starting" => Glyph::ChartRun,
            _ => Glyph::ChartPrepare,
        };
        bar.push_str(&canvas.style.glyph(glyph).repeat(end.saturating_sub(used)));
        used = used.max(end);
    }
    if used == start {
        // Too short to be visible: shown as one column.
        bar.push_str(canvas.style.glyph(Glyph::ChartRun));
    }
    text::pad_right(&bar, room)
}

#[cfg(test)]
mod tests {
    use dm_stack::event::{Node, NodeKind, NodeState, ProgressUnit, RunEvent};
    use dm_terminal::testing::{
        assert_fits, coloured_canvas, escape_sgr, pipe_canvas, terminal_canvas,
    };

    use super::*;

    fn timings() -> Timings {
        let node = |name: &str, after: &[&str]| Node {
            name: name.into(),
            kind: NodeKind::Service,
            after: after.iter().map(ToString::to_string).collect(),
        };
        let node_event = |name: &str, state, millis| RunEvent::Node {
            name: name.into(),
            state,
            elapsed: Duration::from_millis(millis),
        };
        let ready = NodeState::Ready { unchanged: false };
        let starting = NodeState::Starting { probe: None };
        let migrating = NodeState::Working {
            activity: "migrating".into(),
            detail: None,
            current: None,
            total: None,
            unit: ProgressUnit::Steps,
        };
        let events = [
            RunEvent::Started {
                command: "up".into(),
                instance: "default".into(),
                nodes: vec![
                    node("image/postgres", &[]),
                    node("postgres", &["image/postgres"]),
                    node("rabbitmq", &[]),
                    node("openldap", &[]),
                    node("migrations", &["postgres"]),
                    node("keycloak", &["migrations", "openldap"]),
                    node("gateway", &["keycloak", "rabbitmq"]),
                ],
            },
            node_event("image/postgres", NodeState::Ready { unchanged: true }, 30),
            node_event("postgres", NodeState::Creating, 40),
            node_event("rabbitmq", NodeState::Creating, 50),
            node_event("openldap", NodeState::Creating, 60),
            node_event("postgres", starting.clone(), 260),
            node_event("openldap", starting.clone(), 300),
            node_event("rabbitmq", starting.clone(), 310),
            node_event("openldap", ready.clone(), 810),
            node_event("postgres", ready.clone(), 1_100),
            node_event("migrations", migrating, 1_110),
            node_event("migrations", ready.clone(), 1_420),
            node_event("keycloak", NodeState::Creating, 1_430),
            node_event("keycloak", starting.clone(), 1_700),
            node_event("rabbitmq", ready.clone(), 4_500),
            node_event("keycloak", ready.clone(), 7_900),
            node_event("gateway", starting, 8_000),
            node_event("gateway", ready, 8_040),
        ];
        Timings::from_events(&events).unwrap()
    }

    #[test]
    fn timings_fit_each_width() {
        insta::assert_snapshot!("timings_40", render(&timings(), &terminal_canvas(40)));
        insta::assert_snapshot!("timings_80", render(&timings(), &terminal_canvas(80)));
        insta::assert_snapshot!("timings_200", render(&timings(), &terminal_canvas(200)));
        insta::assert_snapshot!("timings_pipe", render(&timings(), &pipe_canvas()));
        insta::assert_snapshot!(
            "timings_colour",
            escape_sgr(&render(&timings(), &coloured_canvas(80)))
        );
        for width in [20, 40, 80, 200] {
            assert_fits(&render(&timings(), &coloured_canvas(width)), width);
        }
    }
}
