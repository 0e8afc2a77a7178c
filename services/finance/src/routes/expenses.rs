//! The routes of expenses.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use dm_contracts::api::error::ErrorBody;
use dm_contracts::api::finance::{CreateExpense, Expense};
use dm_contracts::api::list::List;
use dm_contracts::api::parameters::ExpenseFilters;
use dm_contracts::events::ExpenseSubmitted;
use dm_kit::Database;
use dm_kit::http::{
    ApiError, Caller, CurrentTrace, JsonBody, Paging, QueryParams, paged_list_response,
};
use dm_kit::outbox;
use http::StatusCode;

use crate::domain::{ExpenseStatus, NewExpense};
use crate::store::expenses;

/// Lists the expenses, newest first
#[utoipa::path(
    get,
    path = "/internal/expenses",
    operation_id = "listExpenses",
    params(
        Caller,
        ExpenseFilters,
        Paging,
    ),
    responses(
        (status = 200, description = "The expenses", body = List<Expense>),
        (status = 400, description = "The status or the paging is invalid", body = ErrorBody),
        (status = 401, description = "The request names no user", body = ErrorBody),
    )
)]
pub(super) async fn list(
    State(database): State<Database>,
    _caller: Caller,
    params: QueryParams,
    paging: Paging,
) -> Result<Response, ApiError> {
    let status = params
        .get("status")
        .map(|name| {
            ExpenseStatus::from_name_ignore_case(name).ok_or_else(|| {
                let names = ExpenseStatus::ALL.map(ExpenseStatus::as_str).join(", ");
                ApiError::invalid(format!("status must be one of {names}"))
            })
        })
        .transpose()?;
    paged_list_response(&database, expenses::ExpenseListSource { status }, &paging).await
}

/// Submits an expense
#[utoipa::path(
    post,
    path = "/internal/expenses",
    operation_id = "createExpense",
    params(Caller),
    request_body = CreateExpense,
    responses(
        (status = 201, description = "The expense", body = Expense),
        (status = 400, description = "A field is invalid", body = ErrorBody),
        (status = 401, description = "The request names no user", body = ErrorBody),
    )
)]
pub(super) async fn create(
    State(database): State<Database>,
    Caller(caller): Caller,
    CurrentTrace(trace): CurrentTrace,
    JsonBody(request): JsonBody<CreateExpense>,
) -> Result<(StatusCode, Json<Expense>), ApiError> {
    let expense = NewExpense::from_request(request, &caller)
        .map_err(|issues| ApiError::validation("Expense request validation failed", issues))?;
    let mut transaction = database.begin().await?;
    let expense = expenses::insert(&mut transaction, &expense).await?;
    let event = ExpenseSubmitted {
        expense_id: expense.expense_id.clone(),
        submitter_user_id: expense.submitter_user_id.clone(),
        amount: expense.amount,
        currency: expense.currency.clone(),
        submitted_at: expense.created_at,
    };
    outbox::append(&mut transaction, &event, &trace).await?;
    transaction.commit().await?;
    Ok((StatusCode::CREATED, Json(expense)))
}
