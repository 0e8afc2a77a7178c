//! Import of the user's own records from files: `leads`, `orders` and `expenses`, each as
//! `.csv` or `.json`. The format is in `docs/seed.md`.
//!
//! ```text
//! record            one row or one object, with the positions of its values
//! parse             parses files into records
//! csv, json         the parsers of the two formats
//! line_index        lines and characters of a text
//! record_validator  validates values by the rules of the services and of the tables
//! validate          converts records to history, or reports validation issues
//! ```

mod csv;
mod json;
mod line_index;
mod parse;
mod record;
mod record_validator;
#[cfg(test)]
mod tests;
mod validate;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use dm_history::BusinessHistory;
use dm_history::rows::HistoryCounts;

use super::SeedError;

pub(crate) use crate::issue::{TextPosition, ValidationIssue};
pub use validate::ReferenceData;

/// The source of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordSource {
    /// The file.
    pub file: PathBuf,
    /// The position at which the record begins.
    pub position: TextPosition,
}

/// Imported records without validation issues.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportedData {
    /// The leads, orders and expenses.
    pub history: BusinessHistory,
    /// The sources of the leads, orders and expenses.
    sources: [(&'static str, Vec<RecordSource>); 3],
}

impl ImportedData {
    /// Reads and validates the files of a directory.
    ///
    /// # Errors
    /// Returns [`SeedError::InvalidImport`] with all validation issues,
    /// [`SeedError::NoImportFiles`] if the directory has none of the files, and
    /// [`SeedError::ReadFile`] if a file cannot be read.
    pub fn load(directory: &Path, reference: &ReferenceData) -> Result<Self, SeedError> {
        let mut issues = BTreeSet::new();
        let mut read = |name| parse::read_records(directory, name, &mut issues);
        let (leads, orders, expenses) = (read("leads")?, read("orders")?, read("expenses")?);
        if leads.is_none() && orders.is_none() && expenses.is_none() {
            return Err(SeedError::NoImportFiles(directory.to_owned()));
        }
        let leads = validate::validate_leads(&leads.unwrap_or_default(), &mut issues);
        let clients = validate::clients_by_company(&leads);
        let orders = orders.unwrap_or_default();
        let orders = validate::validate_orders(&orders, &clients, reference, &mut issues);
        let expenses = validate::validate_expenses(&expenses.unwrap_or_default(), &mut issues);
        if !issues.is_empty() {
            return Err(SeedError::InvalidImport(issues.into_iter().collect()));
        }
        let (leads, lead_sources) = leads.unzip();
        let (orders, order_sources) = orders.unzip();
        let (expenses, expense_sources) = expenses.unzip();
        Ok(Self {
            history: BusinessHistory {
                leads,
                orders,
                expenses,
                profiles: Vec::new(),
            },
            sources: [
                ("leads", lead_sources),
                ("orders", order_sources),
                ("expenses", expense_sources),
            ],
        })
    }

    /// Converts an error of COPY to an issue at the source of the rejected row.
    #[must_use]
    pub fn locate_database_error(&self, error: &sqlx::Error) -> Option<ValidationIssue> {
        let error = error
            .as_database_error()?
            .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()?;
        self.locate_rejected_row(error.r#where()?, error.message())
    }

    /// Returns the issue of the row that PostgreSQL names in the context of an error.
    fn locate_rejected_row(&self, context: &str, message: &str) -> Option<ValidationIssue> {
        let (table, row, column) = parse_copy_context(context)?;
        let (_, sources) = self.sources.iter().find(|(name, _)| *name == table)?;
        let source = sources.get(row.checked_sub(1)?)?;
        Some(ValidationIssue {
            file: source.file.clone(),
            position: source.position,
            column: Some(column.unwrap_or("row").to_owned()),
            reason: format!("PostgreSQL rejects the row: {message}"),
        })
    }

    /// Returns the numbers of records.
    #[must_use]
    pub(crate) fn counts(&self) -> HistoryCounts {
        let history = &self.history;
        HistoryCounts {
            leads: history.leads.len() as u64,
            orders: history.orders.len() as u64,
            expenses: history.expenses.len() as u64,
            max_items: history
                .orders
                .iter()
                .map(|order| order.items.len() as u64)
                .max()
                .unwrap_or_default(),
            profiles: history.profiles.len() as u64,
        }
    }
}

/// Returns the table, the number of the row from 1, and the column in the context of an error of
/// COPY: `COPY orders, line 3, column notes: "…"`, or for a whole row `COPY orders, line 3: "…"`.
fn parse_copy_context(context: &str) -> Option<(&str, usize, Option<&str>)> {
    let (table, rest) = context.strip_prefix("COPY ")?.split_once(", line ")?;
    let end = rest.find(|character: char| !character.is_ascii_digit());
    let (row, rest) = rest.split_at(end.unwrap_or(rest.len()));
    let column = rest.strip_prefix(", column ");
    let column = column.and_then(|rest| rest.split(':').next());
    Some((table, row.parse().ok()?, column))
}
