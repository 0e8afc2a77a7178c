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

mod check;
mod checked;
mod csv;
mod json;
mod places;
mod record;
mod records;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use dm_business::Facts;
use dm_business::rows::Counts;

use super::SeedError;

pub(crate) use crate::issue::{Issue, Spot};
pub use check::Ground;

/// Where a fact is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The file.
    pub file: PathBuf,
    /// Where it begins.
    pub spot: Spot,
}

/// A business that was read, and of which nothing is wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Own {
    /// What has happened.
    pub facts: Facts,
    /// Where each lead, order and expense is told.
    places: [(&'static str, Vec<Place>); 3],
}

impl Own {
    /// Reads a folder's files and checks all of it.
    ///
    /// # Errors
    /// [`SeedError::Own`] with everything that is wrong, or a file can't be read.
    pub fn read(folder: &Path, ground: &Ground) -> Result<Self, SeedError> {
        let mut issues = BTreeSet::new();
        let mut read = |name| records::read(folder, name, &mut issues);
        let (leads, orders, expenses) = (read("leads")?, read("orders")?, read("expenses")?);
        if leads.is_none() && orders.is_none() && expenses.is_none() {
            return Err(SeedError::NoFiles(folder.to_owned()));
        }
        let leads = check::leads(&leads.unwrap_or_default(), &mut issues);
        let clients = check::clients(&leads);
        let orders = orders.unwrap_or_default();
        let orders = check::orders(&orders, &clients, ground, &mut issues);
        let expenses = check::expenses(&expenses.unwrap_or_default(), &mut issues);
        if !issues.is_empty() {
            return Err(SeedError::Own(issues.into_iter().collect()));
        }
        let ((leads, of_leads), (orders, of_orders)) = (leads.apart(), orders.apart());
        let (expenses, of_expenses) = expenses.apart();
        Ok(Self {
            facts: Facts {
                leads,
                orders,
                expenses,
                people: Vec::new(),
            },
            places: [
                ("leads", of_leads),
                ("orders", of_orders),
                ("expenses", of_expenses),
            ],
        })
    }

    /// What the database refuses, with the place in the files where it says which row it is
    /// about: `COPY orders, line 3, column notes: "…"`.
    #[must_use]
    pub fn refused(&self, error: &sqlx::Error) -> Option<Issue> {
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
        let (_, places) = self.places.iter().find(|(name, _)| *name == table)?;
        let place = places.get(row.checked_sub(1)?)?;
        let column = told.next().and_then(|told| told.strip_prefix("column "));
        let column = column.and_then(|told| told.split(':').next());
        Some(Issue {
            file: place.file.clone(),
            spot: place.spot,
            column: Some(column.unwrap_or("row").to_owned()),
            reason: format!("PostgreSQL rejects the row: {}", error.message()),
        })
    }

    /// How much it is about.
    #[must_use]
    pub(crate) fn counts(&self) -> Counts {
        let facts = &self.facts;
        Counts {
            leads: facts.leads.len() as u64,
            orders: facts.orders.len() as u64,
            expenses: facts.expenses.len() as u64,
            most_items: facts
                .orders
                .iter()
                .map(|order| order.items.len() as u64)
                .max()
                .unwrap_or_default(),
            people: facts.people.len() as u64,
        }
    }
}
