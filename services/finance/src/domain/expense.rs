//! Expenses as they come in.

use dm_contracts::api::error::FieldIssue;
use dm_contracts::api::finance::CreateExpense;
use dm_contracts::rules::{
    LONGEST_CATEGORY, LONGEST_CURRENCY, LONGEST_REMARK, LONGEST_USER_ID, amount,
};
use dm_kit::http::{Issues, trimmed};
use rust_decimal::Decimal;
use url::Url;

use super::{no_body, too_long};

/// Whether a text is an address that a browser may be led to: another scheme could run
/// something there.
fn is_link(text: &str) -> bool {
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
    pub(crate) fn of(
        request: Option<CreateExpense>,
        caller: &str,
    ) -> Result<Self, Vec<FieldIssue>> {
        let request = request.ok_or_else(no_body)?;
        let mut issues = Issues::default();
        let category = issues.text("category", request.category.as_deref(), "required");
        let amount = amount(request.amount.as_ref()).unwrap_or_else(|issue| {
            issues.add("amount", issue);
            Decimal::ZERO
        });
        let currency = issues.text("currency", request.currency.as_deref(), "required");
        let description = issues.text("description", request.description.as_deref(), "required");
        let filled = |value: Option<&str>| Some(trimmed(value)).filter(|text| !text.is_empty());
        let submitter_user_id = filled(request.submitter_user_id.as_deref());
        let receipt_url = filled(request.receipt_url.as_deref());
        for (field, text, most) in [
            // The users of the events, and of the notifications that follow.
            (
                "submitterUserId",
                submitter_user_id.as_deref(),
                LONGEST_USER_ID,
            ),
            ("category", Some(&*category), LONGEST_CATEGORY),
            ("currency", Some(&*currency), LONGEST_CURRENCY),
            ("description", Some(&*description), LONGEST_REMARK),
            ("receiptUrl", receipt_url.as_deref(), LONGEST_REMARK),
        ] {
            let text = text.unwrap_or_default();
            issues.longest(field, text, most, too_long(most));
        }
        if receipt_url.as_deref().is_some_and(|url| !is_link(url)) {
            issues.add("receiptUrl", "must be an http or https URL");
        }
        issues.check(Self {
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

    fn of(body: serde_json::Value) -> Result<NewExpense, Vec<(String, String)>> {
        NewExpense::of(serde_json::from_value(body).unwrap(), "amartin").map_err(|issues| {
            issues
                .into_iter()
                .map(|FieldIssue { field, issue }| (field, issue))
                .collect()
        })
    }

    fn issue(field: &str, issue: &str) -> (String, String) {
        (field.to_owned(), issue.to_owned())
    }

    #[test]
    fn a_whole_expense_is_trimmed_and_completed() {
        let expense = of(json!({
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
        let expense = of(json!({
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
            of(json!({
                "submitterUserId": "ü".repeat(length), "category": "x", "amount": 1,
                "currency": "EUR", "description": "y"
            }))
        };
        assert!(of_length(LONGEST_USER_ID).is_ok());
        let refused = of_length(LONGEST_USER_ID + 1);
        assert_eq!(refused, Err(vec![issue("submitterUserId", "max:255")]));
    }

    #[test]
    fn texts_have_a_longest_length_and_links_lead_to_pages() {
        let with = |field: &str, text: &str| {
            let mut body = json!({
                "category": "x", "amount": 1, "currency": "EUR", "description": "y"
            });
            body[field] = json!(text);
            of(body)
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
        assert_eq!(of(json!(null)), Err(vec![issue("body", "required")]));
        for body in [
            json!({}),
            json!({"category": " ", "amount": 0, "currency": "\t", "description": ""}),
            json!({"category": null, "amount": null, "currency": null, "description": null}),
        ] {
            assert_eq!(
                of(body),
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
