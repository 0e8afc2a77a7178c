//! Expenses as they come in.

use dm_contracts::api::error::FieldIssue;
use dm_contracts::api::finance::CreateExpense;
use dm_contracts::validation::{
    MAX_CATEGORY_LENGTH, MAX_CURRENCY_LENGTH, MAX_REMARK_LENGTH, MAX_USER_ID_LENGTH, parse_amount,
};
use dm_kit::http::{FieldIssues, trimmed};
use rust_decimal::Decimal;
use url::Url;

use super::{max_length_issue, missing_body};

/// Whether a text is an address that a browser may be led to: another scheme could run
/// something there.
fn is_http_url(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

/// An expense that may be submitted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NewExpense {
    pub(crate) submitter_user_id: String,
    pub(crate) category: String,
    pub(crate) amount: Decimal,
    pub(crate) currency: String,
    pub(crate) description: String,
    pub(crate) receipt_url: Option<String>,
}

impl NewExpense {
    /// Checks a request of a caller.
    pub(crate) fn from_request(
        request: Option<CreateExpense>,
        caller: &str,
    ) -> Result<Self, Vec<FieldIssue>> {
        let request = request.ok_or_else(missing_body)?;
        let mut issues = FieldIssues::default();
        let category = issues.required_text("category", request.category.as_deref(), "required");
        let amount = parse_amount(request.amount.as_ref()).unwrap_or_else(|issue| {
            issues.add("amount", issue);
            Decimal::ZERO
        });
        let currency = issues.required_text("currency", request.currency.as_deref(), "required");
        let description =
            issues.required_text("description", request.description.as_deref(), "required");
        let filled = |value: Option<&str>| Some(trimmed(value)).filter(|text| !text.is_empty());
        let submitter_user_id = filled(request.submitter_user_id.as_deref());
        let receipt_url = filled(request.receipt_url.as_deref());
        for (field, text, most) in [
            // The users of the events, and of the notifications that follow.
            (
                "submitterUserId",
                submitter_user_id.as_deref(),
                MAX_USER_ID_LENGTH,
            ),
            ("category", Some(&*category), MAX_CATEGORY_LENGTH),
            ("currency", Some(&*currency), MAX_CURRENCY_LENGTH),
            ("description", Some(&*description), MAX_REMARK_LENGTH),
            ("receiptUrl", receipt_url.as_deref(), MAX_REMARK_LENGTH),
        ] {
            let text = text.unwrap_or_default();
            issues.check_length(field, text, most, max_length_issue(most));
        }
        if receipt_url.as_deref().is_some_and(|url| !is_http_url(url)) {
            issues.add("receiptUrl", "must be an http or https URL");
        }
        issues.into_result(Self {
            submitter_user_id: submitter_user_id.unwrap_or_else(|| caller.to_owned()),
            category,
            amount,
            currency: currency.to_uppercase(),
            description,
            receipt_url,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check_request(body: serde_json::Value) -> Result<NewExpense, Vec<(String, String)>> {
        NewExpense::from_request(serde_json::from_value(body).unwrap(), "amartin").map_err(
            |issues| {
                issues
                    .into_iter()
                    .map(|FieldIssue { field, issue }| (field, issue))
                    .collect()
            },
        )
    }

    fn issue(field: &str, issue: &str) -> (String, String) {
        (field.to_owned(), issue.to_owned())
    }

    #[test]
    fn a_whole_expense_is_trimmed_and_completed() {
        let expense = check_request(json!({
            "category": " OFFICE_SUPPLIES ", "amount": 12.345, "currency": " usd",
            "description": "staples ", "receiptUrl": " ", "submitterUserId": "  "
        }));
        assert_eq!(
            expense,
            Ok(NewExpense {
                submitter_user_id: "amartin".into(),
                category: "OFFICE_SUPPLIES".into(),
                amount: Decimal::new(1235, 2),
                currency: "USD".into(),
                description: "staples".into(),
                receipt_url: None,
            })
        );
    }

    #[test]
    fn somebody_else_may_have_paid() {
        let expense = check_request(json!({
            "submitterUserId": " kmalone ", "category": "x", "amount": 1, "currency": "EUR",
            "description": "y", "receiptUrl": " http://localhost/r "
        }))
        .unwrap();
        assert_eq!(expense.submitter_user_id, "kmalone");
        assert_eq!(expense.receipt_url.as_deref(), Some("http://localhost/r"));
    }

    #[test]
    fn an_id_that_no_user_can_have_is_refused() {
        let of_length = |length: usize| {
            check_request(json!({
                "submitterUserId": "ü".repeat(length), "category": "x", "amount": 1,
                "currency": "EUR", "description": "y"
            }))
        };
        assert!(of_length(MAX_USER_ID_LENGTH).is_ok());
        let refused = of_length(MAX_USER_ID_LENGTH + 1);
        assert_eq!(refused, Err(vec![issue("submitterUserId", "max:255")]));
    }

    #[test]
    fn texts_have_a_longest_length_and_links_lead_to_pages() {
        let with = |field: &str, text: &str| {
            let mut body = json!({
                "category": "x", "amount": 1, "currency": "EUR", "description": "y"
            });
            body[field] = json!(text);
            check_request(body)
        };
        for (field, most) in [
            ("submitterUserId", 255),
            ("category", 100),
            ("currency", 10),
            ("description", 2000),
        ] {
            assert!(with(field, &"x".repeat(most)).is_ok(), "{field}");
            let told = format!("max:{most}");
            assert_eq!(
                with(field, &"x".repeat(most + 1)),
                Err(vec![issue(field, &told)])
            );
        }
        let link = issue("receiptUrl", "must be an http or https URL");
        for odd in [
            "javascript:alert(1)",
            "JavaScript:x",
            "data:text/html,x",
            "//evil",
            "x",
        ] {
            assert_eq!(with("receiptUrl", odd), Err(vec![link.clone()]), "{odd}");
        }
        assert!(with("receiptUrl", "HTTPS://example.com/r?a=b").is_ok());
    }

    #[test]
    fn every_broken_field_is_told() {
        assert_eq!(
            check_request(json!(null)),
            Err(vec![issue("body", "required")])
        );
        for body in [
            json!({}),
            json!({"category": " ", "amount": 0, "currency": "\t", "description": ""}),
            json!({"category": null, "amount": null, "currency": null, "description": null}),
        ] {
            assert_eq!(
                check_request(body),
                Err(vec![
                    issue("category", "required"),
                    issue("amount", "must be greater than 0"),
                    issue("currency", "required"),
                    issue("description", "required"),
                ])
            );
        }
    }
}
