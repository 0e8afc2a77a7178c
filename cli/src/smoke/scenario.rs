//! The steps, in the order of the business: a lead becomes a client, an order
//! becomes a reservation, a shipment and a notification, an expense is decided;
//! and what must be refused is.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::header::{AUTHORIZATION, HeaderName};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::PATIENCE;
use crate::client::{Answer, Fault, IDEMPOTENCY_KEY, Person, Phone, Site, trace_id};

/// The paper that everything is about.
const SKU: &str = "PPR-A4-WHT-500";

/// How often something that takes a moment is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What the steps have found out so far.
pub(super) struct World {
    site: Site,
    seller: Option<Person>,
    accountant: Option<Person>,
    warehouse: Option<Phone>,
    lead: String,
    client: String,
    order: String,
    shipment: String,
    expense: String,
}

impl World {
    pub(super) fn new(site: Site) -> Self {
        Self {
            site,
            seller: None,
            accountant: None,
            warehouse: None,
            lead: String::new(),
            client: String::new(),
            order: String::new(),
            shipment: String::new(),
            expense: String::new(),
        }
    }

    fn seller(&self) -> Result<&Person, Fault> {
        let missing = || Fault::new("nobody of sales is signed in");
        self.seller.as_ref().ok_or_else(missing)
    }

    fn accountant(&self) -> Result<&Person, Fault> {
        let missing = || Fault::new("nobody of accounting is signed in");
        self.accountant.as_ref().ok_or_else(missing)
    }

    fn phone(&self) -> Result<&Phone, Fault> {
        let missing = || Fault::new("nobody of the warehouse is signed in");
        self.warehouse.as_ref().ok_or_else(missing)
    }
}

type Running<'a> = Pin<Box<dyn Future<Output = Result<(), Fault>> + 'a>>;

/// A step of the scenario.
pub(super) struct Definition {
    pub(super) service: &'static str,
    pub(super) name: &'static str,
    run: for<'a> fn(&'a mut World) -> Running<'a>,
}

impl Definition {
    pub(super) fn run<'a>(&self, world: &'a mut World) -> Running<'a> {
        (self.run)(world)
    }
}

macro_rules! step {
    ($service:literal, $name:literal, $run:ident) => {
        Definition {
            service: $service,
            name: $name,
            run: |world| Box::pin($run(world)),
        }
    };
}

/// Everything that is tried.
pub(super) const STEPS: &[Definition] = &[
    step!("gateway", "every service is up", everything_is_up),
    step!(
        "gateway",
        "strangers are turned away",
        strangers_are_refused
    ),
    step!("gateway", "sales signs in", sales_signs_in),
    step!(
        "profile",
        "a profile is there and can be saved",
        profile_is_saved
    ),
    step!(
        "sales",
        "a lead is created and qualified",
        lead_is_qualified
    ),
    step!(
        "sales",
        "the lead becomes a client, once",
        lead_is_converted
    ),
    step!("order", "an order is placed", order_is_placed),
    step!(
        "order",
        "the timeline streams CREATED and RESERVED",
        timeline_streams
    ),
    step!(
        "inventory",
        "the warehouse sees the shipment",
        shipment_is_pending
    ),
    step!("inventory", "the shipment is scanned", shipment_is_scanned),
    step!(
        "inventory",
        "it is dispatched, once for a key",
        shipment_is_dispatched
    ),
    step!("order", "the order is shipped", order_is_shipped),
    step!("wuphf", "the seller is notified", seller_is_notified),
    step!(
        "inventory",
        "an order without stock fails",
        order_without_stock_fails
    ),
    step!(
        "finance",
        "an expense is submitted and decided",
        expense_is_decided
    ),
    step!(
        "wuphf",
        "who waits for the money is notified",
        decision_is_notified
    ),
    step!(
        "gateway",
        "the wrong role is turned away",
        wrong_roles_are_refused
    ),
    step!("gateway", "signing out ends the session", signing_out_works),
];

