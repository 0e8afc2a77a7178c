//! Domain rules.

mod decision;
mod expense;
mod status;

pub(crate) use decision::NewDecision;
pub(crate) use expense::NewExpense;
pub(crate) use status::ExpenseStatus;

use dm_contracts::api::error::FieldIssue;

fn max_length_issue(max: usize) -> String {
    format!("max:{max}")
}

fn missing_body() -> Vec<FieldIssue> {
    vec![FieldIssue::new("body", "required")]
}
