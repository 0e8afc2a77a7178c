//! Somebody's own business, from files: `leads`, `orders` and `expenses`, each as `.csv`
//! or `.json`. The format is in `docs/seed.md`.
//!
//! ```text
//! record   one row, or one object, with the places of its values
//! records  files taken apart
//! csv      those of CSV, json: those of JSON
//! places   lines and letters of a text
//! checked  values by the rules of the services and of the tables
//! check    records as facts, or what is wrong with them
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

/// Where a fact is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordSource {
    /// The file.
    pub file: PathBuf,
    /// Where it begins.
    pub position: TextPosition,
}

/// A business that was read, and of which nothing is wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportedData {
    /// What has happened.
    pub history: BusinessHistory,
    /// Where each lead, order and expense is told.
    sources: [(&'static str, Vec<RecordSource>); 3],
}

impl ImportedData {
    /// Reads a folder's files and checks all of it.
    ///
    /// # Errors
    /// [`SeedError::Own`] with everything that is wrong, or a file can't be read.
    pub fn load(folder: &Path, ground: &ReferenceData) -> Result<Self, SeedError> {
        let mut issues = BTreeSet::new();
        let mut read = |name| parse::read_records(folder, name, &mut issues);
        let (leads, orders, expenses) = (read("leads")?, read("orders")?, read("expenses")?);
        if leads.is_none() && orders.is_none() && expenses.is_none() {
            return Err(SeedError::NoImportFiles(folder.to_owned()));
        }
        let leads = validate::validate_leads(&leads.unwrap_or_default(), &mut issues);
        let clients = validate::clients_by_company(&leads);
        let orders = orders.unwrap_or_default();
        let orders = validate::validate_orders(&orders, &clients, ground, &mut issues);
        let expenses = validate::validate_expenses(&expenses.unwrap_or_default(), &mut issues);
        if !issues.is_empty() {
            return Err(SeedError::InvalidImport(issues.into_iter().collect()));
        }
        let ((leads, of_leads), (orders, of_orders)) = (leads.unzip(), orders.unzip());
        let (expenses, of_expenses) = expenses.unzip();
        Ok(Self {
            history: BusinessHistory {
                leads,
                orders,
                expenses,
                profiles: Vec::new(),
            },
            sources: [
                ("leads", of_leads),
                ("orders", of_orders),
                ("expenses", of_expenses),
            ],
        })
    }

    /// What the database refuses, with the place in the files where it says which row it is
    /// about: `COPY orders, line 3, column notes: "…"`.
    #[must_use]
    pub fn locate_database_error(&self, error: &sqlx::Error) -> Option<ValidationIssue> {
        let error = error
            .as_database_error()?
            .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()?;
        let mut told = error.r#where()?.strip_prefix("COPY ")?.splitn(3, ", ");
        let table = told.next()?;
        let row: usize = told
            .next()?
            .strip_prefix("line ")?
            .split([':', ','])
            .next()?
            .parse()
            .ok()?;
        let (_, places) = self.sources.iter().find(|(name, _)| *name == table)?;
        let place = places.get(row.checked_sub(1)?)?;
        let column = told.next().and_then(|told| told.strip_prefix("column "));
        let column = column.and_then(|told| told.split(':').next());
        Some(ValidationIssue {
            file: place.file.clone(),
            position: place.position,
            column: Some(column.unwrap_or("row").to_owned()),
            reason: format!("PostgreSQL rejects the row: {}", error.message()),
        })
    }

    /// How much it is about.
    #[must_use]
    pub(crate) fn counts(&self) -> HistoryCounts {
        let facts = &self.history;
        HistoryCounts {
            leads: facts.leads.len() as u64,
            orders: facts.orders.len() as u64,
            expenses: facts.expenses.len() as u64,
            max_items: facts
                .orders
                .iter()
                .map(|order| order.items.len() as u64)
                .max()
                .unwrap_or_default(),
            profiles: facts.profiles.len() as u64,
        }
    }
}
