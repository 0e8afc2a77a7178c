//! Tests against a database.

use chrono::{DateTime, Utc};
use dm_contracts::api::finance::Expense;
use dm_contracts::time;
use dm_test_kit::read_list;
use dm_test_servers::{assert_error_code, set_lock_timeout};
use rust_decimal::Decimal;
use sqlx::{PgConnection, PgPool};

use super::expenses::{self, ExpenseListSource};
use crate::domain::{ExpenseStatus, NewDecision, NewExpense};

const CHECK_VIOLATION: &str = "23514";

async fn create_database() -> PgPool {
    dm_test_servers::create_database("finance", &crate::MIGRATIONS).await
}

fn new_expense() -> NewExpense {
    NewExpense {
        submitter_user_id: "omartinez".into(),
        category: "B\u{fc}robedarf".into(),
        amount: Decimal::new(1_230, 2),
        currency: "EUR".into(),
        description: "\u{201e}staples\u{201c},\n2 boxes \u{1f4ce}".into(),
        receipt_url: Some("https://example.com/r?a=b#c".into()),
    }
}

async fn insert(pool: &PgPool) -> Expense {
    let mut connection = pool.acquire().await.unwrap();
    expenses::insert(&mut connection, &new_expense())
        .await
        .unwrap()
}

fn decision(status: ExpenseStatus, comment: &str) -> NewDecision {
    NewDecision {
        status,
        comment: comment.into(),
    }
}

async fn approve(
    connection: &mut PgConnection,
    id: &str,
    by: &str,
) -> Result<Option<Expense>, sqlx::Error> {
    let approval = decision(ExpenseStatus::Approved, "");
    expenses::decide(connection, id, &approval, by).await
}

async fn execute(pool: &PgPool, statement: &'static str) -> Result<(), sqlx::Error> {
    sqlx::query(statement).execute(pool).await.map(|_| ())
}

fn at(text: &str) -> DateTime<Utc> {
    time::parse(text).unwrap()
}

/// Returns the expenses, newest first, optionally only those with a status.
async fn list(pool: &PgPool, status: Option<ExpenseStatus>) -> Vec<Expense> {
    read_list(pool, ExpenseListSource { status }).await
}

#[tokio::test]
async fn inserted_expense_is_listed_with_all_its_data() {
    let pool = create_database().await;
    let inserted = insert(&pool).await;
    assert_eq!(
        inserted,
        Expense {
            expense_id: "exp_6001".into(),
            submitter_user_id: "omartinez".into(),
            category: "B\u{fc}robedarf".into(),
            amount: Decimal::new(1_230, 2),
            currency: "EUR".into(),
            description: "\u{201e}staples\u{201c},\n2 boxes \u{1f4ce}".into(),
            receipt_url: Some("https://example.com/r?a=b#c".into()),
            status: "PENDING".into(),
            created_at: inserted.created_at,
            decided_by: None,
            decided_at: None,
            decision_comment: None,
        }
    );
    let without_receipt = NewExpense {
        receipt_url: None,
        ..new_expense()
    };
    let mut connection = pool.acquire().await.unwrap();
    let second = expenses::insert(&mut connection, &without_receipt)
        .await
        .unwrap();
    assert_eq!(second.expense_id, "exp_6002");
    assert_eq!(second.receipt_url, None);
    assert_eq!(list(&pool, None).await, [second, inserted]);
}

#[tokio::test]
async fn amount_has_two_decimal_places_and_at_most_ten_digits_before_them() {
    let pool = create_database().await;
    let mut connection = pool.acquire().await.unwrap();
    let with_amount = |amount| NewExpense {
        amount,
        ..new_expense()
    };
    for (amount, expected) in [
        (Decimal::new(1, 2), "0.01"),
        (Decimal::new(5, 0), "5.00"),
        (Decimal::new(999_999_999_999, 2), "9999999999.99"),
    ] {
        let inserted = expenses::insert(&mut connection, &with_amount(amount)).await;
        assert_eq!(inserted.unwrap().amount.to_string(), expected);
    }
    for (amount, code) in [
        (Decimal::new(0, 0), CHECK_VIOLATION),
        (Decimal::new(-1, 2), CHECK_VIOLATION),
        // It is rounded to zero.
        (Decimal::new(4, 3), CHECK_VIOLATION),
        (Decimal::new(10_000_000_000, 0), "22003"),
    ] {
        let inserted = expenses::insert(&mut connection, &with_amount(amount)).await;
        assert_error_code(inserted, code);
    }
}

#[tokio::test]
async fn missing_expense_has_no_status_and_is_not_decided() {
    let pool = create_database().await;
    insert(&pool).await;
    let mut connection = pool.acquire().await.unwrap();
    for id in ["exp_1", "EXP_6001", ""] {
        let status = expenses::find_status(&mut connection, id).await;
        assert_eq!(status.unwrap(), None, "{id}");
        let decided = approve(&mut connection, id, "amartin").await;
        assert_eq!(decided.unwrap(), None, "{id}");
    }
    let status = expenses::find_status(&mut connection, "exp_6001").await;
    assert_eq!(status.unwrap().as_deref(), Some("PENDING"));
}

