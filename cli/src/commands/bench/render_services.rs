//! The figures of `dm bench services`.

use std::fmt::Write as _;

use dm_terminal::style::{Canvas, Role};
use dm_terminal::table::{Cell, Column, Table};
use dm_terminal::text;

use super::render::facts;
use crate::bench::services::{Measured, Report, Target};

/// The schema of the JSON form; the body is [`Report`] itself.
pub const SCHEMA: &str = "dm.bench-services/1";

/// The figures for a person.
#[must_use]
pub fn render(report: &Report, canvas: &Canvas) -> String {
    let mut table = Table::new(vec![
        Column::new("figure").least(20),
        Column::new("median (min–max)").least(16),
        Column::new("target").least(6),
        Column::new("met").least(3),
    ]);
    for measured in &report.figures {
        let met = if measured.met {
            Cell::new("yes").role(Role::Good)
        } else {
            Cell::new("no").role(Role::Bad)
        };
        table.row(vec![
            Cell::new(measured.figure.what()),
            Cell::new(range(measured)),
            Cell::new(target(measured)).role(Role::Muted),
            met,
        ]);
    }
    let circumstances = canvas.wrap(&circumstances(report), "", "  ");
    format!("{}\n\n{circumstances}", table.render(canvas))
}

/// The figures as Markdown, for `docs/performance.md`.
#[must_use]
pub fn markdown(report: &Report) -> String {
    let mut page =
        String::from("| Figure | Median (min–max) | Target | Met |\n|---|---|---|---|\n");
    for measured in &report.figures {
        // Writing to a string can't fail.
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} |",
            measured.figure.what(),
            range(measured),
            target(measured),
            if measured.met { "yes" } else { "**no**" }
        );
    }
    let _ = write!(page, "\n{}", circumstances(report));
    page
}

fn range(measured: &Measured) -> String {
    let show = |value| measured.figure.show(value);
    let summary = measured.summary;
    format!(
        "{} ({}–{})",
        show(summary.median),
        show(summary.min),
        show(summary.max)
    )
}

fn target(measured: &Measured) -> String {
    match measured.target {
        Target::AtLeast(limit) => format!("≥ {}", measured.figure.show(limit)),
        Target::AtMost(limit) => format!("≤ {}", measured.figure.show(limit)),
    }
}

fn circumstances(report: &Report) -> String {
    format!(
        "{}, {}: {}.",
        text::count(report.runs as usize, "round"),
        report.began,
        facts(&report.machine, &report.dm, report.profile)
    )
}

#[cfg(test)]
mod tests {
    use dm_terminal::testing::{assert_fits, terminal};

    use super::*;
    use crate::bench::services::example;

    #[test]
    fn figures_have_their_units_and_their_targets() {
        insta::assert_snapshot!("bench_services_80", render(&example(), &terminal(80)));
        insta::assert_snapshot!("bench_services_markdown", markdown(&example()));
        for width in [50, 80, 200] {
            assert_fits(&render(&example(), &terminal(width)), width);
        }
    }
}
