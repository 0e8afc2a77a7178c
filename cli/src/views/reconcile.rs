//! The account of everything.

use dm_core::error::{Exit, Result};
use dm_messaging::reconcile::{Kind, Report};
use dm_operations::backup::restore::Account;
use dm_terminal::Printer;
use dm_terminal::style::{Canvas, Glyph, Role};
use dm_terminal::table::{Cell, Column, Table};
use dm_terminal::text;
use serde::Serialize;

/// How many findings a person is shown; a document has all of them.
const SHOWN: usize = 50;

/// The account as a document.
#[derive(Debug, Serialize)]
pub(crate) struct Document<'a> {
    /// Whether nothing is wrong.
    clean: bool,
    /// The account.
    #[serde(flatten)]
    report: &'a Report,
}

impl<'a> Document<'a> {
    /// The document of an account.
    #[must_use]
    pub(crate) fn new(report: &'a Report) -> Self {
        Self {
            clean: report.is_clean(),
            report,
        }
    }
}

/// Shows an account.
///
/// # Errors
/// A closed output.
pub(crate) fn show(printer: &Printer, report: &Report) -> Result<()> {
    let document = Document::new(report);
    Ok(printer.result(&dm_core::document::RECONCILE, &document, |canvas| render(report, canvas))?)
}

/// Shows the account after a restore. Answers how the process is to end.
///
/// # Errors
/// A closed output.
pub(crate) fn show_account(printer: &Printer, account: Account) -> Result<Exit> {
    show(printer, &account.report)?;
    Ok(if account.is_whole? {
        Exit::Success
    } else {
        Exit::Found
    })
}

/// The account, for a person.
#[must_use]
pub(crate) fn render(report: &Report, canvas: &Canvas) -> String {
    let mut blocks = vec![accounts(report, canvas), laws(report, canvas)];
    if !report.findings.is_empty() {
        blocks.push(findings(report, canvas));
    }
    blocks.push(verdict(report, canvas));
    blocks.join("\n\n")
}

fn accounts(report: &Report, canvas: &Canvas) -> String {
    let mut table = Table::new(vec![
        Column::new("queue").least(20),
        Column::new("published").right(),
        Column::new("handled").right(),
        Column::new("in flight").right(),
        Column::new("waiting").right(),
        Column::new("dead").right(),
        Column::new("missing").right(),
    ]);
    for account in &report.accounts {
        let count = |count: i64, role: Role| {
            let cell = Cell::new(count.to_string());
            if count > 0 { cell.role(role) } else { cell }
        };
        // A service handles, fails and tries again; for somebody outside events wait.
        let of = |inside: bool, cell: Cell| {
            if account.consumer.is_some() == inside {
                cell
            } else {
                Cell::default()
            }
        };
        table.row(vec![
            Cell::new(account.queue),
            Cell::new(account.published.to_string()),
            if account.consumer.is_some() {
                Cell::new(account.consumed.to_string())
            } else {
                Cell::new("outside").role(Role::Muted)
            },
            of(true, count(account.in_flight, Role::Active)),
            of(false, count(account.waiting, Role::Active)),
            of(true, count(account.dead, Role::Warn)),
            count(account.missing, Role::Bad),
        ]);
    }
    let mut lines = vec![table.render(canvas)];
    lines.extend(report.accounts.iter().filter_map(|account| {
        let sentence = format!(
            "{}: {} of {} could not be checked: {}",
            account.queue, account.unaccounted, account.published, account.why?
        );
        let first = format!("{} ", canvas.sign(Role::Muted, Glyph::Skipped));
        Some(canvas.wrap(&sentence, &first, "  "))
    }));
    lines.join("\n")
}

