//! Who gets in, and who is turned away.

use dm_gateway_client::{Answer, Fault, Person, trace_id};
use reqwest::header::{AUTHORIZATION, HeaderName};
use serde_json::json;

use super::World;

pub(super) async fn everything_is_up(world: &mut World) -> Result<(), Fault> {
    let nobody = Person::stranger(&world.site)?;
    for (name, base) in &world.site.services {
        let answer = nobody.get_from(base, "/actuator/health").answer().await?;
        if answer.status != 200 {
            return Err(answer.fault(format!("{name} is not up")));
        }
        answer.has("/status", "UP")?;
    }
    Ok(())
}

pub(super) async fn strangers_are_refused(world: &mut World) -> Result<(), Fault> {
    let nobody = Person::stranger(&world.site)?;
    let me = nobody.get("/api/v1/auth/me").expect(401).await?;
    if me.json()? != json!({"error": "unauthenticated"}) {
        return Err(me.fault("the body violates the contract"));
    }
    for path in [
        "/api/v1/orders",
        "/api/v1/expenses",
        "/api/v1/notifications",
    ] {
        let answer = nobody.get(path).expect(401).await?;
        answer.has("/error/code", "UNAUTHENTICATED")?;
        answer.has("/error/message", "Login is required")?;
    }
    let trace = trace_id();
    let name = HeaderName::from_static("x-trace-id");
    let stranger = Person::stranger(&world.site)?;
    let shipments = stranger
        .get("/api/v1/warehouse/shipments")
        .header(AUTHORIZATION, "Bearer nonsense")
        .expect(401)
        .await?;
    shipments.has("/error/message", "Bearer token or session is required")?;
    if shipments.headers.get(&name).is_none() {
        return Err(shipments.fault(format!("a refusal has no {name} header ({trace})")));
    }
    Ok(())
}

pub(super) async fn sales_signs_in(world: &mut World) -> Result<(), Fault> {
    let person = Person::sign_in(&world.site, "jhalpert").await?;
    let me = person.get("/api/v1/auth/me").expect(200).await?;
    me.has("/userId", "jhalpert")?
        .has("/displayName", "Jim Halpert")?
        .has("/apps", json!(["portal", "infinity"]))?;
    world.seller = Some(person);
    Ok(())
}

pub(super) async fn wrong_roles_are_refused(world: &mut World) -> Result<(), Fault> {
    let refused = |answer: Answer, message: &'static str| {
        answer
            .has("/error/code", "FORBIDDEN")?
            .has("/error/message", message)
            .map(drop)
    };
    let expenses = world.seller()?.get("/api/v1/expenses").expect(403).await?;
    refused(expenses, "Accounting role is required to access expenses")?;
    let orders = world
        .accountant()?
        .get("/api/v1/orders")
        .expect(403)
        .await?;
    refused(orders, "Sales role is required to access orders")?;
    let shipments = world
        .seller()?
        .get("/api/v1/warehouse/shipments")
        .expect(403)
        .await?;
    refused(shipments, "Warehouse role is required to access shipments")?;
    let page = world.seller()?.get("/accounting").expect(403).await?;
    if page.text.contains("<h1>Access denied</h1>") {
        Ok(())
    } else {
        Err(page.fault("the page does not say that access is denied"))
    }
}

pub(super) async fn signing_out_works(world: &mut World) -> Result<(), Fault> {
    let seller = world.seller()?;
    seller.get("/logout").expect(302).await?;
    seller.get("/api/v1/auth/me").expect(401).await?;
    Ok(())
}
