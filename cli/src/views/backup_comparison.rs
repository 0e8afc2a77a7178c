//! Compares a backup with the data that it would replace.

use std::collections::BTreeMap;

use dm_backup::{Backup, RowCounts};
use dm_terminal::Printer;
use dm_terminal::canvas::{Canvas, StyleRole};
use dm_terminal::table::{Cell, Column, Table};

use crate::views::backup::format_age;

/// Prints a backup compared with the current number of rows, or the reason why that is
/// unknown.
pub(crate) fn print(printer: &Printer, backup: &Backup, current: &Result<RowCounts, String>) {
    let current = current.as_ref().map_err(String::as_str);
    printer.write_stderr(&render(backup, current, &printer.stderr_canvas()));
}

/// Renders the backup and the number of rows of each schema, in the backup and currently. An
/// error in `current` is the reason why the current number is unknown.
#[must_use]
fn render(backup: &Backup, current: Result<&RowCounts, &str>, canvas: &Canvas) -> String {
    let manifest = &backup.manifest;
    let taken_at = manifest.taken_at;
    let age = match taken_at <= chrono::Utc::now() {
        true => format!("{} ago", format_age(taken_at)),
        false => format_age(taken_at),
    };
    let heading = format!(
        "{}: {}, {age}, {}",
        canvas.paint(StyleRole::Emphasis, &manifest.id),
        taken_at.format("%Y-%m-%d %H:%M:%S UTC"),
        manifest.purpose.as_str()
    );
    let mut table = Table::new(vec![
        Column::new("schema").min_width(10),
        Column::new("rows in the backup").right_aligned(),
        Column::new("rows now").right_aligned(),
    ]);
    let backup_rows = sum_by_schema(&manifest.postgres.rows);
    let current_rows = current.map(sum_by_schema).unwrap_or_default();
    let mut schemas: Vec<&str> = backup_rows
        .keys()
        .chain(current_rows.keys())
        .copied()
        .collect();
    schemas.sort_unstable();
    schemas.dedup();
    for schema in schemas {
        let rows =
            |counts: &BTreeMap<&str, i64>| counts.get(schema).map_or("none".into(), i64::to_string);
        table.add_row(vec![
            Cell::new(schema),
            Cell::new(rows(&backup_rows)),
            Cell::new(if current.is_ok() {
                rows(&current_rows)
            } else {
                "?".into()
            }),
        ]);
    }
    let mut lines = vec![heading, table.render(canvas)];
    if let Err(reason) = current {
        lines.push(canvas.wrap(
            &format!("could not count the current rows: {reason}"),
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
    use chrono::{TimeDelta, Utc};
    use dm_backup::examples::{backup, manifest};
    use dm_terminal::testing::pipe_canvas;

    use super::*;

    /// Returns the first line about a backup that was taken at this time.
    fn heading(taken_at: &str) -> String {
        let backup = backup(manifest("20261126T100000000Z", taken_at));
        let text = render(&backup, Err("no answer"), &pipe_canvas());
        text.lines().next().unwrap_or_default().to_owned()
    }

    #[test]
    fn heading_has_id_time_age_and_purpose() {
        // Between 51 and 52 hours ago, however long the test takes.
        let taken_at = Utc::now() - TimeDelta::minutes(51 * 60 + 5);
        let time = taken_at.format("%Y-%m-%d %H:%M:%S UTC");
        assert_eq!(
            heading(&taken_at.to_rfc3339()),
            format!("20261126T100000000Z: {time}, 2d 3h ago, manual")
        );
        assert_eq!(
            heading("2999-01-01T00:00:00Z"),
            "20261126T100000000Z: 2999-01-01 00:00:00 UTC, in the future, manual"
        );
    }

    #[test]
    fn render_compares_rows_of_the_backup_with_current_rows() {
        let mut manifest = manifest("20261126T100000000Z", "2026-11-26T10:00:00Z");
        manifest.postgres.rows.insert("orders.items".into(), 4);
        let backup = backup(manifest);
        let current = RowCounts::from([("orders.orders".into(), 9), ("public.mark".into(), 1)]);
        let text = render(&backup, Ok(&current), &pipe_canvas());
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
        let unknown = render(&backup, Err("no answer"), &pipe_canvas());
        assert!(
            unknown.contains("could not count the current rows: no answer"),
            "{unknown}"
        );
    }
}
