//! The route for decisions on expenses.

use axum::Json;
use axum::extract::State;
use dm_contracts::api::error::ErrorBody;
use dm_contracts::api::finance::{DecideExpense, Expense};
use dm_contracts::events::ExpenseDecided;
use dm_contracts::time;
use dm_kit::Database;
use dm_kit::http::{ApiError, Caller, CurrentTrace, JsonBody, PathId};
use dm_kit::outbox;

use crate::domain::NewDecision;
use crate::store::expenses;

/// Approves or rejects an expense, at most once
#[utoipa::path(
    post,
    path = "/internal/expenses/{expenseId}/decision",
    operation_id = "decideExpense",
    params(
        Caller,
        ("expenseId" = String, Path, description = "Id of the expense"),
    ),
    request_body = DecideExpense,
    responses(
        (status = 200, description = "The expense", body = Expense),
        (status = 400, description = "A field is invalid", body = ErrorBody),
        (status = 401, description = "The request names no user", body = ErrorBody),
        (status = 404, description = "The expense does not exist", body = ErrorBody),
        (status = 409, description = "The expense is already decided", body = ErrorBody),
    )
)]
pub(super) async fn decide(
    State(database): State<Database>,
    Caller(caller): Caller,
    CurrentTrace(trace): CurrentTrace,
    PathId(id): PathId,
    JsonBody(request): JsonBody<DecideExpense>,
) -> Result<Json<Expense>, ApiError> {
    let decision = NewDecision::from_request(request)
        .map_err(|issues| ApiError::validation("Expense decision validation failed", issues))?;
    let mut transaction = database.begin().await?;
    let decided = expenses::decide(&mut transaction, &id, &decision, &caller).await?;
    let Some(expense) = decided else {
        let status = expenses::find_status(&mut transaction, &id).await?;
        return Err(match status {
            Some(status) => {
                ApiError::conflict("INVALID_STATE", format!("Expense {id} is already {status}"))
            }
            None => ApiError::not_found("EXPENSE_NOT_FOUND", format!("Expense {id} was not found")),
        });
    };
    let event = ExpenseDecided {
        expense_id: id,
        submitter_user_id: expense.submitter_user_id.clone(),
        decision: expense.status.clone(),
        decided_by: caller,
        comment: decision.comment,
        // The table sets it together with the decision.
        decided_at: expense.decided_at.unwrap_or_else(time::now),
    };
    outbox::append(&mut transaction, &event, &trace).await?;
    transaction.commit().await?;
    Ok(Json(expense))
}
