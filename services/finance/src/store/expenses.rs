//! The table `expenses`.

use chrono::{DateTime, Utc};
use dm_contracts::api::finance::Expense;
use dm_kit::http::{ListChunk, ListSource, Paging};
use rust_decimal::Decimal;
use sqlx::postgres::PgPool;
use sqlx::{FromRow, PgConnection};

use crate::domain::{ExpenseStatus, NewDecision, NewExpense};

#[derive(Debug, FromRow)]
struct ExpenseRow {
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

/// The list of expenses, newest first, optionally of one status.
pub(crate) struct ExpenseListSource {
    pub(crate) pool: PgPool,
    pub(crate) status: Option<ExpenseStatus>,
}

impl ListSource for ExpenseListSource {
    type Item = Expense;
    type Key = (DateTime<Utc>, String);

    async fn fetch_after(
        &self,
        key: Option<&Self::Key>,
        limit: i64,
    ) -> Result<ListChunk<Expense>, sqlx::Error> {
        // Separate statements, so that each uses its own index.
        let statement = match self.status {
            None => {
                "SELECT * FROM expenses
                  WHERE $1::text IS NULL
                    AND (created_at, expense_id) < (coalesce($2, 'infinity'), $3)
                  ORDER BY created_at DESC, expense_id DESC LIMIT $4"
            }
            Some(_) => {
                "SELECT * FROM expenses
                  WHERE status = $1
                    AND (created_at, expense_id) < (coalesce($2, 'infinity'), $3)
                  ORDER BY created_at DESC, expense_id DESC LIMIT $4"
            }
        };
        let query = sqlx::query(statement)
            .bind(self.status.map(ExpenseStatus::as_str))
            .bind(key.map(|(created_at, _)| *created_at))
            .bind(key.map_or("", |(_, id)| id))
            .bind(limit);
        let chunk = ListChunk::<ExpenseRow>::read(&self.pool, query, limit).await?;
        Ok(chunk.map(Expense::from))
    }

    fn key(expense: &Expense) -> Self::Key {
        (expense.created_at, expense.expense_id.clone())
    }
}

/// Returns a page of the expenses, newest first, optionally of one status.
pub(crate) async fn fetch_page(
    pool: &PgPool,
    status: Option<ExpenseStatus>,
    paging: Paging,
) -> Result<Vec<Expense>, sqlx::Error> {
    // Separate statements, so that each uses its own index.
    let statement = match status {
        None => {
            "SELECT * FROM expenses
              WHERE $1::text IS NULL
              ORDER BY created_at DESC, expense_id DESC LIMIT $2 OFFSET $3"
        }
        Some(_) => {
            "SELECT * FROM expenses
              WHERE status = $1
              ORDER BY created_at DESC, expense_id DESC LIMIT $2 OFFSET $3"
        }
    };
    let rows: Vec<ExpenseRow> = sqlx::query_as(statement)
        .bind(status.map(ExpenseStatus::as_str))
        .bind(paging.limit())
        .bind(paging.offset())
        .fetch_all(pool)
        .await?;
    Ok(rows.into_iter().map(Expense::from).collect())
}

/// Returns the number of expenses, optionally of one status.
pub(crate) async fn count(
    pool: &PgPool,
    status: Option<ExpenseStatus>,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT count(*) FROM expenses WHERE $1::text IS NULL OR status = $1")
        .bind(status.map(ExpenseStatus::as_str))
        .fetch_one(pool)
        .await
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
