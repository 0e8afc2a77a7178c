//! The parameters of a run.

use chrono::NaiveDate;
use dm_history::rows::HistoryCounts;
use dm_history::{GeneratorInput, HistoryGenerator};
use serde::{Deserialize, Serialize};

use crate::SeedFile;

/// The approximate number of orders in a part.
const ORDERS_PER_PART: u64 = 1_000;

/// A slice of the history, named by the service in which it begins. The effects in other
/// services are included.
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

/// The parameters of a run. Together with the seed file they are all that a resumed run needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRequest {
    /// The seed number.
    pub number: u64,
    /// The number of orders, which determines the numbers of leads and expenses.
    pub orders: u64,
    /// The end date, exclusive.
    pub until: NaiveDate,
    /// The length of the history in days.
    pub days: u16,
    /// The requested slice, or `None` for all of them.
    pub only: Option<HistorySlice>,
    /// The digest of the seed file. Another file would generate other orders, for which no
    /// numbers are reserved.
    pub file: String,
}

impl HistoryRequest {
    /// Returns whether the run includes a slice.
    #[must_use]
    pub(crate) fn has_slice(&self, slice: HistorySlice) -> bool {
        self.only.is_none_or(|only| only == slice)
    }

    /// Returns the number of parts.
    #[must_use]
    pub(crate) const fn part_count(&self) -> u64 {
        self.orders.div_ceil(ORDERS_PER_PART)
    }

    /// Returns the generator of the requested history.
    #[must_use]
    pub fn generator(&self, file: &SeedFile, skus: Vec<String>) -> HistoryGenerator {
        let input = generator_input(file, skus);
        HistoryGenerator::new(self.number, input, self.orders, self.until, self.days)
    }

    /// Returns the numbers of requested records.
    #[must_use]
    pub fn counts(&self, generator: &HistoryGenerator) -> HistoryCounts {
        let if_requested = |slice, count| if self.has_slice(slice) { count } else { 0 };
        HistoryCounts {
            leads: if_requested(HistorySlice::Sales, generator.lead_count()),
            orders: if_requested(HistorySlice::Order, generator.order_count),
            expenses: if_requested(HistorySlice::Finance, generator.expense_count()),
            max_items: generator.input.max_items as u64,
            profiles: if_requested(HistorySlice::Profile, generator.input.members.len() as u64),
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
