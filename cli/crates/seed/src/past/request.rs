//! What is asked for.

use chrono::NaiveDate;
use dm_business::rows::Counts;
use dm_business::{Invention, Staff};
use serde::{Deserialize, Serialize};

use crate::SeedFile;

/// How many orders a part has, about.
const PART: u64 = 1_000;

/// A part of the business, by the service that it begins at. What follows from it in
/// others comes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Only {
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
pub struct Request {
    /// Which past.
    pub number: u64,
    /// How many orders; leads and expenses go by that.
    pub orders: u64,
    /// The day on which it ends, which is not part of it.
    pub until: NaiveDate,
    /// How many days it takes.
    pub days: u16,
    /// Only a part of the business.
    pub only: Option<Only>,
    /// A digest of what the file says: another one would make other orders, whose numbers are
    /// not those that were set aside.
    pub file: String,
}

impl Request {
    /// Whether this kind of business is part of it.
    #[must_use]
    pub(crate) fn has(&self, kind: Only) -> bool {
        self.only.is_none_or(|only| only == kind)
    }

    /// Into how many parts it is cut.
    #[must_use]
    pub(crate) const fn parts(&self) -> u64 {
        self.orders.div_ceil(PART)
    }

    /// The past that is asked for.
    #[must_use]
    pub fn invention(&self, file: &SeedFile, skus: Vec<String>) -> Invention {
        let staff = staff(file, skus);
        Invention::new(self.number, staff, self.orders, self.until, self.days)
    }

    /// How much it is about.
    #[must_use]
    pub fn counts(&self, invention: &Invention) -> Counts {
        let only = |kind, count| if self.has(kind) { count } else { 0 };
        Counts {
            leads: only(Only::Sales, invention.leads()),
            orders: only(Only::Order, invention.orders),
            expenses: only(Only::Finance, invention.expenses()),
            most_items: invention.staff.most_items as u64,
            people: only(Only::Profile, invention.staff.people.len() as u64),
        }
    }
}

fn staff(file: &SeedFile, skus: Vec<String>) -> Staff {
    let file = file.clone();
    Staff {
        sellers: file.sellers,
        accountant: file.accountant,
        warehouse: file.warehouse,
        trucks: file.trucks,
        skus,
        quantities: file.order.quantities,
        most_items: file.order.most_items,
        notes: file.order.notes,
        expenses: file
            .expenses
            .into_iter()
            .map(|expense| dm_business::invent::Spending {
                submitter: expense.submitter,
                category: expense.category,
                description: expense.description,
                amount: expense.amount,
                rejection: expense.rejection,
            })
            .collect(),
        people: file.people,
    }
}
