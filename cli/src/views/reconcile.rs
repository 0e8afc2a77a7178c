//! Renders the reconciliation of events.

use dm_core::error::{ExitStatus, Result};
use dm_messaging::reconcile::{FindingKind, ReconcileReport};
use dm_operations::backup::restore::RestoreReport;
use dm_terminal::Printer;
use dm_terminal::canvas::{Canvas, Glyph, StyleRole};
use dm_terminal::table::{Cell, Column, Table};
use dm_terminal::text;
use serde::Serialize;

/// The maximum number of findings in the text output. The document contains all.
const MAX_FINDINGS: usize = 50;

/// The command that publishes missing events again, without the instance.
pub(crate) const REPAIR_COMMAND: &str = "dm reconcile --repair";

/// The document of `dm reconcile`.
#[derive(Debug, Serialize)]
pub(crate) struct ReconcileDocument<'a> {
    /// Whether there are no findings.
    clean: bool,
    /// The report.
    #[serde(flatten)]
    report: &'a ReconcileReport,
}

impl<'a> ReconcileDocument<'a> {
    /// The document for a report.
    #[must_use]
    pub(crate) fn new(report: &'a ReconcileReport) -> Self {
        Self {
            clean: report.is_clean(),
            report,
        }
    }
}

/// Prints a report. `repair_command` is the command that publishes missing events again, or `None`
/// if the instance is removed.
///
/// # Errors
/// If the output is closed.
pub(crate) fn print_report(
    printer: &Printer,
    report: &ReconcileReport,
    repair_command: Option<&str>,
) -> Result<()> {
    let document = ReconcileDocument::new(report);
    Ok(
        printer.print_result(&dm_core::document::RECONCILE, &document, |canvas| {
            render(report, repair_command, canvas)
        })?,
    )
}

/// Prints the report of a restore, as [`print_report`] does. Returns the exit status.
///
/// # Errors
/// If the output is closed or the events could not be checked.
pub(crate) fn print_restore_report(
    printer: &Printer,
    report: RestoreReport,
    repair_command: Option<&str>,
) -> Result<ExitStatus> {
    print_report(printer, &report.reconciliation, repair_command)?;
    Ok(if report.is_consistent? {
        ExitStatus::Success
    } else {
        ExitStatus::Findings
    })
}

/// Renders the report as text. `repair_command` is that of [`print_report`].
#[must_use]
fn render(report: &ReconcileReport, repair_command: Option<&str>, canvas: &Canvas) -> String {
    let mut blocks = vec![
        render_queues(report, canvas),
        render_invariants(report, canvas),
    ];
    if !report.findings.is_empty() {
        blocks.push(render_findings(report, canvas));
    }
    blocks.push(render_verdict(report, repair_command, canvas));
    blocks.join("\n\n")
}

fn render_queues(report: &ReconcileReport, canvas: &Canvas) -> String {
    let mut table = Table::new(vec![
        Column::new("queue").min_width(20),
        Column::new("published").right_aligned(),
        Column::new("processed").right_aligned(),
        Column::new("in flight").right_aligned(),
        Column::new("waiting").right_aligned(),
        Column::new("dead letters").right_aligned(),
        Column::new("missing").right_aligned(),
    ]);
    for queue in &report.queues {
        let count = |count: i64, role: StyleRole| {
            let cell = Cell::new(count.to_string());
            if count > 0 {
                cell.with_role(role)
            } else {
                cell
            }
        };
        // A service processes, retries and dead-letters events; for other consumers, they wait.
        let cell_if = |is_internal: bool, cell: Cell| {
            if queue.consumer.is_some() == is_internal {
                cell
            } else {
                Cell::default()
            }
        };
        table.add_row(vec![
            Cell::new(queue.queue),
            Cell::new(queue.published.to_string()),
            if queue.consumer.is_some() {
                Cell::new(queue.processed.to_string())
            } else {
                Cell::new("external").with_role(StyleRole::Muted)
            },
            cell_if(true, count(queue.in_flight, StyleRole::Active)),
            cell_if(false, count(queue.waiting, StyleRole::Active)),
            cell_if(true, count(queue.dead_lettered, StyleRole::Warning)),
            count(queue.missing, StyleRole::Error),
        ]);
    }
    let mut lines = vec![table.render(canvas)];
    lines.extend(report.queues.iter().filter_map(|queue| {
        let sentence = format!(
            "{}: {} of {} could not be checked: {}",
            queue.queue, queue.undetermined, queue.published, queue.reason?
        );
        let first = format!("{} ", canvas.paint_glyph(StyleRole::Muted, Glyph::Skipped));
        Some(canvas.wrap(&sentence, &first, "  "))
    }));
    lines.join("\n")
}

