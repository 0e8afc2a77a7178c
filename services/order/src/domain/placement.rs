//! Validation of new orders.

use chrono::NaiveDate;
use dm_contracts::api::error::FieldIssue;
use dm_contracts::api::order::{OrderItem, PlaceOrder, PlaceOrderItem};
use dm_contracts::time;
use dm_contracts::validation::{
    MAX_CLIENT_ID_LENGTH, MAX_NOTES_LENGTH, MAX_ORDER_ITEMS, MAX_SKU_LENGTH,
};

/// The validated data of a new order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewOrder {
    pub(crate) client_id: String,
    pub(crate) requested_ship_date: NaiveDate,
    pub(crate) items: Vec<OrderItem>,
    pub(crate) notes: String,
}

/// Validates a request.
///
/// # Errors
/// Returns an issue for each invalid field.
pub(crate) fn validate(request: Option<PlaceOrder>) -> Result<NewOrder, Vec<FieldIssue>> {
    let Some(request) = request else {
        return Err(vec![FieldIssue::new("body", "required")]);
    };
    let mut issues = Vec::new();
    let client_id = client_id(request.client_id.as_deref(), &mut issues);
    let date = ship_date(request.requested_ship_date.as_deref(), &mut issues);
    let items = items(request.items.unwrap_or_default(), &mut issues);
    let notes = request.notes.unwrap_or_default();
    if notes.chars().count() > MAX_NOTES_LENGTH {
        let issue = format!("max:{MAX_NOTES_LENGTH}");
        issues.push(FieldIssue::new("notes", issue));
    }
    match date {
        Some(requested_ship_date) if issues.is_empty() => Ok(NewOrder {
            client_id,
            requested_ship_date,
            items,
            notes,
        }),
        _ => Err(issues),
    }
}

fn client_id(text: Option<&str>, issues: &mut Vec<FieldIssue>) -> String {
    let text = text.unwrap_or_default();
    let id = text.trim();
    if id.is_empty() {
        issues.push(FieldIssue::new("clientId", "required"));
    } else if text.chars().count() > MAX_CLIENT_ID_LENGTH {
        let issue = format!("max:{MAX_CLIENT_ID_LENGTH}");
        issues.push(FieldIssue::new("clientId", issue));
    }
    id.to_owned()
}

fn ship_date(text: Option<&str>, issues: &mut Vec<FieldIssue>) -> Option<NaiveDate> {
    let text = text.unwrap_or_default();
    let issue = if text.trim().is_empty() {
        "required"
    } else {
        "format:YYYY-MM-DD"
    };
    let date = time::parse_date(text);
    if date.is_none() {
        issues.push(FieldIssue::new("requestedShipDate", issue));
    }
    date
}