#[tokio::test]
async fn decided_expense_keeps_its_first_decision() {
    let pool = create_database().await;
    let (expense, other) = (insert(&pool).await, insert(&pool).await);
    let mut connection = pool.acquire().await.unwrap();
    let rejection = decision(ExpenseStatus::Rejected, "no \u{201e}receipt\u{201c}");
    let decided = expenses::decide(&mut connection, "exp_6001", &rejection, "amartin")
        .await
        .unwrap()
        .unwrap();
    assert!(decided.decided_at.is_some());
    let expected = Expense {
        status: "REJECTED".into(),
        decided_by: Some("amartin".into()),
        decided_at: decided.decided_at,
        decision_comment: Some("no \u{201e}receipt\u{201c}".into()),
        ..expense
    };
    assert_eq!(decided, expected);

    let repeated = approve(&mut connection, "exp_6001", "kmalone").await;
    assert_eq!(repeated.unwrap(), None);
    let status = expenses::find_status(&mut connection, "exp_6001").await;
    assert_eq!(status.unwrap().as_deref(), Some("REJECTED"));
    let rejected = list(&pool, Some(ExpenseStatus::Rejected)).await;
    assert_eq!(rejected, [expected]);
    let pending = list(&pool, Some(ExpenseStatus::Pending)).await;
    assert_eq!(pending, [other]);
}

#[tokio::test]
async fn expense_is_decided_by_one_of_two_transactions() {
    let pool = create_database().await;
    insert(&pool).await;
    let mut first = pool.begin().await.unwrap();
    let approved = approve(&mut first, "exp_6001", "amartin").await;
    assert_eq!(approved.unwrap().unwrap().status, "APPROVED");

    let mut second = pool.begin().await.unwrap();
    set_lock_timeout(&mut second).await;
    let blocked = approve(&mut second, "exp_6001", "kmalone").await;
    assert_error_code(blocked, "55P03");
    drop(second);
    first.commit().await.unwrap();

    let mut connection = pool.acquire().await.unwrap();
    let late = approve(&mut connection, "exp_6001", "kmalone").await;
    assert_eq!(late.unwrap(), None);
    let expenses = list(&pool, None).await;
    assert_eq!(expenses[0].decided_by.as_deref(), Some("amartin"));
    assert_eq!(expenses[0].decision_comment.as_deref(), Some(""));
}

#[tokio::test]
async fn decision_that_is_rolled_back_leaves_the_expense_pending() {
    let pool = create_database().await;
    let expense = insert(&pool).await;
    let mut transaction = pool.begin().await.unwrap();
    let approved = approve(&mut transaction, "exp_6001", "amartin").await;
    assert!(approved.unwrap().is_some());
    transaction.rollback().await.unwrap();
    assert_eq!(list(&pool, None).await, [expense]);

    let mut connection = pool.acquire().await.unwrap();
    let approved = approve(&mut connection, "exp_6001", "kmalone").await;
    let approved = approved.unwrap().unwrap();
    assert_eq!(approved.decided_by.as_deref(), Some("kmalone"));
}

#[tokio::test]
async fn list_has_its_expenses_newest_first() {
    let pool = create_database().await;
    for _ in 0..3 {
        insert(&pool).await;
    }
    let mut connection = pool.acquire().await.unwrap();
    let approved = approve(&mut connection, "exp_6001", "amartin").await;
    assert!(approved.unwrap().is_some());
    for statement in [
        "UPDATE expenses SET created_at = '2026-02-03T08:00:00Z' WHERE expense_id <> 'exp_6001'",
        "UPDATE expenses SET created_at = '2026-02-03T08:00:00.000001Z'
          WHERE expense_id = 'exp_6001'",
    ] {
        execute(&pool, statement).await.unwrap();
    }

    for (status, expected) in [
        (None, &["exp_6001", "exp_6003", "exp_6002"][..]),
        (Some(ExpenseStatus::Approved), &["exp_6001"]),
        (Some(ExpenseStatus::Pending), &["exp_6003", "exp_6002"]),
        (Some(ExpenseStatus::Rejected), &[]),
    ] {
        let items = list(&pool, status).await;
        let ids: Vec<_> = items.iter().map(|item| item.expense_id.as_str()).collect();
        assert_eq!(ids, expected, "{status:?}");
    }
    let newest = list(&pool, None).await.swap_remove(0);
    assert_eq!(newest.created_at, at("2026-02-03T08:00:00.000001Z"));
}

#[tokio::test]
async fn table_refuses_an_unknown_status_and_half_a_decision() {
    let pool = create_database().await;
    insert(&pool).await;
    let mut connection = pool.acquire().await.unwrap();
    let undecided = decision(ExpenseStatus::Pending, "");
    let outcome = expenses::decide(&mut connection, "exp_6001", &undecided, "amartin").await;
    assert_error_code(outcome, CHECK_VIOLATION);
    let approved = approve(&mut connection, "exp_6001", "amartin").await;
    assert!(approved.unwrap().is_some());
    for statement in [
        "UPDATE expenses SET status = 'PAID'",
        "UPDATE expenses SET status = 'PENDING'",
        "UPDATE expenses SET decided_by = NULL",
        "UPDATE expenses SET decided_at = NULL",
        "UPDATE expenses SET decision_comment = NULL",
    ] {
        assert_error_code(execute(&pool, statement).await, CHECK_VIOLATION);
    }
}
