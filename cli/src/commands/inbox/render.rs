//! Inboxes, and the queues that they are filled by.

use chrono::{DateTime, Utc};
use dm_messaging::inbox::page::Page;
use dm_messaging::inbox::stats::Stats;
use dm_terminal::style::{Canvas, Role};
use dm_terminal::table::{Cell, Column, Table};
use dm_terminal::text;
use serde::Serialize;

use crate::views::outbox::rate;

/// How the queues stand, as a document.
#[derive(Debug, Serialize)]
pub(crate) struct Queues<'a> {
    /// The queues.
    pub queues: &'a [Stats],
}

/// A page of events.
#[must_use]
pub(crate) fn page(page: &Page, now: DateTime<Utc>, canvas: &Canvas) -> String {
    if page.rows.is_empty() {
        return "no events".to_owned();
    }
    let mut table = Table::new(vec![
        Column::new("handled").least(12),
        Column::new("service").least(9),
        Column::new("queue").rank(3).least(20),
        Column::new("type").least(16),
        Column::new("aggregate").rank(1).least(12),
        Column::new("id").least(36),
    ]);
    for row in &page.rows {
        table.row(vec![
            Cell::new(text::ago(Some(row.processed_at), now)),
            Cell::new(&row.service),
            Cell::new(&row.queue),
            Cell::new(text::short_type(Some(&row.event_type))),
            Cell::optional(row.subject.as_deref()),
            Cell::new(&row.event_id),
        ]);
    }
    let mut text = table.render(canvas);
    if let Some(next) = &page.next {
        text.push_str("\n\n");
        let more = format!("next page: --cursor {next}");
        text.push_str(&canvas.paint(Role::Muted, &more));
    }
    text
}

/// How the queues stand.
#[must_use]
pub(crate) fn queues(queues: &[Stats], now: DateTime<Utc>, canvas: &Canvas) -> String {
    let mut table = Table::new(vec![
        Column::new("queue").least(20),
        Column::new("consumers").right().rank(2),
        Column::new("waiting").right(),
        Column::new("retrying").right(),
        Column::new("dead").right(),
        Column::new("handled/s").right().rank(1),
        Column::new("latest").rank(3),
    ]);
    for stats in queues {
        let depth = &stats.depth;
        let count = |count: u32, role: Role| {
            let cell = Cell::new(count.to_string());
            if count > 0 { cell.role(role) } else { cell }
        };
        let mut consumers = Cell::new(depth.consumers.to_string());
        if depth.consumer.is_some() && depth.consumers == 0 {
            consumers = consumers.role(Role::Bad);
        }
        table.row(vec![
            Cell::new(depth.queue),
            consumers,
            count(depth.ready, Role::Active),
            count(depth.retrying, Role::Warn),
            count(depth.dead, Role::Bad),
            Cell::optional(stats.last_minute.map(rate)),
            Cell::new(text::ago(stats.latest, now)),
        ]);
    }
    table.render(canvas)
}

#[cfg(test)]
mod tests {
    use dm_contracts::time;
    use dm_messaging::inbox::stats::examples::stats;
    use dm_terminal::testing::{assert_fits, terminal};

    use super::*;

    #[test]
    fn queues_say_what_waits_and_who_takes_it() {
        let now = time::parse("2026-02-03T10:02:00Z").unwrap();
        let found = [stats()];
        insta::assert_snapshot!("inbox_stats_100", queues(&found, now, &terminal(100)));
        for width in [60, 80, 200] {
            assert_fits(&queues(&found, now, &terminal(width)), width);
        }
    }
}