fn laws(report: &Report, canvas: &Canvas) -> String {
    let mut table = Table::new(vec![
        Column::new("invariant").least(16),
        Column::new("meaning").rank(1).least(30).wraps(),
        Column::new("checked").right(),
        Column::new("broken").right(),
    ]);
    for law in &report.laws {
        let broken = Cell::new(law.broken.to_string());
        table.row(vec![
            Cell::new(law.name),
            Cell::new(law.says),
            Cell::new(law.checked.to_string()),
            if law.broken > 0 {
                broken.role(Role::Bad)
            } else {
                broken
            },
        ]);
    }
    table.render(canvas)
}

fn findings(report: &Report, canvas: &Canvas) -> String {
    let mut lines: Vec<String> = report
        .findings
        .iter()
        .take(SHOWN)
        .map(|finding| {
            let first = format!("{} ", canvas.sign(Role::Bad, Glyph::Failed));
            let sentence = format!(
                "{} in {}: {}: {}",
                finding.kind.as_str(),
                finding.of,
                finding.what,
                finding.detail
            );
            canvas.wrap(&text::harmless(&sentence, false), &first, "  ")
        })
        .collect();
    if report.findings.len() > SHOWN {
        let more = report.findings.len() - SHOWN;
        lines.push(format!("and {more} more; --json has all of them"));
    }
    lines.join("\n")
}

fn verdict(report: &Report, canvas: &Canvas) -> String {
    let events = report
        .accounts
        .iter()
        .map(|account| account.published - account.unaccounted)
        .sum::<i64>();
    let pending = usize::try_from(report.pending).unwrap_or(usize::MAX);
    let pending = format!("{} still in the outboxes", text::count(pending, "event"));
    if report.is_clean() {
        let sentence = format!("{events} deliveries checked, every invariant holds; {pending}");
        let first = format!("{} ", canvas.sign(Role::Good, Glyph::Ready));
        return canvas.wrap(&sentence, &first, "  ");
    }
    let counts: Vec<String> = [Kind::Missing, Kind::Doubled, Kind::Orphaned, Kind::Broken]
        .into_iter()
        .map(|kind| format!("{} {}", report.count(kind), kind.as_str()))
        .collect();
    let mut sentence = format!("{}; {pending}", counts.join(", "));
    if report.count(Kind::Missing) > 0 {
        sentence.push_str("; publish the missing events again: dm reconcile --repair");
    }
    let first = format!("{} ", canvas.sign(Role::Bad, Glyph::Failed));
    canvas.wrap(&sentence, &first, "  ")
}

#[cfg(test)]
mod tests {
    use dm_messaging::reconcile::{Account, Finding, Law};
    use dm_terminal::testing::{assert_fits, terminal};

    use super::*;

    fn report(missing: i64) -> Report {
        let inside = Account {
            consumed: 118 - missing,
            in_flight: 1,
            dead: 1,
            missing,
            ..Account::of("inventory.order-events.q", Some("inventory-service"), 120)
        };
        let outside = Account {
            waiting: 97,
            unaccounted: 23,
            why: Some("a consumer took them, or they were dropped; RabbitMQ records neither"),
            ..Account::of("notification.readmodel.q", None, 120)
        };
        Report {
            pending: 2,
            accounts: vec![inside, outside],
            laws: vec![Law {
                name: "stock-reserved",
                says: "the reserved quantity equals the sum of the open reservations",
                checked: 20,
                broken: 0,
            }],
            findings: (0..missing)
                .map(|number| Finding {
                    kind: Kind::Missing,
                    of: "inventory.order-events.q".into(),
                    what: format!("evt_{number}"),
                    detail: "com.dundermifflin.order.created.v1 of order/ord_1 is not in the queue".into(),
                })
                .collect(),
        }
    }

    #[test]
    fn an_account_says_whether_it_adds_up() {
        let (clean, not) = (report(0), report(2));
        assert!(clean.is_clean() && !not.is_clean());
        insta::assert_snapshot!("reconcile_clean_100", render(&clean, &terminal(100)));
        insta::assert_snapshot!("reconcile_missing_100", render(&not, &terminal(100)));
        for width in [60, 80, 200] {
            assert_fits(&render(&not, &terminal(width)), width);
        }
    }
}
