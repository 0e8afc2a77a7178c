//! Renders outboxes.

use chrono::{DateTime, Utc};
use dm_messaging::outbox::page::OutboxPage;
use dm_messaging::outbox::stats::OutboxDepth;
use dm_messaging::outbox::{OutboxRow, OutboxState};
use dm_terminal::canvas::{Canvas, Glyph, StyleRole};
use dm_terminal::table::{Cell, Column, Table};
use dm_terminal::text;
use serde::Serialize;

/// The document of `dm outbox stats`.
#[derive(Debug, Serialize)]
pub(crate) struct OutboxStatsDocument<'a> {
    /// The outboxes.
    pub outboxes: &'a [OutboxDepth],
}

/// Returns the style of a state.
pub(super) const fn state_role(state: OutboxState) -> StyleRole {
    match state {
        OutboxState::Pending | OutboxState::Held => StyleRole::Active,
        OutboxState::Refused => StyleRole::Error,
        OutboxState::Published => StyleRole::Success,
    }
}

/// Renders a page of events.
#[must_use]
pub(crate) fn render_page(page: &OutboxPage, now: DateTime<Utc>, canvas: &Canvas) -> String {
    if page.rows.is_empty() {
        return "no events".to_owned();
    }
    let mut table = Table::new(vec![
        Column::new("written").min_width(12),
        Column::new("service").drop_priority(3),
        Column::new("type").min_width(16),
        Column::new("aggregate").drop_priority(1).min_width(12),
        Column::new("state").min_width(9),
        Column::new("attempts").right_aligned().drop_priority(5),
        Column::new("id").min_width(36),
        Column::new("error").drop_priority(4),
    ]);
    for row in &page.rows {
        table.add_row(page_cells(row, now));
    }
    let mut text = table.render(canvas);
    if let Some(next) = &page.next_cursor {
        text.push_str("\n\n");
        let more = format!("next page: --cursor {next}");
        text.push_str(&canvas.paint(StyleRole::Muted, &more));
    }
    text
}

fn page_cells(row: &OutboxRow, now: DateTime<Utc>) -> Vec<Cell> {
    let state = row.state(now);
    vec![
        Cell::new(text::format_ago(Some(row.created_at), now)),
        Cell::new(&row.service),
        Cell::new(text::short_event_type(Some(&row.event_type))),
        Cell::new(&row.subject),
        Cell::new(state.as_str()).with_role(state_role(state)),
        Cell::new(row.attempts.to_string()),
        Cell::new(&row.event_id),
        Cell::from_option(row.last_error.as_deref()),
    ]
}

/// Renders the depths and rates of the outboxes.
#[must_use]
pub(crate) fn render_stats(depths: &[OutboxDepth], now: DateTime<Utc>, canvas: &Canvas) -> String {
    let mut table = Table::new(vec![
        Column::new("service").min_width(9),
        Column::new("pending").right_aligned(),
        Column::new("held").right_aligned().drop_priority(2),
        Column::new("refused").right_aligned(),
        Column::new("oldest").drop_priority(1),
        Column::new("published/s").right_aligned(),
        Column::new("last error").drop_priority(3),
    ]);
    for depth in depths {
        let count = |count: i64, role: StyleRole| {
            let cell = Cell::new(count.to_string());
            if count > 0 {
                cell.with_role(role)
            } else {
                cell
            }
        };
        let oldest_age = depth.oldest_created_at.map(|at| {
            let seconds = (now - at).to_std().unwrap_or_default();
            text::format_duration(seconds)
        });
        table.add_row(vec![
            Cell::new(&depth.service),
            count(depth.pending, StyleRole::Active),
            count(depth.held, StyleRole::Muted),
            count(depth.refused, StyleRole::Error),
            Cell::from_option(oldest_age),
            Cell::new(format_rate(depth.published_last_minute)),
            Cell::from_option(depth.last_error.as_deref()),
        ]);
    }
    let mut lines = vec![table.render(canvas)];
    lines.extend(depths.iter().filter_map(|depth| {
        let first = format!("{} ", canvas.paint_glyph(StyleRole::Error, Glyph::Failed));
        let sentence = text::sanitize(&depth.describe_blocked_relay()?, false);
        Some(canvas.wrap(&sentence, &first, "  "))
    }));
    lines.join("\n")
}

/// Formats a count per minute as a rate per second.
pub(crate) fn format_rate(last_minute: i64) -> String {
    let tenths = (last_minute * 10 + 30) / 60;
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use dm_contracts::time;
    use dm_messaging::outbox::row::examples::outbox_row;
    use dm_messaging::outbox::stats::examples::{blocked_outbox_depth, outbox_depth};
    use dm_terminal::testing::{assert_fits, terminal_canvas};

    use super::*;

    fn now() -> DateTime<Utc> {
        time::parse("2026-02-03T10:02:00Z").unwrap()
    }

    #[test]
    fn page_shows_the_state_of_each_event() {
        let refused = OutboxRow {
            published_at: None,
            last_error: Some("no queue is bound to its routing key".into()),
            attempts: 4,
            ..outbox_row(&format!("evt_{}2", "0".repeat(31)))
        };
        let page = OutboxPage {
            rows: vec![refused, outbox_row(&format!("evt_{}1", "0".repeat(31)))],
            next_cursor: "order:7".parse().ok(),
        };
        insta::assert_snapshot!(
            "outbox_ls_140",
            render_page(&page, now(), &terminal_canvas(140))
        );
        for width in [60, 80, 200] {
            assert_fits(&render_page(&page, now(), &terminal_canvas(width)), width);
        }
    }

    #[test]
    fn stats_show_pending_and_refused_events() {
        let depths = [
            outbox_depth("order", 5, 0),
            outbox_depth("wuphf", 0, 2),
            outbox_depth("sales", 0, 0),
            blocked_outbox_depth("finance"),
        ];
        insta::assert_snapshot!(
            "outbox_stats_100",
            render_stats(&depths, now(), &terminal_canvas(100))
        );
        for width in [60, 80, 200] {
            assert_fits(
                &render_stats(&depths, now(), &terminal_canvas(width)),
                width,
            );
        }
    }

    #[test]
    fn rate_has_one_decimal() {
        assert_eq!(format_rate(0), "0.0");
        assert_eq!(format_rate(59), "1.0");
        assert_eq!(format_rate(1200), "20.0");
    }
}
