//! Facts as the services' tables hold them.
//!
//! What the services would have written is written: the row of the business, its outbox
//! rows, published, and the inbox rows of whoever handled them. What outboxes and inboxes
//! would have forgotten by now is not in them.

mod copy;
mod events;
mod finance;
mod orders;
mod sales;
mod table;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::facts::{Expense, Facts, LeadEnd};
use crate::invent::mix;

pub use table::{Service, Table};

/// The first number of each kind that a run may give out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct First {
    /// Of leads.
    pub lead: u64,
    /// Of clients.
    pub client: u64,
    /// Of orders, and so of shipments.
    pub order: u64,
    /// Of steps of orders.
    pub timeline: u64,
    /// Of reservations.
    pub reservation: u64,
    /// Of scans.
    pub scan: u64,
    /// Of expenses.
    pub expense: u64,
    /// Of notifications.
    pub notification: u64,
    /// Of the events of sales.
    pub sales_event: u64,
    /// Of the events of orders.
    pub order_event: u64,
    /// Of the events of inventory.
    pub inventory_event: u64,
    /// Of the events of finance.
    pub finance_event: u64,
    /// Of the events of notifications.
    pub notification_event: u64,
}

/// How many numbers of each kind a run gives out.
pub type Needs = First;

/// How many facts of each kind a run is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Leads.
    pub leads: u64,
    /// Orders.
    pub orders: u64,
    /// Expenses.
    pub expenses: u64,
    /// How many products an order has at most.
    pub most_items: u64,
}

/// How many steps an order has at most, and events by its service.
const STEPS: u64 = 3;
/// How many events inventory tells of an order at most.
const INVENTORY_EVENTS: u64 = 2;
/// How many notifications an order causes at most.
const NOTIFICATIONS: u64 = 2;
/// How many events finance tells of an expense at most.
const EXPENSE_EVENTS: u64 = 2;

impl Counts {
    /// How many numbers that takes at most. Some of them stay unused, as they do where a
    /// transaction is rolled back.
    #[must_use]
    pub const fn needs(&self) -> Needs {
        let Self {
            leads,
            orders,
            expenses,
            most_items,
        } = *self;
        let notifications = orders * NOTIFICATIONS + expenses;
        Needs {
            lead: leads,
            client: leads,
            order: orders,
            timeline: orders * STEPS,
            reservation: orders,
            scan: orders * most_items,
            expense: expenses,
            notification: notifications,
            sales_event: leads,
            order_event: orders * STEPS,
            inventory_event: orders * INVENTORY_EVENTS,
            finance_event: expenses * EXPENSE_EVENTS,
            notification_event: notifications,
        }
    }
}

/// Writes the facts of a run as rows.
#[derive(Debug, Clone, Copy)]
pub struct Clerk {
    /// Where its numbers begin.
    pub first: First,
    /// How much it is about.
    pub counts: Counts,
    /// Tells its events from those of other runs.
    salt: u64,
    memory: Memory,
}

/// What outboxes and inboxes still know.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// When that is asked.
    pub now: DateTime<Utc>,
    /// What was published longer ago is forgotten.
    pub keeps: TimeDelta,
}

impl Clerk {
    /// The clerk of a run.
    #[must_use]
    pub const fn new(number: u64, first: First, counts: Counts, memory: Memory) -> Self {
        // Runs of one number never begin at the same numbers.
        let place = mix(first.lead) ^ mix(first.order ^ 1) ^ mix(first.expense ^ 2);
        Self {
            salt: mix(number) ^ place,
            first,
            counts,
            memory,
        }
    }

    const fn salt(&self) -> u64 {
        self.salt
    }

    /// The rows of some facts.
    #[must_use]
    pub fn write(&self, facts: &Facts) -> Rows {
        let mut rows = Rows::default();
        for lead in &facts.leads {
            self.lead(&mut rows, lead);
        }
        for order in &facts.orders {
            self.order(&mut rows, order);
        }
        for expense in &facts.expenses {
            self.expense(&mut rows, expense);
        }
        rows.made = Made::of(facts);
        rows
    }
}

/// What rows are about: how many of a kind there are, by status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Made {
    /// Leads.
    pub leads: BTreeMap<&'static str, u64>,
    /// Clients.
    pub clients: u64,
    /// Orders.
    pub orders: BTreeMap<&'static str, u64>,
    /// Expenses.
    pub expenses: BTreeMap<&'static str, u64>,
}

impl Made {
    fn of(facts: &Facts) -> Self {
        fn count(statuses: impl Iterator<Item = &'static str>) -> BTreeMap<&'static str, u64> {
            let mut counts = BTreeMap::new();
            for status in statuses {
                *counts.entry(status).or_default() += 1;
            }
            counts
        }
        let leads = || facts.leads.iter();
        Self {
            leads: count(leads().map(|lead| lead.end.status())),
            clients: leads()
                .filter(|lead| matches!(lead.end, LeadEnd::Converted { .. }))
                .count() as u64,
            orders: count(facts.orders.iter().map(|order| order.end.status())),
            expenses: count(facts.expenses.iter().map(Expense::status)),
        }
    }
}

impl std::ops::AddAssign<&Self> for Made {
    fn add_assign(&mut self, other: &Self) {
        for (own, other) in [
            (&mut self.leads, &other.leads),
            (&mut self.orders, &other.orders),
            (&mut self.expenses, &other.expenses),
        ] {
            for (status, count) in other {
                *own.entry(status).or_default() += count;
            }
        }
        self.clients += other.clients;
    }
}

/// What came in of a product, and what became of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Movement {
    /// Set aside, and still there.
    pub reserved: i64,
    /// Gone.
    pub shipped: i64,
}

/// Rows of the services' tables, in PostgreSQL's COPY text format
/// (<https://www.postgresql.org/docs/17/sql-copy.html>).
#[derive(Debug, Default)]
pub struct Rows {
    texts: BTreeMap<Table, Text>,
    /// What the orders need of each product. So much has to come in besides.
    pub stock: BTreeMap<String, Movement>,
    /// What they are about.
    pub made: Made,
}

#[derive(Debug, Default)]
struct Text {
    bytes: Vec<u8>,
    rows: u64,
}

impl Rows {
    /// The text of each table, with how many rows it has, in an order in which a row is
    /// there before another one names it.
    pub fn texts(&self) -> impl Iterator<Item = (Table, &[u8], u64)> {
        self.texts
            .iter()
            .map(|(table, text)| (*table, text.bytes.as_slice(), text.rows))
    }

    /// How many rows there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.texts.values().map(|text| text.rows).sum()
    }

    fn line(&mut self, table: Table) -> copy::Line<'_> {
        let text = self.texts.entry(table).or_default();
        text.rows += 1;
        copy::Line::begin(&mut text.bytes)
    }
}
