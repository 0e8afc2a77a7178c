//! What has happened.

use chrono::{DateTime, NaiveDate, Utc};
use dm_contracts::App;
use rust_decimal::Decimal;
use serde::Deserialize;

/// A company that may become a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lead {
    /// Its place among the leads of the run, from 0.
    pub index: u64,
    /// The company.
    pub company: String,
    /// Who speaks for it.
    pub contact: String,
    /// That person's address.
    pub email: String,
    /// That person's number.
    pub phone: String,
    /// What the seller has noted.
    pub notes: String,
    /// Who looks after it.
    pub seller: String,
    /// When it was noted.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// How far it came.
    pub outcome: LeadOutcome,
}

/// How far a lead came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeadOutcome {
    /// Somebody has noted it.
    New,
    /// Somebody has called.
    Contacted,
    /// It will come to something.
    Qualified,
    /// It will not.
    Disqualified,
    /// It became a client when it last changed.
    Converted {
        /// The client's place among the clients of the run, from 0.
        client_index: u64,
    },
}

impl LeadOutcome {
    /// The status, as the contract has it.
    #[must_use]
    pub(crate) const fn status(self) -> &'static str {
        match self {
            Self::New => "NEW",
            Self::Contacted => "CONTACTED",
            Self::Qualified => "QUALIFIED",
            Self::Disqualified => "DISQUALIFIED",
            Self::Converted { .. } => "CONVERTED",
        }
    }
}

/// Who an order is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientRef {
    /// A client of the run, by its place from 0.
    InRun(u64),
    /// Somebody else, by id.
    Existing(String),
}

/// So much of a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderLine {
    /// The product.
    pub sku: String,
    /// How many.
    pub quantity: i64,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Its place among the orders of the run, from 0.
    pub index: u64,
    /// Who it is for.
    pub client: ClientRef,
    /// Who placed it.
    pub seller: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When it was to be shipped.
    pub ship_date: NaiveDate,
    /// What was ordered; no product twice.
    pub items: Vec<OrderLine>,
    /// What is written on it.
    pub notes: String,
    /// How far it came.
    pub outcome: OrderOutcome,
}

/// How far an order came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderOutcome {
    /// Its goods are set aside.
    Reserved,
    /// Its first lines are scanned.
    Loading {
        /// By whom.
        scanned_by: String,
        /// How many lines.
        scanned_lines: usize,
        /// When the first of them was.
        first_scanned_at: DateTime<Utc>,
    },
    /// It has left.
    Shipped {
        /// By whom.
        shipped_by: String,
        /// With what.
        truck_id: String,
        /// When.
        shipped_at: DateTime<Utc>,
    },
    /// There was not enough: this was missing.
    Failed(Vec<OrderLine>),
}

impl OrderOutcome {
    /// The order's status, as the contract has it.
    #[must_use]
    pub const fn status(&self) -> &'static str {
        match self {
            Self::Reserved | Self::Loading { .. } => "RESERVED",
            Self::Shipped { .. } => "SHIPPED",
            Self::Failed(_) => "FAILED_INSUFFICIENT_STOCK",
        }
    }
}

/// An expense.
#[derive(Debug, Clone, PartialEq)]
pub struct Expense {
    /// Its place among the expenses of the run, from 0.
    pub index: u64,
    /// Whose money it was.
    pub submitter: String,
    /// What for.
    pub category: String,
    /// How much.
    pub amount: Decimal,
    /// In which currency.
    pub currency: String,
    /// What it was.
    pub description: String,
    /// When it was submitted.
    pub created_at: DateTime<Utc>,
    /// What became of it; nothing yet where it is missing.
    pub decision: Option<ExpenseDecision>,
}

/// What became of an expense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpenseDecision {
    /// Whether it was paid.
    pub is_approved: bool,
    /// By whom.
    pub decided_by: String,
    /// When.
    pub decided_at: DateTime<Utc>,
    /// What was said of it.
    pub comment: String,
}

impl Expense {
    /// Its status, as the contract has it.
    #[must_use]
    pub(crate) fn status(&self) -> &'static str {
        match &self.decision {
            None => "PENDING",
            Some(decision) if decision.is_approved => "APPROVED",
            Some(_) => "REJECTED",
        }
    }
}

/// Somebody of the business, and what they tell of themselves.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// What they sign in as.
    pub user: String,
    /// Their name.
    pub name: String,
    /// Their address.
    pub email: String,
    /// What they are.
    pub title: String,
    /// Their number.
    pub phone: String,
    /// What they want to see first.
    pub app: App,
}

/// Somebody who has told of themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedProfile {
    /// Their place among the people of the run, from 0.
    pub index: u64,
    /// What they have told.
    pub member: Member,
    /// When.
    pub saved_at: DateTime<Utc>,
}

/// Some of what has happened.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BusinessHistory {
    /// Leads.
    pub leads: Vec<Lead>,
    /// Orders.
    pub orders: Vec<Order>,
    /// Expenses.
    pub expenses: Vec<Expense>,
    /// People.
    pub profiles: Vec<SavedProfile>,
}
