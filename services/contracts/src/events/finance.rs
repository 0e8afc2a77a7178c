//! What finance-service tells.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::DomainEvent;

/// An expense was submitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExpenseSubmitted {
    /// The expense.
    pub expense_id: String,
    /// Whose money it was.
    pub submitter_user_id: String,
    /// How much, with two decimals.
    pub amount: Decimal,
    /// Of what.
    pub currency: String,
    /// When.
    pub submitted_at: DateTime<Utc>,
}

impl DomainEvent for ExpenseSubmitted {
    const TYPE: &'static str = "com.dundermifflin.expense.submitted.v1";
    const ROUTING_KEY: &'static str = "finance.expense.submitted.v1";
    const SOURCE: &'static str = "/finance-service";

    fn subject(&self) -> String {
        format!("expense/{}", self.expense_id)
    }

    fn time(&self) -> DateTime<Utc> {
        self.submitted_at
    }
}

/// An expense was approved or rejected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExpenseDecided {
    /// The expense.
    pub expense_id: String,
    /// Who waits for it.
    pub submitter_user_id: String,
    /// `APPROVED` or `REJECTED`.
    pub decision: String,
    /// Who decided.
    pub decided_by: String,
    /// Why; empty where nothing was said.
    pub comment: String,
    /// When.
    pub decided_at: DateTime<Utc>,
}

impl DomainEvent for ExpenseDecided {
    const TYPE: &'static str = "com.dundermifflin.expense.decided.v1";
    const ROUTING_KEY: &'static str = "finance.expense.decided.v1";
    const SOURCE: &'static str = "/finance-service";

    fn subject(&self) -> String {
        format!("expense/{}", self.expense_id)
    }

    fn time(&self) -> DateTime<Utc> {
        self.decided_at
    }
}
