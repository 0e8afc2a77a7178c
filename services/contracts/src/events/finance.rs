//! Events of finance-service.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::DomainEvent;

/// An expense was submitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExpenseSubmitted {
    /// Id of the expense.
    pub expense_id: String,
    /// The user who spent the money.
    pub submitter_user_id: String,
    /// Amount with two decimals.
    pub amount: Decimal,
    /// Currency of the amount.
    pub currency: String,
    /// Time of the submission.
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
    /// Id of the expense.
    pub expense_id: String,
    /// The user who spent the money.
    pub submitter_user_id: String,
    /// `APPROVED` or `REJECTED`.
    pub decision: String,
    /// The user who decided.
    pub decided_by: String,
    /// Comment of the decision, or empty.
    pub comment: String,
    /// Time of the decision.
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
