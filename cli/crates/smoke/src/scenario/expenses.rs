//! Expenses.

use dm_gateway_client::{BrowserSession, RequestFailure};
use serde_json::json;

use super::ScenarioState;
use crate::DATA_MARKER;

pub(super) async fn expense_is_decided(state: &mut ScenarioState) -> Result<(), RequestFailure> {
    let accountant = BrowserSession::sign_in(&state.endpoints, "amartin").await?;
    let submitted = accountant
        .post("/api/v1/expenses")
        .json(&json!({
            "submitterUserId": "jhalpert",
            "category": "OFFICE_SUPPLIES",
            "amount": 42.5,
            "currency": "usd",
            "description": DATA_MARKER,
        }))
        .expect_status(201)
        .await?;
    submitted
        .expect_value("/status", "PENDING")?
        .expect_value("/currency", "USD")?
        .expect_value("/amount", 42.5)?;
    let expense = submitted.string_at("/expenseId")?;
    let path = format!("/api/v1/expenses/{expense}/decision");
    let without_comment = accountant
        .post(&path)
        .json(&json!({"decision": "REJECTED"}))
        .expect_status(400)
        .await?;
    without_comment.expect_value("/error/message", "Expense decision validation failed")?;
    let decided = accountant
        .post(&path)
        .json(&json!({"decision": "APPROVED"}))
        .expect_status(200)
        .await?;
    decided
        .expect_value("/status", "APPROVED")?
        .expect_value("/decidedBy", "amartin")?;
    let again = accountant
        .post(&path)
        .json(&json!({"decision": "REJECTED", "comment": "too late"}))
        .expect_status(409)
        .await?;
    again.expect_value("/error/code", "INVALID_STATE")?;
    state.expense_id = expense;
    state.accountant = Some(accountant);
    Ok(())
}
