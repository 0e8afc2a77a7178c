//! Where the time of a run went: the critical chain, and a chart.

use std::time::Duration;

use dm_stack::timings::{CriticalChain, Link, Span, Timings};
use dm_terminal::style::{Canvas, Glyph, Role};
use dm_terminal::text;

/// A wider chart is no easier to read.
const WIDEST: usize = 120;
/// The columns of a duration, e.g. `59.9s` or `1m 04s`.
const TIME: usize = 7;

/// The critical chain as a tree, and below it the chart of all nodes.
#[must_use]
pub fn render(timings: &Timings, canvas: &Canvas) -> String {
    let mut lines = chain(&timings.critical_chain, canvas);
    lines.push(String::new());
    lines.extend(chart(timings, canvas));
    lines.join("\n")
}

fn chain(chain: &CriticalChain, canvas: &Canvas) -> Vec<String> {
    let title = format!("critical chain: {}", text::duration(chain.total));
    let mut lines = vec![
        canvas.paint(Role::Strong, &title),
        canvas.wrap(
            "each node waited for the one below it; @ the time at which it could begin, + its duration",
            "",
            "",
        ),
    ];
    if canvas.style.colour {
        lines[1] = lines[1]
            .lines()
            .map(|line| canvas.paint(Role::Muted, line))
            .collect::<Vec<_>>()
            .join("\n");
    }
    let rows: Vec<(String, &Link)> = chain
        .links
        .iter()
        .enumerate()
        .map(|(depth, link)| (branch(depth, canvas) + &link.node, link))
        .collect();
    let room = canvas.width.saturating_sub(2 * TIME + 3);
    let names = rows
        .iter()
        .map(|(name, _)| text::width(name))
        .max()
        .unwrap_or(0)
        .min(room);
    for (name, link) in &rows {
        let name = text::pad(&text::truncate(name, names, canvas.style), names);
        let took = link.ready.saturating_sub(link.began);
        let share = took.as_secs_f64() / chain.total.as_secs_f64().max(f64::EPSILON);
        let took = text::pad(&format!("+{}", text::duration(took)), TIME);
        // What took the most is what to look at.
        let took = if share >= 0.4 {
            canvas.paint(Role::Warn, &took)
        } else {
            took
        };
        let began = canvas.paint(
            Role::Muted,
            &text::pad(&format!("@{}", text::duration(link.began)), TIME),
        );
        let head = format!("{name}  {began} {took}");
        lines.push(with_phases(&head, &link.phases, canvas));
    }
    lines
}

/// Deep chains stay at a depth, so that the names keep their room.
fn branch(depth: usize, canvas: &Canvas) -> String {
    match depth {
        0 => String::new(),
        _ => format!(
            "{}{} ",
            "  ".repeat((depth - 1).min(canvas.width / 10)),
            canvas.style.glyph(Glyph::Branch)
        ),
    }
}

/// The phases that tell something, as many as fit.
fn with_phases(head: &str, phases: &[(String, Duration)], canvas: &Canvas) -> String {
    let mut line = head.to_owned();
    let mut separator = "  ";
    for (doing, length) in phases.iter().filter(|(_, length)| length.as_millis() >= 50) {
        let more = format!("{separator}{doing} {}", text::duration(*length));
        if text::width(&line) + text::width(&more) > canvas.width.min(WIDEST) {
            break;
        }
        line.push_str(&canvas.paint(Role::Muted, &more));
        separator = ", ";
    }
    line.trim_end().to_owned()
}

/// One bar a node, from when it began to work until it ended.
fn chart(timings: &Timings, canvas: &Canvas) -> Vec<String> {
    let total = timings
        .spans
        .iter()
        .map(|span| span.ended)
        .max()
        .unwrap_or_default()
        .max(timings.critical_chain.total);
    let width = canvas.width.min(WIDEST);
    let names = timings
        .spans
        .iter()
        .map(|span| text::width(&span.node))
        .max()
        .unwrap_or(0)
        .min(width / 3);
    let room = width.saturating_sub(names + TIME + 4).max(1);
    let critical = |node: &str| {
        timings
            .critical_chain
            .links
            .iter()
            .any(|link| link.node == node)
    };
    timings
        .spans
        .iter()
        // What was there already has no bar to draw.
        .filter(|span| span.ended > span.began)
        .map(|span| {
            let name = text::pad(&text::truncate(&span.node, names, canvas.style), names);
            let bar = bar(span, total, room, canvas);
            let role = if critical(&span.node) {
                Role::Warn
            } else {
                Role::Active
            };
            let took = text::pad_left(&text::duration(span.ended - span.began), TIME);
            format!("{name}  {}  {took}", canvas.paint(role, &bar))
        })
        .collect()
}

