//! Outboxes.

use chrono::{DateTime, Utc};
use dm_messaging::outbox::page::Page;
use dm_messaging::outbox::stats::Depth;
use dm_messaging::outbox::{Row, State};
use dm_terminal::style::{Canvas, Glyph, Role};
use dm_terminal::table::{Cell, Column, Table};
use dm_terminal::text;
use serde::Serialize;

/// How the outboxes stand, as a document.
#[derive(Debug, Serialize)]
pub(crate) struct Depths<'a> {
    /// The outboxes.
    pub outboxes: &'a [Depth],
}

/// How a state looks.
pub(super) const fn role(state: State) -> Role {
    match state {
        State::Pending | State::Held => Role::Active,
        State::Refused => Role::Bad,
        State::Published => Role::Good,
    }
}

/// A page of events.
#[must_use]
pub(crate) fn page(page: &Page, now: DateTime<Utc>, canvas: &Canvas) -> String {
    if page.rows.is_empty() {
        return "no events".to_owned();
    }
    let mut table = Table::new(vec![
        Column::new("written").least(12),
        Column::new("service").rank(3),
        Column::new("type").least(16),
        Column::new("aggregate").rank(1).least(12),
        Column::new("state").least(9),
        Column::new("attempts").right().rank(5),
        Column::new("id").least(36),
        Column::new("error").rank(4),
    ]);
    for row in &page.rows {
        table.row(cells(row, now));
    }
    let mut text = table.render(canvas);
    if let Some(next) = &page.next {
        text.push_str("\n\n");
        let more = format!("next page: --cursor {next}");
        text.push_str(&canvas.paint(Role::Muted, &more));
    }
    text
}

fn cells(row: &Row, now: DateTime<Utc>) -> Vec<Cell> {
    let state = row.state(now);
    vec![
        Cell::new(text::ago(Some(row.created_at), now)),
        Cell::new(&row.service),
        Cell::new(text::short_type(Some(&row.event_type))),
        Cell::new(&row.subject),
        Cell::new(state.as_str()).role(role(state)),
        Cell::new(row.attempts.to_string()),
        Cell::new(&row.event_id),
        Cell::optional(row.last_error.as_deref()),
    ]
}

/// How the outboxes stand.
#[must_use]
pub(crate) fn depths(depths: &[Depth], now: DateTime<Utc>, canvas: &Canvas) -> String {
    let mut table = Table::new(vec![
        Column::new("service").least(9),
        Column::new("pending").right(),
        Column::new("held").right().rank(2),
        Column::new("refused").right(),
        Column::new("oldest waits").rank(1),
        Column::new("published/s").right(),
        Column::new("last error").rank(3),
    ]);
    for depth in depths {
        let count = |count: i64, role: Role| {
            let cell = Cell::new(count.to_string());
            if count > 0 { cell.role(role) } else { cell }
        };
        let waits = depth.oldest.map(|at| {
            let seconds = (now - at).to_std().unwrap_or_default();
            text::duration(seconds)
        });
        table.row(vec![
            Cell::new(&depth.service),
            count(depth.pending, Role::Active),
            count(depth.held, Role::Muted),
            count(depth.refused, Role::Bad),
            Cell::optional(waits),
            Cell::new(rate(depth.last_minute)),
            Cell::optional(depth.last_error.as_deref()),
        ]);
    }
    let mut lines = vec![table.render(canvas)];
    lines.extend(depths.iter().filter_map(|depth| {
        let first = format!("{} ", canvas.sign(Role::Bad, Glyph::Failed));
        let sentence = text::harmless(&depth.blockade()?, false);
        Some(canvas.wrap(&sentence, &first, "  "))
    }));
    lines.join("\n")
}

/// A count of a minute as a rate.
pub(crate) fn rate(last_minute: i64) -> String {
    let tenths = (last_minute * 10 + 30) / 60;
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use dm_contracts::time;
    use dm_messaging::outbox::row::examples::row;
    use dm_messaging::outbox::stats::examples::{blocked, depth};
    use dm_terminal::testing::{assert_fits, terminal};

    use super::*;

    fn now() -> DateTime<Utc> {
        time::parse("2026-02-03T10:02:00Z").unwrap()
    }

    #[test]
    fn a_page_says_how_far_each_event_is() {
        let refused = Row {
            published_at: None,
            last_error: Some("no queue is bound to its routing key".into()),
            attempts: 4,
            ..row(&format!("evt_{}2", "0".repeat(31)))
        };
        let found = Page {
            rows: vec![refused, row(&format!("evt_{}1", "0".repeat(31)))],
            next: "order:7".parse().ok(),
        };
        insta::assert_snapshot!("outbox_ls_140", page(&found, now(), &terminal(140)));
        for width in [60, 80, 200] {
            assert_fits(&page(&found, now(), &terminal(width)), width);
        }
    }

    #[test]
    fn outboxes_say_what_waits() {
        let found = [
            depth("order", 5, 0),
            depth("wuphf", 0, 2),
            depth("sales", 0, 0),
            blocked("finance"),
        ];
        insta::assert_snapshot!("outbox_stats_100", depths(&found, now(), &terminal(100)));
        for width in [60, 80, 200] {
            assert_fits(&depths(&found, now(), &terminal(width)), width);
        }
    }

    #[test]
    fn a_rate_has_one_decimal() {
        assert_eq!(rate(0), "0.0");
        assert_eq!(rate(59), "1.0");
        assert_eq!(rate(1200), "20.0");
    }
}
