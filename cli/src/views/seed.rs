//! What a seed has made.

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

/// A seed that was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct SeedDocument {
    /// The number that it was worked out from; none for somebody's own files.
    pub seed_number: Option<u64>,
    /// What was made.
    #[serde(flatten)]
    pub made: SeedSummary,
    /// How many rows that took, where they were counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// How long it took.
    #[serde(rename = "seconds", serialize_with = "as_seconds")]
    pub took: Duration,
}

fn as_seconds<S: Serializer>(
    took: &Duration,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_f64((took.as_secs_f64() * 1000.0).round() / 1000.0)
}

/// Shows what was made.
///
/// # Errors
/// A closed output.
pub(crate) fn print(printer: &Printer, seeded: SeedResult) -> Result<()> {
    let document = SeedDocument {
        seed_number: seeded.seed_number,
        made: seeded.summary,
        rows: seeded.rows,
        took: seeded.took,
    };
    Ok(
        printer.print_result(&dm_core::document::SEED, &document, |canvas| {
            render(&document, canvas)
        })?,
    )
}

/// The counts for a person, and what to do with them.
#[must_use]
pub(crate) fn render(document: &SeedDocument, canvas: &Canvas) -> String {
    let made = &document.made;
    let mut table = Table::new(vec![
        Column::new("made").min_width(8),
        Column::new("count").min_width(5),
        Column::new("of which").min_width(10),
    ]);
    let none = BTreeMap::new();
    for (kind, count, statuses) in [
        ("leads", SeedSummary::total(&made.leads), &made.leads),
        ("clients", made.clients, &none),
        ("orders", SeedSummary::total(&made.orders), &made.orders),
        (
            "expenses",
            SeedSummary::total(&made.expenses),
            &made.expenses,
        ),
        ("profiles", made.profiles, &none),
    ] {
        let parts: Vec<_> = statuses
            .iter()
            .map(|(status, count)| format!("{count} {status}"))
            .collect();
        table.add_row(vec![
            Cell::new(kind),
            Cell::new(count.to_string()),
            Cell::new(parts.join(", ")).with_role(StyleRole::Muted),
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
            made: SeedSummary {
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
    fn kinds_are_counted_by_status() {
        insta::assert_snapshot!("seed_80", render(&document(), &terminal_canvas(80)));
        for width in [50, 80, 200] {
            assert_fits(&render(&document(), &terminal_canvas(width)), width);
        }
    }
}
