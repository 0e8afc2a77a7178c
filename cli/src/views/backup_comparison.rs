//! A backup beside what it would replace.

use std::collections::BTreeMap;

use dm_backup::{Backup, RowCounts};
use dm_terminal::Printer;
use dm_terminal::canvas::{Canvas, StyleRole};
use dm_terminal::table::{Cell, Column, Table};

use crate::views::backup::format_age;

/// Shows a backup beside what it would replace: how many rows there are now, or why that is
/// not known.
pub(crate) fn print(printer: &Printer, set: &Backup, now: &Result<RowCounts, String>) {
    let now = now.as_ref().map_err(String::as_str);
    printer.write_stderr(&render(set, now, &printer.stderr_canvas()));
}

/// The backup, and how many rows each schema has in it and now. `now` says why it is not known
/// where it is not.
#[must_use]
fn render(set: &Backup, now: Result<&RowCounts, &str>, canvas: &Canvas) -> String {
    let manifest = &set.manifest;
    let taken_at = manifest.taken_at;
    let ago = match taken_at <= chrono::Utc::now() {
        true => format!("{} ago", format_age(taken_at)),
        false => format_age(taken_at),
    };
    let first = format!(
        "{}: {}, {ago}, {}",
        canvas.paint(StyleRole::Emphasis, &manifest.id),
        taken_at.format("%Y-%m-%d %H:%M:%S UTC"),
        manifest.purpose.as_str()
    );
    let mut table = Table::new(vec![
        Column::new("schema").min_width(10),
        Column::new("rows in the backup").right_aligned(),
        Column::new("rows now").right_aligned(),
    ]);
    let there = sum_by_schema(&manifest.postgres.rows);
    let here = now.map(sum_by_schema).unwrap_or_default();
    let mut schemas: Vec<&str> = there.keys().chain(here.keys()).copied().collect();
    schemas.sort_unstable();
    schemas.dedup();
    for schema in schemas {
        let rows = |of: &BTreeMap<&str, i64>| of.get(schema).map_or("none".into(), i64::to_string);
        table.add_row(vec![
            Cell::new(schema),
            Cell::new(rows(&there)),
            Cell::new(if now.is_ok() { rows(&here) } else { "?".into() }),
        ]);
    }
    let mut lines = vec![first, table.render(canvas)];
    if let Err(why) = now {
        lines.push(canvas.wrap(
            &format!("could not count the current rows: {why}"),
            "",
            "  ",
        ));
    }
    lines.join("\n")
}

fn sum_by_schema(rows: &RowCounts) -> BTreeMap<&str, i64> {
    let mut schemas = BTreeMap::new();
    for (table, rows) in rows {
        let schema = table.split('.').next().unwrap_or(table);
        *schemas.entry(schema).or_default() += rows;
    }
    schemas
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use dm_backup::examples::manifest;
    use dm_terminal::testing::pipe_canvas;

    use super::*;

    #[test]
    fn a_backup_is_shown_beside_what_it_replaces() {
        let mut manifest = manifest("20261126T100000000Z", "2026-11-26T10:00:00Z");
        manifest.postgres.rows.insert("orders.items".into(), 4);
        let set = Backup {
            path: PathBuf::new(),
            manifest,
            verified_at: None,
            restore_started_at: None,
            restored_at: None,
        };
        let now = RowCounts::from([("orders.orders".into(), 9), ("public.mark".into(), 1)]);
        let text = render(&set, Ok(&now), &pipe_canvas());
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert!(
            text.starts_with("20261126T100000000Z: 2026-11-26 10:00:00 UTC, "),
            "{text}"
        );
        assert!(lines[0].ends_with(&["manual"]), "{text}");
        assert!(lines.contains(&vec!["orders", "7", "9"]), "{text}");
        assert!(lines.contains(&vec!["public", "none", "1"]), "{text}");
        let unknown = render(&set, Err("no answer"), &pipe_canvas());
        assert!(
            unknown.contains("could not count the current rows: no answer"),
            "{unknown}"
        );
    }
}
