//! Renders the result of loading data.

use std::collections::BTreeMap;
use std::time::Duration;

use dm_core::error::Result;
use dm_operations::seed::SeedResult;
use dm_seed::SeedSummary;
use dm_terminal::Printer;
use dm_terminal::canvas::{Canvas, StyleRole};
use dm_terminal::table::{Cell, Column, Table};
use dm_terminal::text;
use serde::{Serialize, Serializer};

/// The document of `dm seed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct SeedDocument {
    /// The seed number. `None` for imported files.
    pub seed_number: Option<u64>,
    /// The loaded business objects.
    #[serde(flatten)]
    pub summary: SeedSummary,
    /// The number of rows, if they were counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// The duration.
    #[serde(rename = "seconds", serialize_with = "serialize_seconds")]
    pub took: Duration,
}

fn serialize_seconds<S: Serializer>(
    took: &Duration,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_f64((took.as_secs_f64() * 1000.0).round() / 1000.0)
}

/// Prints the result.
///
/// # Errors
/// If the output is closed.
pub(crate) fn print(printer: &Printer, result: SeedResult) -> Result<()> {
    let document = SeedDocument {
        seed_number: result.seed_number,
        summary: result.summary,
        rows: result.rows,
        took: result.took,
    };
    Ok(
        printer.print_result(&dm_core::document::SEED, &document, |canvas| {
            render(&document, canvas)
        })?,
    )
}

/// Renders the counts, with a hint how to see the data.
#[must_use]
pub(crate) fn render(document: &SeedDocument, canvas: &Canvas) -> String {
    let summary = &document.summary;
    let mut table = Table::new(vec![
        Column::new("kind").min_width(8),
        Column::new("count").min_width(5),
        Column::new("by status").min_width(10),
    ]);
    let no_statuses = BTreeMap::new();
    for (kind, count, statuses) in [
        ("leads", SeedSummary::total(&summary.leads), &summary.leads),
        ("clients", summary.clients, &no_statuses),
        (
            "orders",
            SeedSummary::total(&summary.orders),
            &summary.orders,
        ),
        (
            "expenses",
            SeedSummary::total(&summary.expenses),
            &summary.expenses,
        ),
        ("profiles", summary.profiles, &no_statuses),
    ] {
        let counts: Vec<_> = statuses
            .iter()
            .map(|(status, count)| format!("{count} {status}"))
            .collect();
        table.add_row(vec![
            Cell::new(kind),
            Cell::new(count.to_string()),
            Cell::new(counts.join(", ")).with_role(StyleRole::Muted),
        ]);
    }
    let seed = document
        .seed_number
        .map_or_else(|| "loaded".to_owned(), |number| format!("seed {number}"));
    let rows = document
        .rows
        .map_or_else(String::new, |rows| format!(", {rows} rows"));
    let sentence = format!(
        "{seed} after {}{rows}; sign in as jhalpert, amartin or dphilbin to see the data",
        text::format_duration(document.took)
    );
    format!(
        "{}\n\n{}",
        table.render(canvas),
        canvas.wrap(&sentence, "", "")
    )
}

#[cfg(test)]
mod tests {
    use dm_terminal::testing::{assert_fits, terminal_canvas};

    use super::*;

    fn document() -> SeedDocument {
        let counts = |pairs: &[(&str, usize)]| {
            pairs
                .iter()
                .map(|&(status, count)| (status.to_owned(), count))
                .collect()
        };
        SeedDocument {
            seed_number: Some(1),
            rows: None,
            summary: SeedSummary {
                leads: counts(&[("CONVERTED", 6), ("NEW", 2), ("QUALIFIED", 4)]),
                clients: 6,
                orders: counts(&[("RESERVED", 7), ("SHIPPED", 5)]),
                expenses: counts(&[("APPROVED", 5), ("PENDING", 2), ("REJECTED", 3)]),
                profiles: 20,
            },
            took: Duration::from_millis(4_210),
        }
    }

    #[test]
    fn render_counts_kinds_by_status() {
        insta::assert_snapshot!("seed_80", render(&document(), &terminal_canvas(80)));
        for width in [50, 80, 200] {
            assert_fits(&render(&document(), &terminal_canvas(width)), width);
        }
    }
}
