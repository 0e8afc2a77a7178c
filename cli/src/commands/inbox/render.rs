//! Renders inboxes and work queues.

use chrono::{DateTime, Utc};
use dm_messaging::inbox::page::InboxPage;
use dm_messaging::inbox::stats::InboxStats;
use dm_terminal::canvas::{Canvas, StyleRole};
use dm_terminal::table::{Cell, Column, Table};
use dm_terminal::text;
use serde::Serialize;

use crate::views::outbox::format_rate;

/// The document of the work queues.
#[derive(Debug, Serialize)]
pub(crate) struct QueuesDocument<'a> {
    /// The queues.
    pub queues: &'a [InboxStats],
}

/// Renders a page of processed events.
#[must_use]
pub(crate) fn render_page(page: &InboxPage, now: DateTime<Utc>, canvas: &Canvas) -> String {
    if page.rows.is_empty() {
        return "no events".to_owned();
    }
    let mut table = Table::new(vec![
        Column::new("processed").min_width(12),
        Column::new("service").min_width(9),
        Column::new("queue").drop_priority(3).min_width(20),
        Column::new("type").min_width(16),
        Column::new("aggregate").drop_priority(1).min_width(12),
        Column::new("id").min_width(36),
    ]);
    for row in &page.rows {
        table.add_row(vec![
            Cell::new(text::format_ago(Some(row.processed_at), now)),
            Cell::new(&row.service),
            Cell::new(&row.queue),
            Cell::new(text::short_event_type(Some(&row.event_type))),
            Cell::from_option(row.subject.as_deref()),
            Cell::new(&row.event_id),
        ]);
    }
    let mut text = table.render(canvas);
    if let Some(next) = &page.next_cursor {
        text.push_str("\n\n");
        let more = format!("next page: --cursor {next}");
        text.push_str(&canvas.paint(StyleRole::Muted, &more));
    }
    text
}

/// Renders the depths and rates of the work queues.
#[must_use]
pub(crate) fn render_queues(queues: &[InboxStats], now: DateTime<Utc>, canvas: &Canvas) -> String {
    let mut table = Table::new(vec![
        Column::new("queue").min_width(20),
        Column::new("consumers").right_aligned().drop_priority(2),
        Column::new("waiting").right_aligned(),
        Column::new("retrying").right_aligned(),
        Column::new("dead letters").right_aligned(),
        Column::new("processed/s").right_aligned().drop_priority(1),
        Column::new("latest").drop_priority(3),
    ]);
    for stats in queues {
        let depth = &stats.depth;
        let count = |count: u32, role: StyleRole| {
            let cell = Cell::new(count.to_string());
            if count > 0 {
                cell.with_role(role)
            } else {
                cell
            }
        };
        let mut consumers = Cell::new(depth.consumers.to_string());
        if depth.consumer.is_some() && depth.consumers == 0 {
            consumers = consumers.with_role(StyleRole::Error);
        }
        table.add_row(vec![
            Cell::new(depth.queue),
            consumers,
            count(depth.ready, StyleRole::Active),
            count(depth.retrying, StyleRole::Warning),
            count(depth.dead_lettered, StyleRole::Error),
            Cell::from_option(stats.processed_last_minute.map(format_rate)),
            Cell::new(text::format_ago(stats.last_processed_at, now)),
        ]);
    }
    table.render(canvas)
}

#[cfg(test)]
mod tests {
    use dm_contracts::time;
    use dm_messaging::inbox::stats::examples::inbox_stats;
    use dm_terminal::testing::{assert_fits, terminal_canvas};

    use super::*;

    #[test]
    fn queues_are_rendered_with_depths_and_consumers() {
        let now = time::parse("2026-02-03T10:02:00Z").unwrap();
        let queues = [inbox_stats()];
        insta::assert_snapshot!(
            "inbox_stats_100",
            render_queues(&queues, now, &terminal_canvas(100))
        );
        for width in [60, 80, 200] {
            assert_fits(&render_queues(&queues, now, &terminal_canvas(width)), width);
        }
    }
}
