//! Notifications.

use dm_gateway_client::RequestFailure;

use super::{ScenarioState, eventually};

pub(super) async fn seller_is_notified(state: &mut ScenarioState) -> Result<(), RequestFailure> {
    let seller = state.seller()?;
    let created = format!("Order {} created", state.order_id);
    let shipped = format!("Order {} shipped", state.order_id);
    eventually(
        async || seller.get("/api/v1/notifications").expect_status(200).await,
        |list| {
            list.expect_item("title", &created)?;
            list.expect_item("title", &shipped).map(drop)
        },
    )
    .await?;
    let list = seller
        .get("/api/v1/notifications")
        .expect_status(200)
        .await?;
    let item = list.expect_item("title", &shipped)?;
    let id = item["notificationId"].as_str().unwrap_or_default();
    let path = format!("/api/v1/notifications/{id}/read");
    let first = seller.post(&path).expect_status(200).await?;
    first.expect_value("/isRead", true)?;
    let again = seller.post(&path).expect_status(200).await?;
    again.expect_value("/readAt", first.string_at("/readAt")?)?;
    Ok(())
}

pub(super) async fn cancellation_is_notified(
    state: &mut ScenarioState,
) -> Result<(), RequestFailure> {
    let seller = state.seller()?;
    let title = format!("Order {} cancelled", state.cancelled_order_id);
    eventually(
        async || seller.get("/api/v1/notifications").expect_status(200).await,
        |list| list.expect_item("title", &title).map(drop),
    )
    .await
}

pub(super) async fn decision_is_notified(state: &mut ScenarioState) -> Result<(), RequestFailure> {
    let seller = state.seller()?;
    let title = format!("Expense {} APPROVED", state.expense_id);
    eventually(
        async || seller.get("/api/v1/notifications").expect_status(200).await,
        |list| list.expect_item("title", &title).map(drop),
    )
    .await
}