async fn everything_is_up(world: &mut World) -> Result<(), Fault> {
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

async fn strangers_are_refused(world: &mut World) -> Result<(), Fault> {
    let nobody = Person::stranger(&world.site)?;
    let me = nobody.get("/api/v1/auth/me").expect(401).await?;
    if me.json()? != json!({"error": "unauthenticated"}) {
        return Err(me.fault("the body is not the contract's"));
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

async fn sales_signs_in(world: &mut World) -> Result<(), Fault> {
    let person = Person::sign_in(&world.site, "jhalpert").await?;
    let me = person.get("/api/v1/auth/me").expect(200).await?;
    me.has("/userId", "jhalpert")?
        .has("/displayName", "Jim Halpert")?
        .has("/apps", json!(["portal", "infinity"]))?;
    world.seller = Some(person);
    Ok(())
}

async fn profile_is_saved(world: &mut World) -> Result<(), Fault> {
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

async fn lead_is_qualified(world: &mut World) -> Result<(), Fault> {
    let seller = world.seller()?;
    let created = seller
        .post("/api/v1/sales/leads")
        .json(&json!({
            "companyName": "Vance Refrigeration",
            "contactName": "Bob Vance",
            "contactEmail": "bob@vancerefrigeration.com",
            "phone": "570-555-0199",
            "notes": "dm smoke",
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
        .json(&json!({"status": "QUALIFIED", "notes": "dm smoke"}))
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

async fn lead_is_converted(world: &mut World) -> Result<(), Fault> {
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

fn order(client: &str, quantity: i64) -> Value {
    json!({
        "clientId": client,
        "requestedShipDate": "2030-01-31",
        "items": [{"sku": SKU, "quantity": quantity}],
        "notes": "dm smoke",
    })
}

async fn order_is_placed(world: &mut World) -> Result<(), Fault> {
    let seller = world.seller()?;
    let broken = seller
        .post("/api/v1/orders")
        .json(&json!({"items": [{"sku": "", "quantity": 0}]}))
        .expect(400)
        .await?;
    broken.has("/error/message", "Order request validation failed")?;
    let placed = seller
        .post("/api/v1/orders")
        .json(&order(&world.client, 3))
        .expect(201)
        .await?;
    placed.has("/status", "CREATED")?;
    let order = placed.text_at("/orderId")?;
    // Once, right after the answer, as the sales page does.
    let list = seller
        .get(&format!("/api/v1/orders?clientId={}", world.client))
        .expect(200)
        .await?;
    let listed = list.listed("orderId", &order)?;
    if listed["status"] != "CREATED" {
        return Err(list.fault("a new order must still be CREATED when listed at once"));
    }
    world.shipment = format!("ship_{}", order.trim_start_matches("ord_"));
    world.order = order;
    Ok(())
}

async fn timeline_streams(world: &mut World) -> Result<(), Fault> {
    let seller = world.seller()?;
    let path = format!("/api/v1/orders/{}/timeline/stream", world.order);
    let stream = seller.get(&path).open().await?;
    let mut body = stream.bytes_stream();
    let mut text = String::new();
    let reading = async {
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| Fault::new(format!("the stream broke: {error}")))?;
            text.push_str(&String::from_utf8_lossy(&chunk));
            if ["event: timeline", "CREATED", "RESERVED"]
                .iter()
                .all(|part| text.contains(part))
            {
                return Ok(());
            }
        }
        Err(Fault::new("the stream ended"))
    };
    match timeout(PATIENCE, reading).await {
        Ok(read) => read,
        Err(_) => Err(Fault::new(format!(
            "RESERVED was not streamed within {} s; the stream said: {text}",
            PATIENCE.as_secs()
        ))),
    }
}

async fn shipment_is_pending(world: &mut World) -> Result<(), Fault> {
    world.warehouse = Some(Phone::sign_in(&world.site, "dphilbin").await?);
    let shipment = world.shipment.clone();
    eventually(
        async || {
            world
                .phone()?
                .get("/api/v1/warehouse/shipments?status=PENDING")
                .expect(200)
                .await
        },
        |list| list.listed("shipmentId", &shipment).map(drop),
    )
    .await
}

async fn shipment_is_scanned(world: &mut World) -> Result<(), Fault> {
    let path = format!("/api/v1/warehouse/shipments/{}/scan", world.shipment);
    let scan = json!({"barcode": format!("SKU:{SKU}"), "quantity": 3});
    let broken = world
        .phone()?
        .post(&path)
        .json(&json!({"barcode": " ", "quantity": 0}))
        .expect(400)
        .await?;
    broken.has("/error/message", "Scan payload validation failed")?;
    let key = format!("wm_scan_{}", trace_id());
    let first = world
        .phone()?
        .post(&path)
        .header(IDEMPOTENCY_KEY, &key)
        .json(&scan)
        .expect(200)
        .await?;
    first
        .has("/status", "LOADING")?
        .has("/lastScan/scannedBy", "dphilbin")?;
    let again = world
        .phone()?
        .post(&path)
        .header(IDEMPOTENCY_KEY, &key)
        .json(&scan)
        .expect(200)
        .await?;
    same(&first, &again)
}

async fn shipment_is_dispatched(world: &mut World) -> Result<(), Fault> {
    let path = format!("/api/v1/warehouse/shipments/{}/dispatch", world.shipment);
    let body = json!({
        "truckId": "truck_scr_03",
        "dispatchedAt": dm_contracts::time::format(dm_contracts::time::now()),
    });
    let missing = world.phone()?.post(&path).json(&body).expect(400).await?;
    missing.has("/error/message", "Idempotency-Key header is required")?;
    let key = format!("wm_dispatch_{}", trace_id());
    let first = world
        .phone()?
        .post(&path)
        .header(IDEMPOTENCY_KEY, &key)
        .json(&body)
        .expect(200)
        .await?;
    first
        .has("/shipmentStatus", "DISPATCHED")?
        .has("/orderId", world.order.as_str())?
        .has("/alreadyDispatched", false)?;
    let again = world
        .phone()?
        .post(&path)
        .header(IDEMPOTENCY_KEY, &key)
        .json(&body)
        .expect(200)
        .await?;
    same(&first, &again)?;
    let other = world
        .phone()?
        .post(&path)
        .header(IDEMPOTENCY_KEY, &format!("wm_dispatch_{}", trace_id()))
        .json(&body)
        .expect(200)
        .await?;
    other.has("/alreadyDispatched", true)?;
    Ok(())
}

/// A replayed key gets the stored answer.
fn same(first: &Answer, again: &Answer) -> Result<(), Fault> {
    if first.json()? == again.json()? {
        Ok(())
    } else {
        Err(again.fault("the same key was answered otherwise"))
    }
}

async fn order_is_shipped(world: &mut World) -> Result<(), Fault> {
    let seller = world.seller()?;
    let path = format!("/api/v1/orders/{}", world.order);
    eventually(
        async || seller.get(&path).expect(200).await,
        |order| {
            order
                .has("/status", "SHIPPED")?
                .has("/shipmentId", world.shipment.as_str())
                .map(drop)
        },
    )
    .await?;
    let timeline = seller.get(&format!("{path}/timeline")).expect(200).await?;
    let body = timeline.json()?;
    let events: Vec<&str> = body["events"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|event| event["status"].as_str())
        .collect();
    for status in ["CREATED", "RESERVED", "SHIPPED"] {
        if events.iter().filter(|event| **event == status).count() != 1 {
            return Err(timeline.fault(format!("the timeline has not exactly one {status}")));
        }
    }
    Ok(())
}

async fn seller_is_notified(world: &mut World) -> Result<(), Fault> {
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

async fn order_without_stock_fails(world: &mut World) -> Result<(), Fault> {
    let seller = world.seller()?;
    let placed = seller
        .post("/api/v1/orders")
        .json(&order(&world.client, 900_000_000))
        .expect(201)
        .await?;
    let order = placed.text_at("/orderId")?;
    let path = format!("/api/v1/orders/{order}");
    eventually(
        async || seller.get(&path).expect(200).await,
        |order| order.has("/status", "FAILED_INSUFFICIENT_STOCK").map(drop),
    )
    .await?;
    let shipment = format!("ship_{}", order.trim_start_matches("ord_"));
    let list = world
        .phone()?
        .get("/api/v1/warehouse/shipments?status=PENDING")
        .expect(200)
        .await?;
    if list.item("shipmentId", &shipment)?.is_some() {
        return Err(list.fault("a shipment without stock is still to be shipped"));
    }
    Ok(())
}

async fn expense_is_decided(world: &mut World) -> Result<(), Fault> {
    let accountant = Person::sign_in(&world.site, "amartin").await?;
    let submitted = accountant
        .post("/api/v1/expenses")
        .json(&json!({
            "submitterUserId": "jhalpert",
            "category": "OFFICE_SUPPLIES",
            "amount": 42.5,
            "currency": "usd",
            "description": "dm smoke",
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

async fn decision_is_notified(world: &mut World) -> Result<(), Fault> {
    let seller = world.seller()?;
    let title = format!("Expense {} APPROVED", world.expense);
    eventually(
        async || seller.get("/api/v1/notifications").expect(200).await,
        |list| list.listed("title", &title).map(drop),
    )
    .await
}

async fn wrong_roles_are_refused(world: &mut World) -> Result<(), Fault> {
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

async fn signing_out_works(world: &mut World) -> Result<(), Fault> {
    let seller = world.seller()?;
    seller.get("/logout").expect(302).await?;
    seller.get("/api/v1/auth/me").expect(401).await?;
    Ok(())
}

/// Asks again and again until the answer is as expected, and tells the last fault
/// if it never is.
async fn eventually(
    mut ask: impl AsyncFnMut() -> Result<Answer, Fault>,
    check: impl Fn(&Answer) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask().await?;
        match check(&answer) {
            Ok(()) => return Ok(()),
            Err(mut fault) if Instant::now() >= deadline => {
                fault.what = format!("{} after {} s", fault.what, PATIENCE.as_secs());
                return Err(fault);
            }
            Err(_) => sleep(LOOK).await,
        }
    }
}
