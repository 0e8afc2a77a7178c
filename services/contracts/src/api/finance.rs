//! finance-service: expenses.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Number;
use utoipa::ToSchema;

/// An expense to be submitted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreateExpense {
    /// Whose money it was; the caller's where it is missing or blank.
    pub submitter_user_id: Option<String>,
    /// What for, e.g. `OFFICE_SUPPLIES`. Mandatory.
    #[schema(value_type = String, pattern = r"\S")]
    pub category: Option<String>,
    /// How much: more than 0, at most 9999999999.99, rounded to two decimals.
    /// Mandatory.
    #[schema(value_type = f64, exclusive_minimum = 0, maximum = 9999999999.99)]
    pub amount: Option<Number>,
    /// Of what, e.g. `USD`. Mandatory.
    #[schema(value_type = String, pattern = r"\S")]
    pub currency: Option<String>,
    /// What it was. Mandatory.
    #[schema(value_type = String, pattern = r"\S")]
    pub description: Option<String>,
    /// Where the receipt is.
    pub receipt_url: Option<String>,
}

/// A decision on an expense.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DecideExpense {
    /// `APPROVED` or `REJECTED`. Mandatory.
    #[schema(value_type = String, pattern = "^(APPROVED|REJECTED)$")]
    pub decision: Option<String>,
    /// Why. Mandatory for `REJECTED`.
    pub comment: Option<String>,
}

/// An expense.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Expense {
    /// `exp_` and a number.
    pub expense_id: String,
    /// Whose money it was.
    pub submitter_user_id: String,
    /// What for.
    pub category: String,
    /// How much, with two decimals.
    #[schema(value_type = f64)]
    pub amount: Decimal,
    /// Of what.
    pub currency: String,
    /// What it was.
    pub description: String,
    /// Where the receipt is.
    pub receipt_url: Option<String>,
    /// `PENDING`, `APPROVED` or `REJECTED`.
    pub status: String,
    /// When it was submitted.
    pub created_at: DateTime<Utc>,
    /// Who decided.
    pub decided_by: Option<String>,
    /// When.
    pub decided_at: Option<DateTime<Utc>>,
    /// Why; empty where nothing was said.
    pub decision_comment: Option<String>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Every amount that the database can hold is the same one after its way
        /// through a JSON number.
        #[test]
        fn an_amount_survives_json(cents in 1_i64..=999_999_999_999) {
            #[derive(Serialize, Deserialize)]
            struct Body { amount: Decimal }
            let amount = Decimal::new(cents, 2);
            let text = serde_json::to_string(&Body { amount }).unwrap();
            prop_assert!(!text.contains(":\""), "a number and no text: {}", text);
            let body: Body = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(body.amount, amount);
        }
    }
}
