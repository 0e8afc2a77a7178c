//! A profile, and a lead that is converted to a client.

use dm_gateway_client::{RequestFailure, find_page};
use serde_json::json;

use super::ScenarioState;
use crate::DATA_MARKER;

pub(super) async fn profile_is_saved(state: &mut ScenarioState) -> Result<(), RequestFailure> {
    let seller = state.seller()?;
    let before = seller.get("/api/v1/profile/me").expect_status(200).await?;
    before.expect_value("/userId", "jhalpert")?;
    let body = json!({
        "profile": before.json()?["profile"],
        "preferences": before.json()?["preferences"],
    });
    let after = seller
        .post("/api/v1/profile/me")
        .json(&body)
        .expect_status(200)
        .await?;
    after.expect_value("/profile", body["profile"].clone())?;
    let invalid = seller
        .post("/api/v1/profile/me")
        .json(&json!({"profile": {}, "preferences": {}}))
        .expect_status(400)
        .await?;
    invalid.expect_value("/error/message", "Profile update validation failed")?;
    Ok(())
}

pub(super) async fn lead_is_qualified(state: &mut ScenarioState) -> Result<(), RequestFailure> {
    let seller = state.seller()?;
    let created = seller
        .post("/api/v1/sales/leads")
        .json(&json!({
            "companyName": "Vance Refrigeration",
            "contactName": "Bob Vance",
            "contactEmail": "bob@vancerefrigeration.com",
            "phone": "570-555-0199",
            "notes": DATA_MARKER,
        }))
        .expect_status(201)
        .await?;
    created
        .expect_value("/status", "NEW")?
        .expect_value("/createdBy", "jhalpert")?;
    let lead = created.string_at("/leadId")?;
    let early = seller
        .post(&format!("/api/v1/sales/leads/{lead}/convert"))
        .expect_status(409)
        .await?;
    early.expect_value("/error/code", "LEAD_NOT_QUALIFIED")?;
    let updated = seller
        .post(&format!("/api/v1/sales/leads/{lead}"))
        .json(&json!({"status": "QUALIFIED", "notes": DATA_MARKER}))
        .expect_status(200)
        .await?;
    updated.expect_value("/status", "QUALIFIED")?;
    let path = "/api/v1/sales/leads?status=QUALIFIED";
    let list = find_page(path, |path| seller.get(path), "leadId", &lead).await?;
    list.expect_item("leadId", &lead)?;
    state.lead_id = lead;
    Ok(())
}

pub(super) async fn lead_is_converted(state: &mut ScenarioState) -> Result<(), RequestFailure> {
    let seller = state.seller()?;
    let path = format!("/api/v1/sales/leads/{}/convert", state.lead_id);
    let first = seller.post(&path).expect_status(200).await?;
    first.expect_value("/alreadyConverted", false)?;
    let client = first.string_at("/clientId")?;
    let second = seller.post(&path).expect_status(200).await?;
    second
        .expect_value("/alreadyConverted", true)?
        .expect_value("/clientId", client.as_str())?;
    let path = "/api/v1/sales/clients";
    let clients = find_page(path, |path| seller.get(path), "clientId", &client).await?;
    clients.expect_item("clientId", &client)?;
    state.client_id = client;
    Ok(())
}
