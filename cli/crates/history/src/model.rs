//! The model of a history.

use chrono::{DateTime, NaiveDate, Utc};
use dm_contracts::App;
use rust_decimal::Decimal;
use serde::Deserialize;

/// A company that may become a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lead {
    /// The index among the leads of the run, from 0.
    pub index: u64,
    /// The company.
    pub company: String,
    /// The name of the contact.
    pub contact: String,
    /// The e-mail address of the contact.
    pub email: String,
    /// The phone number of the contact.
    pub phone: String,
    /// Notes of the seller.
    pub notes: String,
    /// User id of the seller.
    pub seller: String,
    /// The creation time.
    pub created_at: DateTime<Utc>,
    /// The time of the last change.
    pub updated_at: DateTime<Utc>,
    /// The outcome.
    pub outcome: LeadOutcome,
}

/// The outcome of a lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeadOutcome {
    /// The lead is unchanged since its creation.
    New,
    /// The company has been contacted.
    Contacted,
    /// The lead is promising.
    Qualified,
    /// The lead was abandoned.
    Disqualified,
    /// The company became a client at the last change.
    Converted {
        /// The index among the clients of the run, from 0.
        client_index: u64,
    },
}

impl LeadOutcome {
    /// Returns the status in the API contract.
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

/// The client of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientRef {
    /// A client of the run, by index from 0.
    InRun(u64),
    /// An existing client, by id.
    Existing(String),
}

/// A product and its quantity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderLine {
    /// The SKU.
    pub sku: String,
    /// The quantity.
    pub quantity: i64,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The index among the orders of the run, from 0.
    pub index: u64,
    /// The client.
    pub client: ClientRef,
    /// User id of the seller who placed the order.
    pub seller: String,
    /// The creation time.
    pub created_at: DateTime<Utc>,
    /// The requested ship date.
    pub ship_date: NaiveDate,
    /// The ordered products, each once.
    pub items: Vec<OrderLine>,
    /// The notes.
    pub notes: String,
    /// The outcome.
    pub outcome: OrderOutcome,
}

/// The outcome of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderOutcome {
    /// The stock is reserved.
    Reserved,
    /// The first lines are scanned.
    Loading {
        /// User id of the warehouse worker.
        scanned_by: String,
        /// The number of scanned lines.
        scanned_lines: usize,
        /// The time of the first scan.
        first_scanned_at: DateTime<Utc>,
    },
    /// The order is shipped.
    Shipped {
        /// User id of the warehouse worker.
        shipped_by: String,
        /// The id of the truck.
        truck_id: String,
        /// The time of the dispatch.
        shipped_at: DateTime<Utc>,
    },
    /// The stock was insufficient. Contains the missing quantities.
    Failed(Vec<OrderLine>),
    /// The order was cancelled after its stock was reserved, and before its first scan.
    Cancelled {
        /// User id of the seller.
        cancelled_by: String,
        /// The time of the cancellation.
        cancelled_at: DateTime<Utc>,
        /// The reason.
        reason: String,
    },
}

impl OrderOutcome {
    /// Returns the status in the API contract.
    #[must_use]
    pub const fn status(&self) -> &'static str {
        match self {
            Self::Reserved => "RESERVED",
            Self::Loading { .. } => "PICKING",
            Self::Shipped { .. } => "SHIPPED",
            Self::Failed(_) => "FAILED_INSUFFICIENT_STOCK",
            Self::Cancelled { .. } => "CANCELLED",
        }
    }
}

/// An expense.
#[derive(Debug, Clone, PartialEq)]
pub struct Expense {
    /// The index among the expenses of the run, from 0.
    pub index: u64,
    /// User id of the submitter.
    pub submitter: String,
    /// The category.
    pub category: String,
    /// The amount.
    pub amount: Decimal,
    /// The currency.
    pub currency: String,
    /// The description.
    pub description: String,
    /// The time of the submission.
    pub created_at: DateTime<Utc>,
    /// The decision, or `None` if the expense is pending.
    pub decision: Option<ExpenseDecision>,
}

/// The decision about an expense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpenseDecision {
    /// Whether the expense is approved.
    pub is_approved: bool,
    /// User id of the accountant.
    pub decided_by: String,
    /// The time of the decision.
    pub decided_at: DateTime<Utc>,
    /// The comment.
    pub comment: String,
}

impl Expense {
    /// Returns the status in the API contract.
    #[must_use]
    pub(crate) fn status(&self) -> &'static str {
        match &self.decision {
            None => "PENDING",
            Some(decision) if decision.is_approved => "APPROVED",
            Some(_) => "REJECTED",
        }
    }
}

/// The profile of a user in the seed file. Its `Debug` output is part of the digest of the file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The user id.
    pub user: String,
    /// The full name.
    pub name: String,
    /// The e-mail address.
    pub email: String,
    /// The job title.
    pub title: String,
    /// The phone number.
    pub phone: String,
    /// The default app.
    pub app: App,
}

/// A saved user profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedProfile {
    /// The index among the profiles of the run, from 0.
    pub index: u64,
    /// The profile.
    pub member: Member,
    /// The time at which profile, avatar and settings were saved.
    pub saved_at: DateTime<Utc>,
    /// The avatar as a PNG file in the size of avatars, if the user has uploaded one.
    pub avatar: Option<&'static [u8]>,
    /// The settings of the portal as JSON, if the user has saved them.
    pub portal_settings: Option<String>,
}

/// A history, or a part of one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BusinessHistory {
    /// Leads.
    pub leads: Vec<Lead>,
    /// Orders.
    pub orders: Vec<Order>,
    /// Expenses.
    pub expenses: Vec<Expense>,
    /// User profiles.
    pub profiles: Vec<SavedProfile>,
}
