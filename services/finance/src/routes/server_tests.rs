//! Tests of requests against a database.

use dm_contracts::DomainEvent as _;
use dm_contracts::events::{ExpenseDecided, ExpenseSubmitted};
use dm_contracts::time;
use dm_test_kit::{TestService, USER, event_types, field_texts};
use rust_decimal::Decimal;
use serde_json::{Value, json};

/// The expenses that [`start_with_expenses`] inserts, in their order: id, hour and status.
/// Expenses of one hour have the same time.
const EXPENSES: [(&str, u32, &str); 6] = [
    ("exp_6003", 10, "PENDING"),
    ("exp_6005", 9, "APPROVED"),
    ("exp_6004", 9, "PENDING"),
    ("exp_6001", 9, "APPROVED"),
    ("exp_6006", 8, "REJECTED"),
    ("exp_6002", 7, "PENDING"),
];

async fn start() -> TestService {
    let routes = |database| super::router().with_state(database);
    TestService::start(&crate::SCHEMA, routes).await
}

async fn start_with_expenses() -> TestService {
    let service = start().await;
    for (id, hour, status) in EXPENSES.into_iter().rev() {
        sqlx::query(
            "INSERT INTO expenses (expense_id, submitter_user_id, category, amount, currency,
                                   description, status, created_at, decided_by, decided_at,
                                   decision_comment)
             VALUES ($1, 'omartinez', 'TRAVEL', 12.5, 'USD', 'bus', $2, $3,
                     CASE WHEN $2 <> 'PENDING' THEN 'amartin' END,
                     CASE WHEN $2 <> 'PENDING' THEN $3 END,
                     CASE WHEN $2 <> 'PENDING' THEN '' END)",
        )
        .bind(id)
        .bind(status)
        .bind(time::parse(&format!("2026-02-03T{hour:02}:00:00Z")).unwrap())
        .execute(&service.pool)
        .await
        .unwrap();
    }
    service
}

async fn decide(service: &TestService, id: &str, decision: &str) -> Result<Value, &'static str> {
    let path = format!("/internal/expenses/{id}/decision");
    let body = json!({"decision": decision, "comment": "see \u{a7} 3"});
    service.post(&path, &body).await
}

#[tokio::test]
async fn pages_of_any_size_have_each_expense_once() {
    let service = start_with_expenses().await;
    let (path, id) = ("/internal/expenses", "expenseId");
    let mut ids = EXPENSES.map(|(id, ..)| id);
    service.assert_pages(path, id, &ids).await;
    service.assert_numbered_pages(path, id, &ids).await;
    let newest_first = format!("{path}?order=newest");
    service.assert_pages(&newest_first, id, &ids).await;
    ids.reverse();
    let oldest_first = format!("{path}?order=oldest");
    service.assert_pages(&oldest_first, id, &ids).await;
}

#[tokio::test]
async fn status_in_any_case_selects_expenses_on_all_pages() {
    let service = start_with_expenses().await;
    for (status, expected) in [
        ("PENDING", &["exp_6003", "exp_6004", "exp_6002"][..]),
        ("pending", &["exp_6003", "exp_6004", "exp_6002"]),
        ("Approved", &["exp_6005", "exp_6001"]),
        ("REJECTED", &["exp_6006"]),
    ] {
        for paging in ["", "&limit=1", "&limit=2"] {
            let path = format!("/internal/expenses?status={status}{paging}");
            let pages = service.read_pages(&path, "expenseId").await;
            assert_eq!(pages.concat(), expected, "{path}");
        }
        let path = format!("/internal/expenses?status={status}&page=0&size=2");
        let page = service.get(&path).await.unwrap();
        let first: Vec<_> = expected.iter().copied().take(2).collect();
        assert_eq!(field_texts(&page, "expenseId"), first, "{status}");
        assert_eq!(page["total"], expected.len(), "{status}");
    }
    for query in ["status=PAID", "limit=0", "limit=1001", "size=501"] {
        let response = service.get(&format!("/internal/expenses?{query}")).await;
        assert_eq!(response, Err("VALIDATION_ERROR"), "{query}");
    }
}

#[tokio::test]
async fn submitted_expense_is_published_with_its_data() {
    let service = start().await;
    let mut request = json!({
        "category": "TRAVEL", "amount": 12.5, "currency": "USD", "description": "bus",
    });
    let expense = service.post("/internal/expenses", &request).await.unwrap();
    request["amount"] = (-1).into();
    let invalid = service.post("/internal/expenses", &request).await;
    assert_eq!(invalid, Err("VALIDATION_ERROR"));

    let outbox = service.outbox().await;
    assert_eq!(event_types(&outbox), [ExpenseSubmitted::TYPE]);
    assert_eq!(outbox[0].subject, "expense/exp_6001");
    let event: ExpenseSubmitted = outbox[0].parse_data().unwrap();
    assert_eq!(event.expense_id, expense["expenseId"].as_str().unwrap());
    assert_eq!(event.submitter_user_id, USER);
    assert_eq!(event.amount, Decimal::new(1_250, 2));
    assert_eq!(event.currency, "USD");
    let created_at = expense["createdAt"].as_str().and_then(time::parse);
    assert_eq!(Some(event.submitted_at), created_at);
    let list = service.get("/internal/expenses").await.unwrap();
    assert_eq!(list["items"], json!([expense]));
}

#[tokio::test]
async fn expense_is_decided_and_published_once() {
    let service = start_with_expenses().await;
    let decided = decide(&service, "exp_6004", "REJECTED").await.unwrap();
    assert_eq!(decided["status"], "REJECTED");
    for (id, code) in [
        ("exp_6004", "INVALID_STATE"),
        ("exp_6005", "INVALID_STATE"),
        ("exp_1", "EXPENSE_NOT_FOUND"),
    ] {
        let repeated = decide(&service, id, "APPROVED").await;
        assert_eq!(repeated, Err(code), "{id}");
    }

    let outbox = service.outbox().await;
    assert_eq!(event_types(&outbox), [ExpenseDecided::TYPE]);
    assert_eq!(outbox[0].subject, "expense/exp_6004");
    let event: ExpenseDecided = outbox[0].parse_data().unwrap();
    assert_eq!(event.expense_id, "exp_6004");
    assert_eq!(event.submitter_user_id, "omartinez");
    assert_eq!(event.decision, "REJECTED");
    assert_eq!(event.decided_by, USER);
    assert_eq!(event.comment, "see \u{a7} 3");
    let decided_at = decided["decidedAt"].as_str().and_then(time::parse);
    assert_eq!(Some(event.decided_at), decided_at);
}

#[tokio::test]
async fn one_of_concurrent_decisions_is_stored_and_published() {
    let service = start_with_expenses().await;
    let outcomes = tokio::join!(
        decide(&service, "exp_6003", "APPROVED"),
        decide(&service, "exp_6003", "REJECTED"),
        decide(&service, "exp_6003", "APPROVED"),
    );
    let outcomes = [outcomes.0, outcomes.1, outcomes.2];
    let refused = outcomes.iter().filter(|outcome| outcome.is_err());
    for outcome in refused.clone() {
        assert_eq!(*outcome, Err("INVALID_STATE"));
    }
    assert_eq!(refused.count(), 2, "{outcomes:?}");
    let decided = outcomes.iter().find_map(|outcome| outcome.as_ref().ok());
    let outbox = service.outbox().await;
    assert_eq!(event_types(&outbox), [ExpenseDecided::TYPE]);
    assert_eq!(outbox[0].data["decision"], decided.unwrap()["status"]);
}
