//! What is asked for.

use chrono::NaiveDate;
use dm_history::rows::HistoryCounts;
use dm_history::{GeneratorInput, HistoryGenerator};
use serde::{Deserialize, Serialize};

use crate::SeedFile;

/// How many orders a part has, about.
const ORDERS_PER_PART: u64 = 1_000;

/// A part of the business, by the service that it begins at. What follows from it in
/// others comes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum HistorySlice {
    /// Leads and clients.
    Sales,
    /// Orders of existing clients, with shipments and notifications.
    Order,
    /// Expenses, with notifications.
    Finance,
    /// User profiles.
    Profile,
}

/// What a run is about. With the file of the project it is all that a resumed run needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRequest {
    /// Which past.
    pub number: u64,
    /// How many orders; leads and expenses go by that.
    pub orders: u64,
    /// The day on which it ends, which is not part of it.
    pub until: NaiveDate,
    /// How many days it takes.
    pub days: u16,
    /// Only a part of the business.
    pub only: Option<HistorySlice>,
    /// A digest of what the file says: another one would make other orders, whose numbers are
    /// not those that were set aside.
    pub file: String,
}

impl HistoryRequest {
    /// Whether this kind of business is part of it.
    #[must_use]
    pub(crate) fn has_slice(&self, kind: HistorySlice) -> bool {
        self.only.is_none_or(|only| only == kind)
    }

    /// Into how many parts it is cut.
    #[must_use]
    pub(crate) const fn part_count(&self) -> u64 {
        self.orders.div_ceil(ORDERS_PER_PART)
    }

    /// The past that is asked for.
    #[must_use]
    pub fn generator(&self, file: &SeedFile, skus: Vec<String>) -> HistoryGenerator {
        let staff = generator_input(file, skus);
        HistoryGenerator::new(self.number, staff, self.orders, self.until, self.days)
    }

    /// How much it is about.
    #[must_use]
    pub fn counts(&self, invention: &HistoryGenerator) -> HistoryCounts {
        let only = |kind, count| if self.has_slice(kind) { count } else { 0 };
        HistoryCounts {
            leads: only(HistorySlice::Sales, invention.lead_count()),
            orders: only(HistorySlice::Order, invention.order_count),
            expenses: only(HistorySlice::Finance, invention.expense_count()),
            max_items: invention.input.max_items as u64,
            profiles: only(HistorySlice::Profile, invention.input.members.len() as u64),
        }
    }
}

fn generator_input(file: &SeedFile, skus: Vec<String>) -> GeneratorInput {
    let file = file.clone();
    GeneratorInput {
        sellers: file.sellers,
        accountant: file.accountant,
        warehouse: file.warehouse,
        trucks: file.trucks,
        skus,
        quantities: file.order.quantities,
        max_items: file.order.most_items,
        order_notes: file.order.notes,
        expense_templates: file
            .expenses
            .into_iter()
            .map(|expense| dm_history::generator::ExpenseTemplate {
                submitter: expense.submitter,
                category: expense.category,
                description: expense.description,
                amount: expense.amount,
                rejection: expense.rejection,
            })
            .collect(),
        members: file.people,
    }
}
