//! The rules.

mod decision;
mod expense;
mod status;

pub(crate) use decision::Decision;
pub(crate) use expense::NewExpense;
pub(crate) use status::ExpenseStatus;

use dm_contracts::api::error::FieldIssue;

fn too_long(most: usize) -> String {
    format!("max:{most}")
}

fn no_body() -> Vec<FieldIssue> {
    vec![FieldIssue::new("body", "required")]
}