fn items(lines: Vec<Option<PlaceOrderItem>>, issues: &mut Vec<FieldIssue>) -> Vec<OrderItem> {
    if lines.is_empty() {
        issues.push(FieldIssue::new("items", "min:1"));
    } else if lines.len() > MAX_ORDER_ITEMS {
        let issue = format!("max:{MAX_ORDER_ITEMS}");
        issues.push(FieldIssue::new("items", issue));
        return Vec::new();
    }
    lines
        .into_iter()
        .map(Option::unwrap_or_default)
        .enumerate()
        .map(|(index, line)| {
            let text = line.sku.unwrap_or_default();
            let sku = text.trim().to_owned();
            if sku.is_empty() {
                issues.push(FieldIssue::new(format!("items[{index}].sku"), "required"));
            } else if text.chars().count() > MAX_SKU_LENGTH {
                let issue = format!("max:{MAX_SKU_LENGTH}");
                issues.push(FieldIssue::new(format!("items[{index}].sku"), issue));
            }
            let quantity = i64::from(line.quantity.unwrap_or_default());
            if quantity < 1 {
                issues.push(FieldIssue::new(format!("items[{index}].quantity"), "min:1"));
            }
            OrderItem { sku, quantity }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn valid_request() -> Value {
        json!({
            "clientId": " client_501 ",
            "requestedShipDate": "2026-02-10",
            "items": [{"sku": " PPR-A4-WHT-500 ", "quantity": 10}],
            "notes": "  by the back door "
        })
    }

    fn check_json(body: Value) -> Result<NewOrder, Vec<(String, String)>> {
        validate(serde_json::from_value(body).unwrap()).map_err(|issues| {
            issues
                .into_iter()
                .map(|issue| (issue.field, issue.issue))
                .collect()
        })
    }

    fn issues(body: Value) -> Vec<(String, String)> {
        check_json(body).unwrap_err()
    }

    fn with(field: &str, value: Value) -> Value {
        let mut body = valid_request();
        body[field] = value;
        body
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|&(field, issue)| (field.to_owned(), issue.to_owned()))
            .collect()
    }

    #[test]
    fn valid_order_is_trimmed_except_for_its_notes() {
        let order = check_json(valid_request()).unwrap();
        assert_eq!(order.client_id, "client_501");
        assert_eq!(order.items[0].sku, "PPR-A4-WHT-500");
        assert_eq!(order.notes, "  by the back door ");
        assert_eq!(check_json(with("notes", Value::Null)).unwrap().notes, "");
    }

    #[test]
    fn text_or_list_above_the_maximum_length_is_an_issue() {
        let line = |sku: usize| json!({"sku": "x".repeat(sku), "quantity": 1});
        for (field, valid, too_long, issue) in [
            (
                "notes",
                json!("x".repeat(4000)),
                json!("x".repeat(4001)),
                ("notes", "max:4000"),
            ),
            (
                "items",
                json!([line(100)]),
                json!([line(101)]),
                ("items[0].sku", "max:100"),
            ),
            (
                "items",
                json!(vec![line(1); 1000]),
                json!(vec![line(1); 1001]),
                ("items", "max:1000"),
            ),
        ] {
            assert!(check_json(with(field, valid)).is_ok(), "{issue:?}");
            assert_eq!(issues(with(field, too_long)), pairs(&[issue]));
        }
    }

    #[test]
    fn missing_body_is_one_issue() {
        let issues = validate(None).unwrap_err();
        assert_eq!(issues, [FieldIssue::new("body", "required")]);
    }

    #[test]
    fn each_missing_field_is_an_issue() {
        let expected = pairs(&[
            ("clientId", "required"),
            ("requestedShipDate", "required"),
            ("items", "min:1"),
        ]);
        assert_eq!(issues(json!({})), expected);
        assert_eq!(
            issues(json!({"clientId": " ", "requestedShipDate": "\t", "items": []})),
            expected
        );
    }

    #[test]
    fn issues_of_items_have_the_index() {
        let lines = json!([
            {"sku": "A", "quantity": 1},
            {"sku": " ", "quantity": 0},
            null,
            {"sku": "B", "quantity": -3},
        ]);
        assert_eq!(
            issues(with("items", lines)),
            pairs(&[
                ("items[1].sku", "required"),
                ("items[1].quantity", "min:1"),
                ("items[2].sku", "required"),
                ("items[2].quantity", "min:1"),
                ("items[3].quantity", "min:1"),
            ])
        );
    }

    #[test]
    fn ship_date_must_be_a_valid_calendar_date() {
        for invalid in [
            "2026-02-31",
            "2026-13-01",
            "2026-2-3",
            "26-02-03",
            "+2026-02-3",
            "2026/02/03",
            "2026-02-03T00:00:00Z",
            " 2026-02-03",
            "2026-02-03\n",
            "tomorrow",
            "0000-01-01",
            "２０２６-02-03",
        ] {
            assert_eq!(
                issues(with("requestedShipDate", json!(invalid))),
                pairs(&[("requestedShipDate", "format:YYYY-MM-DD")]),
                "{invalid}"
            );
        }
        for valid in ["1999-12-31", "2024-02-29", "9999-12-31"] {
            assert!(check_json(with("requestedShipDate", json!(valid))).is_ok());
        }
    }

    #[test]
    fn client_id_above_200_characters_is_an_issue() {
        assert!(check_json(with("clientId", json!("ü".repeat(200)))).is_ok());
        assert_eq!(
            issues(with("clientId", json!("x".repeat(201)))),
            pairs(&[("clientId", "max:200")])
        );
        // The length is that of the text as it was sent.
        let padded = format!("{} ", "x".repeat(200));
        assert_eq!(
            issues(with("clientId", json!(padded))),
            pairs(&[("clientId", "max:200")])
        );
    }

    proptest! {
        #[test]
        fn accepted_order_satisfies_all_rules(
            client in proptest::option::of(".{0,12}"),
            date in proptest::option::of("[0-9]{4}-[0-9]{2}-[0-9]{2}|.{0,10}"),
            lines in proptest::collection::vec(
                proptest::option::of((proptest::option::of("[ A-Z]{0,4}"), proptest::option::of(-2..3_i32))), 0..4),
        ) {
            let request = PlaceOrder {
                client_id: client,
                requested_ship_date: date.clone(),
                items: Some(lines.into_iter().map(|line| line.map(|(sku, quantity)| PlaceOrderItem { sku, quantity })).collect()),
                notes: None,
            };
            match validate(Some(request)) {
                Ok(order) => {
                    prop_assert!(!order.client_id.trim().is_empty());
                    prop_assert!(!order.items.is_empty());
                    prop_assert!(order.items.iter().all(|item| !item.sku.is_empty() && item.quantity > 0));
                    prop_assert_eq!(Some(order.requested_ship_date.to_string()), date);
                }
                Err(issues) => prop_assert!(!issues.is_empty()),
            }
        }
    }
}