fn render_invariants(report: &ReconcileReport, canvas: &Canvas) -> String {
    let mut table = Table::new(vec![
        Column::new("invariant").min_width(16),
        Column::new("meaning")
            .drop_priority(1)
            .min_width(30)
            .wrapped(),
        Column::new("checked").right_aligned(),
        Column::new("broken").right_aligned(),
    ]);
    for invariant in &report.invariants {
        let broken = Cell::new(invariant.violations.to_string());
        table.add_row(vec![
            Cell::new(invariant.name),
            Cell::new(invariant.meaning),
            Cell::new(invariant.checked.to_string()),
            if invariant.violations > 0 {
                broken.with_role(StyleRole::Error)
            } else {
                broken
            },
        ]);
    }
    table.render(canvas)
}

fn render_findings(report: &ReconcileReport, canvas: &Canvas) -> String {
    let mut lines: Vec<String> = report
        .findings
        .iter()
        .take(MAX_FINDINGS)
        .map(|finding| {
            let first = format!("{} ", canvas.paint_glyph(StyleRole::Error, Glyph::Failed));
            let sentence = format!(
                "{} in {}: {}: {}",
                finding.kind.as_str(),
                finding.scope,
                finding.id,
                finding.detail
            );
            canvas.wrap(&text::sanitize(&sentence, false), &first, "  ")
        })
        .collect();
    if report.findings.len() > MAX_FINDINGS {
        let more = report.findings.len() - MAX_FINDINGS;
        lines.push(format!("and {more} more; --json has all of them"));
    }
    lines.join("\n")
}

fn render_verdict(
    report: &ReconcileReport,
    repair_command: Option<&str>,
    canvas: &Canvas,
) -> String {
    let deliveries = report
        .queues
        .iter()
        .map(|queue| queue.published - queue.undetermined)
        .sum::<i64>();
    let pending = format!(
        "{} still in the outboxes",
        text::pluralize(report.pending, "event")
    );
    if report.is_clean() {
        let sentence = format!("{deliveries} deliveries checked, every invariant holds; {pending}");
        let first = format!("{} ", canvas.paint_glyph(StyleRole::Success, Glyph::Check));
        return canvas.wrap(&sentence, &first, "  ");
    }
    let counts: Vec<String> = [
        FindingKind::Missing,
        FindingKind::Doubled,
        FindingKind::Orphaned,
        FindingKind::Broken,
    ]
    .into_iter()
    .map(|kind| format!("{} {}", report.count_findings(kind), kind.as_str()))
    .collect();
    let mut sentence = format!("{}; {pending}", counts.join(", "));
    if report.count_findings(FindingKind::Missing) > 0
        && let Some(command) = repair_command
    {
        sentence.push_str("; publish the missing events again: ");
        sentence.push_str(command);
    }
    let first = format!("{} ", canvas.paint_glyph(StyleRole::Error, Glyph::Failed));
    canvas.wrap(&sentence, &first, "  ")
}

#[cfg(test)]
mod tests {
    use dm_messaging::reconcile::{Invariant, QueueReport, ReconcileFinding};
    use dm_terminal::testing::{assert_fits, pipe_canvas, terminal_canvas};

    use super::*;

    fn report(missing: i64) -> ReconcileReport {
        let internal = QueueReport {
            processed: 118 - missing,
            in_flight: 1,
            dead_lettered: 1,
            missing,
            ..QueueReport::new("inventory.order-events.q", Some("inventory-service"), 120)
        };
        let external = QueueReport {
            waiting: 97,
            undetermined: 23,
            reason: Some("a consumer took them, or they were dropped; RabbitMQ records neither"),
            ..QueueReport::new("notification.readmodel.q", None, 120)
        };
        ReconcileReport {
            pending: 2,
            queues: vec![internal, external],
            invariants: vec![Invariant {
                name: "stock-reserved",
                meaning: "the reserved quantity equals the sum of the open reservations",
                checked: 20,
                violations: 0,
            }],
            findings: (0..missing)
                .map(|number| ReconcileFinding {
                    kind: FindingKind::Missing,
                    scope: "inventory.order-events.q".into(),
                    id: format!("evt_{number}"),
                    detail: "com.dundermifflin.order.created.v1 of order/ord_1 is not in the queue"
                        .into(),
                })
                .collect(),
        }
    }

    #[test]
    fn report_shows_whether_all_events_are_consistent() {
        let (clean, missing) = (report(0), report(2));
        assert!(clean.is_clean() && !missing.is_clean());
        let render = |report: &ReconcileReport, width: usize| {
            super::render(report, Some(REPAIR_COMMAND), &terminal_canvas(width))
        };
        insta::assert_snapshot!("reconcile_clean_100", render(&clean, 100));
        insta::assert_snapshot!("reconcile_missing_100", render(&missing, 100));
        for width in [60, 80, 200] {
            assert_fits(&render(&missing, width), width);
        }
    }

    #[test]
    fn missing_events_are_repaired_on_the_instance_unless_it_is_removed() {
        let missing = report(1);
        let verdict = |command: Option<&str>| render_verdict(&missing, command, &pipe_canvas());
        let command = "dm --instance review reconcile --repair";
        let hint = format!("; publish the missing events again: {command}");
        assert!(verdict(Some(command)).ends_with(&hint));
        assert_eq!(
            verdict(None),
            verdict(Some(command)).trim_end_matches(&hint)
        );
    }
}
