//! Bodies of finance-service.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Number;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

use super::schema::{NOT_BLANK, TEXT, text};
use crate::validation::MAX_REMARK_LENGTH;

/// Status of an expense. A decision is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ExpenseStatus {
    /// No decision yet.
    Pending,
    /// Approved.
    Approved,
    /// Rejected.
    Rejected,
}

impl ExpenseStatus {
    /// Every status, in the order of error messages.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Approved, Self::Rejected];

    /// Returns the name in bodies and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Approved => "APPROVED",
            Self::Rejected => "REJECTED",
        }
    }

    /// Returns the status with this name in any case.
    #[must_use]
    pub fn from_name_ignore_case(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str().eq_ignore_ascii_case(name))
    }
}

/// Request to submit an expense.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreateExpense {
    /// The user who spent the money. Defaults to the caller if missing or blank.
    #[schema(pattern = r"^[^\x00]*$", max_length = 255)]
    pub submitter_user_id: Option<String>,
    /// Category, e.g. `OFFICE_SUPPLIES`. Required.
    #[schema(value_type = String, pattern = r"^[^\x00]*[^\x00\s][^\x00]*$", max_length = 100)]
    pub category: Option<String>,
    /// Amount: after rounding to two decimals, halves up, more than 0 and at most 9999999999.99.
    /// Required.
    #[schema(value_type = f64, minimum = 0.005, exclusive_maximum = 9999999999.995)]
    pub amount: Option<Number>,
    /// Currency, e.g. `USD`. Required.
    #[schema(value_type = String, pattern = r"^[^\x00]*[^\x00\s][^\x00]*$", max_length = 10)]
    pub currency: Option<String>,
    /// Description. Required.
    #[schema(value_type = String, pattern = r"^[^\x00]*[^\x00\s][^\x00]*$", max_length = 2000)]
    pub description: Option<String>,
    /// URL of the receipt: `http://` or `https://`, a host, and no white space. A blank text counts
    /// as missing.
    #[schema(
        pattern = r"^\s*(?:[Hh][Tt][Tt][Pp][Ss]?://[^\s\x00-\x1f\x7f-\x9f/?#\\][^\s\x00-\x1f\x7f-\x9f]*)?\s*$",
        max_length = 2000
    )]
    pub receipt_url: Option<String>,
}

/// Decision on an expense.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecideExpense {
    /// `APPROVED` or `REJECTED`. Required.
    pub decision: Option<String>,
    /// Comment. Required for `REJECTED`.
    pub comment: Option<String>,
}

/// Whether a comment is required depends on the decision.
impl PartialSchema for DecideExpense {
    fn schema() -> RefOr<Schema> {
        let comment = || text().max_length(Some(MAX_REMARK_LENGTH));
        let optional = comment()
            .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
            .pattern(Some(TEXT))
            .description(Some("Comment."));
        let required = comment()
            .pattern(Some(NOT_BLANK))
            .description(Some("Comment. Required."));
        let decision = |status: ExpenseStatus, comment: ObjectBuilder| {
            let decision = text()
                .enum_values(Some([status.as_str()]))
                .description(Some("The decision. Required."));
            ObjectBuilder::new()
                .property("decision", decision)
                .required("decision")
                .property("comment", comment)
        };
        OneOfBuilder::new()
            .description(Some("Decision on an expense: an approval or a rejection."))
            .item(decision(ExpenseStatus::Approved, optional))
            .item(decision(ExpenseStatus::Rejected, required).required("comment"))
            .into()
    }
}

impl ToSchema for DecideExpense {}

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
    #[schema(value_type = ExpenseStatus)]
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

    #[test]
    fn expense_status_has_one_name_in_json_and_tables_and_any_case_in_queries() {
        for status in ExpenseStatus::ALL {
            let name = status.as_str();
            assert_eq!(serde_json::to_value(status).unwrap(), name);
            for name in [name.to_owned(), name.to_lowercase()] {
                assert_eq!(ExpenseStatus::from_name_ignore_case(&name), Some(status));
            }
        }
        for name in ["", "PAID", "PENDING,APPROVED"] {
            assert_eq!(ExpenseStatus::from_name_ignore_case(name), None, "{name:?}");
        }
    }

    #[test]
    fn schema_of_a_decision_requires_the_comment_of_a_rejection() {
        let schema = serde_json::to_value(DecideExpense::schema()).unwrap();
        let alternatives = schema["oneOf"].as_array().unwrap();
        let described: Vec<_> = alternatives
            .iter()
            .map(|alternative| {
                let decision = &alternative["properties"]["decision"]["enum"];
                (decision[0].as_str(), alternative["required"].to_string())
            })
            .collect();
        assert_eq!(
            described,
            [
                (Some("APPROVED"), r#"["decision"]"#.to_owned()),
                (Some("REJECTED"), r#"["decision","comment"]"#.to_owned()),
            ]
        );
    }

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
