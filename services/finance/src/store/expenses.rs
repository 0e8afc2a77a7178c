//! The table `expenses`.

use chrono::{DateTime, Utc};
use dm_contracts::api::finance::Expense;
use dm_kit::http::{ListFilter, ListOrder, TableList, TimeKey};
use rust_decimal::Decimal;
use sqlx::{FromRow, PgConnection};

use crate::domain::{ExpenseStatus, NewDecision, NewExpense};

/// A row of the table.
#[derive(Debug, FromRow)]
pub(crate) struct ExpenseRow {
    expense_id: String,
    submitter_user_id: String,
    category: String,
    amount: Decimal,
    currency: String,
    description: String,
    receipt_url: Option<String>,
    status: String,
    created_at: DateTime<Utc>,
    decided_by: Option<String>,
    decided_at: Option<DateTime<Utc>>,
    decision_comment: Option<String>,
}

impl From<ExpenseRow> for Expense {
    fn from(row: ExpenseRow) -> Self {
        Self {
            expense_id: row.expense_id,
            submitter_user_id: row.submitter_user_id,
            category: row.category,
            amount: row.amount,
            currency: row.currency,
            description: row.description,
            receipt_url: row.receipt_url,
            status: row.status,
            created_at: row.created_at,
            decided_by: row.decided_by,
            decided_at: row.decided_at,
            decision_comment: row.decision_comment,
        }
    }
}

/// Inserts an expense with the status `PENDING`. The timestamp is from the clock of the
/// database, with which reconcile compares it to the event.
pub(crate) async fn insert(
    transaction: &mut PgConnection,
    expense: &NewExpense,
) -> Result<Expense, sqlx::Error> {
    let row: ExpenseRow = sqlx::query_as(
        "INSERT INTO expenses (submitter_user_id, category, amount, currency, description,
                               receipt_url, status, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp())
         RETURNING *",
    )
    .bind(&expense.submitter_user_id)
    .bind(&expense.category)
    .bind(expense.amount)
    .bind(&expense.currency)
    .bind(&expense.description)
    .bind(expense.receipt_url.as_deref())
    .bind(ExpenseStatus::Pending.as_str())
    .fetch_one(transaction)
    .await?;
    Ok(row.into())
}

/// The list of expenses, newest first, optionally with one status.
pub(crate) struct ExpenseListSource {
    pub(crate) status: Option<ExpenseStatus>,
}

impl TableList for ExpenseListSource {
    type Row = ExpenseRow;
    type Item = Expense;
    type Key = TimeKey;

    const TABLE: &'static str = "expenses";
    const COLUMNS: &'static str = "*";
    const ID: &'static str = "expense_id";
    const ORDER: ListOrder = ListOrder::NewestFirst;

    fn filter(&self) -> ListFilter {
        ListFilter::all().equal("status", self.status.map(ExpenseStatus::as_str))
    }

    fn item(row: ExpenseRow) -> Result<Expense, sqlx::Error> {
        Ok(row.into())
    }

    fn key(expense: &Expense) -> TimeKey {
        TimeKey {
            created_at: expense.created_at,
            id: expense.expense_id.clone(),
        }
    }
}

/// Records the decision on a pending expense, with the clock of the database. Returns the
/// resulting expense, or `None` if it is already decided or does not exist.
pub(crate) async fn decide(
    transaction: &mut PgConnection,
    id: &str,
    decision: &NewDecision,
    decided_by: &str,
) -> Result<Option<Expense>, sqlx::Error> {
    let row: Option<ExpenseRow> = sqlx::query_as(
        "UPDATE expenses
            SET status = $2, decision_comment = $3, decided_by = $4,
                decided_at = clock_timestamp()
          WHERE expense_id = $1 AND status = $5
         RETURNING *",
    )
    .bind(id)
    .bind(decision.status.as_str())
    .bind(&decision.comment)
    .bind(decided_by)
    .bind(ExpenseStatus::Pending.as_str())
    .fetch_optional(transaction)
    .await?;
    Ok(row.map(Expense::from))
}

/// Returns the name of the status of an expense.
pub(crate) async fn find_status(
    transaction: &mut PgConnection,
    id: &str,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT status FROM expenses WHERE expense_id = $1")
        .bind(id)
        .fetch_optional(transaction)
        .await
}
