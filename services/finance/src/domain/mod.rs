//! Domain rules.

mod decision;
mod expense;

pub(crate) use dm_contracts::api::finance::ExpenseStatus;

pub(crate) use decision::NewDecision;
pub(crate) use expense::NewExpense;

use dm_contracts::api::error::FieldIssue;

fn max_length_issue(max: usize) -> String {
    format!("max:{max}")
}

fn missing_body() -> Vec<FieldIssue> {
    vec![FieldIssue::new("body", "required")]
}
