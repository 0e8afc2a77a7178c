//! Notifications.

use dm_gateway_client::Fault;

use super::{World, eventually};

pub(super) async fn seller_is_notified(world: &mut World) -> Result<(), Fault> {
    let seller = world.seller()?;
    let created = format!("Order {} created", world.order);
    let shipped = format!("Order {} shipped", world.order);
    eventually(
        async || seller.get("/api/v1/notifications").expect(200).await,
        |list| {
            list.listed("title", &created)?;
            list.listed("title", &shipped).map(drop)
        },
    )
    .await?;
    let list = seller.get("/api/v1/notifications").expect(200).await?;
    let item = list.listed("title", &shipped)?;
    let id = item["notificationId"].as_str().unwrap_or_default();
    let read = format!("/api/v1/notifications/{id}/read");
    let first = seller.post(&read).expect(200).await?;
    first.has("/isRead", true)?;
    let again = seller.post(&read).expect(200).await?;
    again.has("/readAt", first.text_at("/readAt")?)?;
    Ok(())
}

pub(super) async fn decision_is_notified(world: &mut World) -> Result<(), Fault> {
    let seller = world.seller()?;
    let title = format!("Expense {} APPROVED", world.expense);
    eventually(
        async || seller.get("/api/v1/notifications").expect(200).await,
        |list| list.listed("title", &title).map(drop),
    )
    .await
}
