//! What the faults came to, as `docs/reliability.md` shows it.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

/// What a fault came to.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub fault: &'static str,
    /// How many times it was done.
    pub runs: usize,
    /// How many orders and expenses were accepted meanwhile.
    pub accepted: usize,
    /// What was accepted, or published, and is nowhere.
    pub lost: u64,
    /// What is there twice, or has an effect twice.
    pub doubled: u64,
    /// Events that were handled before an earlier one of their aggregate.
    pub disorder: u64,
    /// From when everything was ready again until a new order was through.
    pub recovery: Duration,
}

static ROWS: Mutex<Vec<Row>> = Mutex::new(Vec::new());

/// Notes what a fault came to.
pub(super) fn note(row: Row) {
    ROWS.lock().unwrap().push(row);
}

/// All of it, as Markdown; nothing where no fault was done.
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
            disorder,
            recovery,
        } = row;
        let _ = writeln!(
            text,
            "| {fault} | {runs} | {accepted} | {lost} | {doubled} | {disorder} | {:.1} s |",
            recovery.as_secs_f64()
        );
    }
    (!rows.is_empty()).then_some(text)
}

/// Prints it, and leaves it where a job can collect it.
pub(crate) fn publish() {
    let Some(text) = markdown() else { return };
    eprintln!("\n{text}");
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults.md");
    let _ = std::fs::write(path, text);
}
