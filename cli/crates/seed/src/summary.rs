//! Counts of the records that a seed created.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;

use dm_history::rows;
use serde::Serialize;

/// Counts of the records that a seed created, by kind and by status of the API contract.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SeedSummary {
    /// Leads by status.
    pub leads: BTreeMap<String, usize>,
    /// Clients.
    pub clients: usize,
    /// Orders by status.
    pub orders: BTreeMap<String, usize>,
    /// Expenses by status.
    pub expenses: BTreeMap<String, usize>,
    /// User profiles.
    pub profiles: usize,
}

impl SeedSummary {
    pub(super) fn increment(statuses: &mut BTreeMap<String, usize>, status: &str) {
        *statuses.entry(status.to_owned()).or_default() += 1;
    }

    /// Returns the sum over all statuses.
    #[must_use]
    pub fn total(statuses: &BTreeMap<String, usize>) -> usize {
        statuses.values().sum()
    }
}

impl From<&rows::StatusCounts> for SeedSummary {
    fn from(status_counts: &rows::StatusCounts) -> Self {
        let convert = |counts: &BTreeMap<&'static str, u64>| {
            counts
                .iter()
                .map(|(status, count)| {
                    (
                        (*status).to_owned(),
                        usize::try_from(*count).unwrap_or(usize::MAX),
                    )
                })
                .collect()
        };
        Self {
            leads: convert(&status_counts.leads),
            clients: usize::try_from(status_counts.clients).unwrap_or(usize::MAX),
            orders: convert(&status_counts.orders),
            expenses: convert(&status_counts.expenses),
            profiles: usize::try_from(status_counts.profiles).unwrap_or(usize::MAX),
        }
    }
}

impl AddAssign<&Self> for SeedSummary {
    fn add_assign(&mut self, other: &Self) {
        for (own, other) in [
            (&mut self.leads, &other.leads),
            (&mut self.orders, &other.orders),
            (&mut self.expenses, &other.expenses),
        ] {
            for (status, count) in other {
                *own.entry(status.clone()).or_default() += count;
            }
        }
        self.clients += other.clients;
        self.profiles += other.profiles;
    }
}

impl fmt::Display for SeedSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} leads, {} clients, {} orders and {} expenses",
            Self::total(&self.leads),
            self.clients,
            Self::total(&self.orders),
            Self::total(&self.expenses)
        )
    }
}

/// Counts of the records that a stack already has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ExistingData {
    /// Leads.
    pub leads: u64,
    /// Orders.
    pub orders: u64,
    /// Expenses.
    pub expenses: u64,
}

impl fmt::Display for ExistingData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} leads, {} orders and {} expenses",
            self.leads, self.orders, self.expenses
        )
    }
}
