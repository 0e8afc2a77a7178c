//! What the stack is like, beside what the files say.

use libtest_mimic::Failed;
use serde_json::Value;

use super::stack::{dm, ok, sql};

/// The snapshots in the repository are what migrations make and what runs.
pub fn agree() -> Result<(), Failed> {
    let report: Value = serde_json::from_str(&ok(&["schema", "check", "--json"])?)?;
    assert_eq!(
        report["checks"].as_array().map(Vec::len),
        Some(2),
        "{report}"
    );
    Ok(())
}

/// A column and an index more are additive; a column less breaks somebody.
pub fn differ() -> Result<(), Failed> {
    sql("ALTER TABLE finance.expenses ADD COLUMN note text")?;
    let additive = differences();
    sql("ALTER TABLE finance.expenses ALTER COLUMN note SET NOT NULL, ADD CHECK (note <> '')").ok();
    sql("ALTER TABLE finance.expenses DROP COLUMN note")?;
    sql("ALTER TABLE finance.expenses RENAME COLUMN receipt_url TO receipt")?;
    let breaking = differences();
    sql("ALTER TABLE finance.expenses RENAME COLUMN receipt TO receipt_url")?;
    let (additive, breaking) = (additive?, breaking?);
    assert_eq!(
        additive["differences"].as_array().map(Vec::len),
        Some(1),
        "{additive}"
    );
    assert_eq!(additive["breaking"], false, "{additive}");
    assert_eq!(breaking["breaking"], true, "{breaking}");
    ok(&["schema", "diff"])?;
    Ok(())
}

fn differences() -> Result<Value, Failed> {
    let found = dm(&["schema", "diff", "--json"]);
    assert_eq!(found.status.code(), Some(1));
    Ok(serde_json::from_slice(&found.stdout)?)
}
