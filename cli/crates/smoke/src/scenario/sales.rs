//! A profile, and a lead that becomes a client.

use dm_gateway_client::Fault;
use serde_json::json;

use super::World;
use crate::MARK;

pub(super) async fn profile_is_saved(world: &mut World) -> Result<(), Fault> {
    let seller = world.seller()?;
    let before = seller.get("/api/v1/profile/me").expect(200).await?;
    before.has("/userId", "jhalpert")?;
    let body = json!({
        "profile": before.json()?["profile"],
        "preferences": before.json()?["preferences"],
    });
    let after = seller
        .post("/api/v1/profile/me")
        .json(&body)
        .expect(200)
        .await?;
    after.has("/profile", body["profile"].clone())?;
    let broken = seller
        .post("/api/v1/profile/me")
        .json(&json!({"profile": {}, "preferences": {}}))
        .expect(400)
        .await?;
    broken.has("/error/message", "Profile update validation failed")?;
    Ok(())
}

pub(super) async fn lead_is_qualified(world: &mut World) -> Result<(), Fault> {
    let seller = world.seller()?;
    let created = seller
        .post("/api/v1/sales/leads")
        .json(&json!({
            "companyName": "Vance Refrigeration",
            "contactName": "Bob Vance",
            "contactEmail": "bob@vancerefrigeration.com",
            "phone": "570-555-0199",
            "notes": MARK,
        }))
        .expect(201)
        .await?;
    created
        .has("/status", "NEW")?
        .has("/createdBy", "jhalpert")?;
    let lead = created.text_at("/leadId")?;
    let early = seller
        .post(&format!("/api/v1/sales/leads/{lead}/convert"))
        .expect(409)
        .await?;
    early.has("/error/code", "LEAD_NOT_QUALIFIED")?;
    let updated = seller
        .post(&format!("/api/v1/sales/leads/{lead}"))
        .json(&json!({"status": "QUALIFIED", "notes": MARK}))
        .expect(200)
        .await?;
    updated.has("/status", "QUALIFIED")?;
    let list = seller
        .get("/api/v1/sales/leads?status=QUALIFIED")
        .expect(200)
        .await?;
    list.listed("leadId", &lead)?;
    world.lead = lead;
    Ok(())
}

pub(super) async fn lead_is_converted(world: &mut World) -> Result<(), Fault> {
    let seller = world.seller()?;
    let path = format!("/api/v1/sales/leads/{}/convert", world.lead);
    let first = seller.post(&path).expect(200).await?;
    first.has("/alreadyConverted", false)?;
    let client = first.text_at("/clientId")?;
    let second = seller.post(&path).expect(200).await?;
    second
        .has("/alreadyConverted", true)?
        .has("/clientId", client.as_str())?;
    let clients = seller.get("/api/v1/sales/clients").expect(200).await?;
    clients.listed("clientId", &client)?;
    world.client = client;
    Ok(())
}