/// Preparation and running look different: images and containers that are
/// made, and a component that starts.
fn bar(span: &Span, total: Duration, room: usize, canvas: &Canvas) -> String {
    let (total, columns) = (total.as_nanos().max(1), room as u128);
    let column = |at: Duration| {
        let rounded = (at.as_nanos() * columns + total / 2) / total;
        usize::try_from(rounded).unwrap_or(room).min(room)
    };
    let start = column(span.began).min(room - 1);
    let mut bar = " ".repeat(start);
    let mut used = start;
    let mut at = span.began;
    for (doing, length) in &span.phases {
        at += *length;
        let until = column(at);
        let glyph = match doing.as_str() {
            "starting" => Glyph::Run,
            _ => Glyph::Prepare,
        };
        bar.push_str(&canvas.style.glyph(glyph).repeat(until.saturating_sub(used)));
        used = used.max(until);
    }
    if used == start {
        // Too short to be seen, and yet it was there.
        bar.push_str(canvas.style.glyph(Glyph::Run));
    }
    text::pad(&bar, room)
}

#[cfg(test)]
mod tests {
    use dm_stack::event::{Event, Node, NodeKind, NodeState, Unit};
    use dm_terminal::testing::{assert_fits, coloured, pipe, terminal, visible};

    use super::*;

    fn timings() -> Timings {
        let node = |name: &str, after: &[&str]| Node {
            name: name.into(),
            kind: NodeKind::Service,
            after: after.iter().map(ToString::to_string).collect(),
        };
        let change = |name: &str, state, millis| Event::Node {
            name: name.into(),
            state,
            at: Duration::from_millis(millis),
        };
        let ready = NodeState::Ready { kept: false };
        let starting = NodeState::Starting { probe: None };
        let migrating = NodeState::Working {
            doing: "migrating".into(),
            detail: None,
            current: None,
            total: None,
            unit: Unit::Steps,
        };
        let events = [
            Event::Started {
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
            change("image/postgres", NodeState::Ready { kept: true }, 30),
            change("postgres", NodeState::Creating, 40),
            change("rabbitmq", NodeState::Creating, 50),
            change("openldap", NodeState::Creating, 60),
            change("postgres", starting.clone(), 260),
            change("openldap", starting.clone(), 300),
            change("rabbitmq", starting.clone(), 310),
            change("openldap", ready.clone(), 810),
            change("postgres", ready.clone(), 1_100),
            change("migrations", migrating, 1_110),
            change("migrations", ready.clone(), 1_420),
            change("keycloak", NodeState::Creating, 1_430),
            change("keycloak", starting.clone(), 1_700),
            change("rabbitmq", ready.clone(), 4_500),
            change("keycloak", ready.clone(), 7_900),
            change("gateway", starting, 8_000),
            change("gateway", ready, 8_040),
        ];
        Timings::of(&events).unwrap()
    }

    #[test]
    fn timings_at_each_width() {
        insta::assert_snapshot!("timings_40", render(&timings(), &terminal(40)));
        insta::assert_snapshot!("timings_80", render(&timings(), &terminal(80)));
        insta::assert_snapshot!("timings_200", render(&timings(), &terminal(200)));
        insta::assert_snapshot!("timings_pipe", render(&timings(), &pipe()));
        insta::assert_snapshot!(
            "timings_colour",
            visible(&render(&timings(), &coloured(80)))
        );
        for width in [20, 40, 80, 200] {
            assert_fits(&render(&timings(), &coloured(width)), width);
        }
    }
}
