//! Validation of expenses.

use dm_contracts::api::error::FieldIssue;
use dm_contracts::api::finance::CreateExpense;
use dm_contracts::validation::{
    MAX_CATEGORY_LENGTH, MAX_CURRENCY_LENGTH, MAX_REMARK_LENGTH, MAX_USER_ID_LENGTH, parse_amount,
};
use dm_kit::http::{FieldIssues, trimmed};
use rust_decimal::Decimal;

use super::{max_length_issue, missing_body};

/// Returns whether a text is an HTTP URL, which is safe as a link: a URL with another scheme
/// could run a script. The rule is a pattern of the OpenAPI document: a scheme, the beginning of a
/// host, and neither white space nor control characters.
fn is_http_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else {
        return false;
    };
    let is_forbidden = |character: char| character.is_whitespace() || character.is_control();
    ["http", "https"]
        .iter()
        .any(|name| scheme.eq_ignore_ascii_case(name))
        && !rest.is_empty()
        && !rest.starts_with(['/', '?', '#', '\\'])
        && !rest.contains(is_forbidden)
}

/// The validated data of a new expense.
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
    /// Validates a request. The submitter defaults to the caller.
    ///
    /// # Errors
    /// Returns an issue for each invalid field.
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
        let non_blank = |value: Option<&str>| Some(trimmed(value)).filter(|text| !text.is_empty());
        let submitter_user_id = non_blank(request.submitter_user_id.as_deref());
        let receipt_url = non_blank(request.receipt_url.as_deref());
        for (field, text, max) in [
            // The recipient of the notification about the decision.
            (
                "submitterUserId",
                &request.submitter_user_id,
                MAX_USER_ID_LENGTH,
            ),
            ("category", &request.category, MAX_CATEGORY_LENGTH),
            ("currency", &request.currency, MAX_CURRENCY_LENGTH),
            ("description", &request.description, MAX_REMARK_LENGTH),
            ("receiptUrl", &request.receipt_url, MAX_REMARK_LENGTH),
        ] {
            let text = text.as_deref().unwrap_or_default();
            issues.check_length(field, text, max, max_length_issue(max));
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
    fn valid_expense_is_trimmed_and_has_defaults() {
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
    fn submitter_can_differ_from_the_caller() {
        let expense = check_request(json!({
            "submitterUserId": " kmalone ", "category": "x", "amount": 1, "currency": "EUR",
            "description": "y", "receiptUrl": " http://localhost/r "
        }))
        .unwrap();
        assert_eq!(expense.submitter_user_id, "kmalone");
        assert_eq!(expense.receipt_url.as_deref(), Some("http://localhost/r"));
    }

    #[test]
    fn submitter_above_the_maximum_length_is_an_issue() {
        let with_length = |length: usize| {
            check_request(json!({
                "submitterUserId": "ü".repeat(length), "category": "x", "amount": 1,
                "currency": "EUR", "description": "y"
            }))
        };
        assert!(with_length(MAX_USER_ID_LENGTH).is_ok());
        let rejected = with_length(MAX_USER_ID_LENGTH + 1);
        assert_eq!(rejected, Err(vec![issue("submitterUserId", "max:255")]));
    }

    #[test]
    fn text_length_and_receipt_url_scheme_are_checked() {
        let with = |field: &str, text: &str| {
            let mut body = json!({
                "category": "x", "amount": 1, "currency": "EUR", "description": "y"
            });
            body[field] = json!(text);
            check_request(body)
        };
        for (field, max) in [
            ("submitterUserId", 255),
            ("category", 100),
            ("currency", 10),
            ("description", 2000),
        ] {
            assert!(with(field, &"x".repeat(max)).is_ok(), "{field}");
            let text = format!("max:{max}");
            assert_eq!(
                with(field, &"x".repeat(max + 1)),
                Err(vec![issue(field, &text)])
            );
        }
        let url_issue = issue("receiptUrl", "must be an http or https URL");
        for url in [
            "javascript:alert(1)",
            "JavaScript:x",
            "data:text/html,x",
            "//evil",
            "x",
            "http:example.com",
            "http://",
            "http:///x",
            "https://?x",
            "http://a b",
            "http://a\tb",
            "http://a/\u{85}b",
            "ftp://a",
        ] {
            assert_eq!(
                with("receiptUrl", url),
                Err(vec![url_issue.clone()]),
                "{url}"
            );
        }
        for url in [
            "HTTPS://example.com/r?a=b",
            "http://ü:99999",
            " http://[::1]/x\n",
        ] {
            assert!(with("receiptUrl", url).is_ok(), "{url}");
        }
        let padded = format!("{} ", "x".repeat(100));
        assert_eq!(
            with("category", &padded),
            Err(vec![issue("category", "max:100")])
        );
    }

    #[test]
    fn each_invalid_field_is_an_issue() {
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
