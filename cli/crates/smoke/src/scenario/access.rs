//! Authentication and authorization.

use dm_contracts::headers;
use dm_gateway_client::{
    BearerClient, BrowserSession, RequestFailure, TracedResponse, new_trace_id,
};
use reqwest::header::{AUTHORIZATION, HeaderName};
use serde_json::json;

use super::ScenarioState;
use super::orders::order_body;

pub(super) async fn services_are_up(state: &mut ScenarioState) -> Result<(), RequestFailure> {
    let anonymous = BrowserSession::anonymous(&state.endpoints)?;
    for (name, base) in &state.endpoints.service_urls {
        let response = anonymous.get_from(base, "/actuator/health").send().await?;
        if response.status != 200 {
            return Err(response.failure(format!("{name} is not up")));
        }
        response.expect_value("/status", "UP")?;
    }
    Ok(())
}

pub(super) async fn anonymous_requests_are_refused(
    state: &mut ScenarioState,
) -> Result<(), RequestFailure> {
    let anonymous = BrowserSession::anonymous(&state.endpoints)?;
    let me = anonymous.get("/api/v1/auth/me").expect_status(401).await?;
    if me.json()? != json!({"error": "unauthenticated"}) {
        return Err(me.failure("the body violates the contract"));
    }
    for path in [
        "/api/v1/orders",
        "/api/v1/expenses",
        "/api/v1/notifications",
    ] {
        let response = anonymous.get(path).expect_status(401).await?;
        response.expect_value("/error/code", "UNAUTHENTICATED")?;
        response.expect_value("/error/message", "Login is required")?;
    }
    let trace = new_trace_id();
    let name = HeaderName::from_static(headers::TRACE_ID);
    let bearer = BrowserSession::anonymous(&state.endpoints)?;
    let shipments = bearer
        .get("/api/v1/warehouse/shipments")
        .header(AUTHORIZATION, "Bearer nonsense")
        .expect_status(401)
        .await?;
    shipments.expect_value("/error/message", "Bearer token or session is required")?;
    if shipments.headers.get(&name).is_none() {
        return Err(shipments.failure(format!("a refusal has no {name} header ({trace})")));
    }
    Ok(())
}

pub(super) async fn sales_signs_in(state: &mut ScenarioState) -> Result<(), RequestFailure> {
    let seller = BrowserSession::sign_in(&state.endpoints, "jhalpert").await?;
    let me = seller.get("/api/v1/auth/me").expect_status(200).await?;
    me.expect_value("/userId", "jhalpert")?
        .expect_value("/displayName", "Jim Halpert")?
        .expect_value("/apps", json!(["portal", "infinity"]))?;
    state.seller = Some(seller);
    Ok(())
}

pub(super) async fn bearer_token_is_equivalent(
    state: &mut ScenarioState,
) -> Result<(), RequestFailure> {
    let seller = BearerClient::sign_in(&state.endpoints, "dschrute").await?;
    let me = seller.get("/api/v1/auth/me").expect_status(200).await?;
    me.expect_value("/userId", "dschrute")?
        .expect_value("/apps", json!(["portal", "infinity"]))?;
    let placed = seller
        .post("/api/v1/orders")
        .json(&order_body(&state.client_id, 1))
        .expect_status(201)
        .await?;
    let order = placed.string_at("/orderId")?;
    let read = seller
        .get(&format!("/api/v1/orders/{order}"))
        .expect_status(200)
        .await?;
    read.expect_value("/createdBy", "dschrute")?;
    // Nothing stays reserved.
    seller
        .post(&format!("/api/v1/orders/{order}/cancel"))
        .expect_status(200)
        .await?;
    let refused = seller.get("/api/v1/expenses").expect_status(403).await?;
    refused
        .expect_value("/error/code", "FORBIDDEN")?
        .expect_value(
            "/error/message",
            "Accounting role is required to access expenses: \
             the token has none of accountant, manager",
        )
        .map(drop)
}

pub(super) async fn wrong_roles_are_refused(
    state: &mut ScenarioState,
) -> Result<(), RequestFailure> {
    let refused = |response: TracedResponse, message: &'static str| {
        response
            .expect_value("/error/code", "FORBIDDEN")?
            .expect_value("/error/message", message)
            .map(drop)
    };
    let expenses = state
        .seller()?
        .get("/api/v1/expenses")
        .expect_status(403)
        .await?;
    refused(expenses, "Accounting role is required to access expenses")?;
    let orders = state
        .accountant()?
        .get("/api/v1/orders")
        .expect_status(403)
        .await?;
    refused(orders, "Sales role is required to access orders")?;
    let shipments = state
        .seller()?
        .get("/api/v1/warehouse/shipments")
        .expect_status(403)
        .await?;
    refused(shipments, "Warehouse role is required to access shipments")?;
    let page = state
        .seller()?
        .get("/accounting")
        .expect_status(403)
        .await?;
    if page.body.contains("<h1>Access denied</h1>") {
        Ok(())
    } else {
        Err(page.failure("the page does not report that access is denied"))
    }
}

pub(super) async fn signing_out_works(state: &mut ScenarioState) -> Result<(), RequestFailure> {
    let seller = state.seller()?;
    seller.get("/logout").expect_status(302).await?;
    seller.get("/api/v1/auth/me").expect_status(401).await?;
    Ok(())
}
