//! The results of the faults, as the table in `docs/reliability.md` shows them.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

/// The result of a fault.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub fault: &'static str,
    /// The number of injections.
    pub runs: usize,
    /// The number of orders and expenses that were accepted meanwhile.
    pub accepted: usize,
    /// The number of accepted orders and expenses, and of published events, that are lost.
    pub lost: u64,
    /// The number of doubled events and broken invariants.
    pub doubled: u64,
    /// The number of events that were processed before an earlier one of their aggregate.
    pub out_of_order: u64,
    /// The time from when all components were ready until a new order was processed.
    pub recovery: Duration,
}

static ROWS: Mutex<Vec<Row>> = Mutex::new(Vec::new());

/// Records the result of a fault.
pub(super) fn record(row: Row) {
    ROWS.lock().unwrap().push(row);
}

/// Returns the results as Markdown, or `None` if no fault was injected.
pub(super) fn markdown() -> Option<String> {
    let rows = ROWS.lock().unwrap();
    let mut text = String::from(
        "| Fault | Runs | Accepted | Lost | Doubled | Out of order | Recovered after |\n\
         |---|---:|---:|---:|---:|---:|---:|\n",
    );
    for row in rows.iter() {
        let Row {
            fault,
            runs,
            accepted,
            lost,
            doubled,
            out_of_order,
            recovery,
        } = row;
        let _ = writeln!(
            text,
            "| {fault} | {runs} | {accepted} | {lost} | {doubled} | {out_of_order} | {:.1} s |",
            recovery.as_secs_f64()
        );
    }
    (!rows.is_empty()).then_some(text)
}

/// Prints the results, and writes them to a file that a CI job can collect.
pub(crate) fn publish() {
    let Some(text) = markdown() else { return };
    eprintln!("\n{text}");
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults.md");
    let _ = std::fs::write(path, text);
}
