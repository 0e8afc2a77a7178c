//! Expenses.

use dm_gateway_client::{Fault, Person};
use serde_json::json;

use super::World;
use crate::MARK;

pub(super) async fn expense_is_decided(world: &mut World) -> Result<(), Fault> {
    let accountant = Person::sign_in(&world.site, "amartin").await?;
    let submitted = accountant
        .post("/api/v1/expenses")
        .json(&json!({
            "submitterUserId": "jhalpert",
            "category": "OFFICE_SUPPLIES",
            "amount": 42.5,
            "currency": "usd",
            "description": MARK,
        }))
        .expect(201)
        .await?;
    submitted
        .has("/status", "PENDING")?
        .has("/currency", "USD")?
        .has("/amount", 42.5)?;
    let expense = submitted.text_at("/expenseId")?;
    let path = format!("/api/v1/expenses/{expense}/decision");
    let silent = accountant
        .post(&path)
        .json(&json!({"decision": "REJECTED"}))
        .expect(400)
        .await?;
    silent.has("/error/message", "Expense decision validation failed")?;
    let decided = accountant
        .post(&path)
        .json(&json!({"decision": "APPROVED"}))
        .expect(200)
        .await?;
    decided
        .has("/status", "APPROVED")?
        .has("/decidedBy", "amartin")?;
    let again = accountant
        .post(&path)
        .json(&json!({"decision": "REJECTED", "comment": "too late"}))
        .expect(409)
        .await?;
    again.has("/error/code", "INVALID_STATE")?;
    world.expense = expense;
    world.accountant = Some(accountant);
    Ok(())
}
