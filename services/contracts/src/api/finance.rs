//! Bodies of finance-service.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Number;
use utoipa::ToSchema;

/// Request to submit an expense.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreateExpense {
    /// The user who spent the money. Defaults to the caller if missing or blank.
    pub submitter_user_id: Option<String>,
    /// Category, e.g. `OFFICE_SUPPLIES`. Required.
    #[schema(value_type = String, pattern = r"\S")]
    pub category: Option<String>,
    /// Amount: more than 0, at most 9999999999.99, rounded to two decimals. Required.
    #[schema(value_type = f64, exclusive_minimum = 0, maximum = 9999999999.99)]
    pub amount: Option<Number>,
    /// Currency, e.g. `USD`. Required.
    #[schema(value_type = String, pattern = r"\S")]
    pub currency: Option<String>,
    /// Description. Required.
    #[schema(value_type = String, pattern = r"\S")]
    pub description: Option<String>,
    /// URL of the receipt.
    pub receipt_url: Option<String>,
}

/// Decision on an expense.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DecideExpense {
    /// `APPROVED` or `REJECTED`. Required.
    #[schema(value_type = String, pattern = "^(APPROVED|REJECTED)$")]
    pub decision: Option<String>,
    /// Comment. Required for `REJECTED`.
    pub comment: Option<String>,
}

/// An expense.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Expense {
    /// Id of the expense: `exp_` and a number.
    pub expense_id: String,
    /// The user who spent the money.
    pub submitter_user_id: String,
    /// Category.
    pub category: String,
    /// Amount with two decimals.
    #[schema(value_type = f64)]
    pub amount: Decimal,
    /// Currency of the amount.
    pub currency: String,
    /// Description.
    pub description: String,
    /// URL of the receipt.
    pub receipt_url: Option<String>,
    /// `PENDING`, `APPROVED` or `REJECTED`.
    pub status: String,
    /// Time of the submission.
    pub created_at: DateTime<Utc>,
    /// The user who decided.
    pub decided_by: Option<String>,
    /// Time of the decision.
    pub decided_at: Option<DateTime<Utc>>,
    /// Comment of the decision, or empty.
    pub decision_comment: Option<String>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Every amount that the database can hold is exact as a JSON number.
        #[test]
        fn amount_round_trips_through_a_json_number(cents in 1_i64..=999_999_999_999) {
            #[derive(Serialize, Deserialize)]
            struct Body { amount: Decimal }
            let amount = Decimal::new(cents, 2);
            let text = serde_json::to_string(&Body { amount }).unwrap();
            prop_assert!(!text.contains(":\""), "the amount is not a number: {}", text);
            let body: Body = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(body.amount, amount);
        }
    }
}
