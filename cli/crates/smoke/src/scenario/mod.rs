//! The steps, in the order of the business: a lead becomes a client, an order
//! becomes a reservation, a shipment and a notification, an expense is decided;
//! and what must be refused is.

mod access;
mod money;
mod notices;
mod orders;
mod sales;
mod warehouse;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use dm_gateway_client::{Answer, Fault, Person, Phone, Site};
use tokio::time::{Instant, sleep};

use super::PATIENCE;

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
        let missing = || Fault::new("no user of sales is signed in");
        self.seller.as_ref().ok_or_else(missing)
    }

    fn accountant(&self) -> Result<&Person, Fault> {
        let missing = || Fault::new("no user of accounting is signed in");
        self.accountant.as_ref().ok_or_else(missing)
    }

    fn phone(&self) -> Result<&Phone, Fault> {
        let missing = || Fault::new("no user of the warehouse is signed in");
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
    ($service:literal, $name:literal, $run:path) => {
        Definition {
            service: $service,
            name: $name,
            run: |world| Box::pin($run(world)),
        }
    };
}

/// Everything that is tried.
pub(super) const STEPS: &[Definition] = &[
    step!("gateway", "every service is up", access::everything_is_up),
    step!(
        "gateway",
        "requests without a login are refused",
        access::strangers_are_refused
    ),
    step!("gateway", "sales signs in", access::sales_signs_in),
    step!(
        "profile",
        "a profile can be read and saved",
        sales::profile_is_saved
    ),
    step!(
        "sales",
        "a lead is created and qualified",
        sales::lead_is_qualified
    ),
    step!(
        "sales",
        "the lead becomes a client, once",
        sales::lead_is_converted
    ),
    step!("order", "an order is placed", orders::order_is_placed),
    step!(
        "order",
        "the timeline streams CREATED and RESERVED",
        orders::timeline_streams
    ),
    step!(
        "inventory",
        "the warehouse sees the shipment",
        warehouse::shipment_is_pending
    ),
    step!(
        "inventory",
        "the shipment is scanned",
        warehouse::shipment_is_scanned
    ),
    step!(
        "inventory",
        "the shipment is dispatched once per key",
        warehouse::shipment_is_dispatched
    ),
    step!("order", "the order is shipped", orders::order_is_shipped),
    step!(
        "wuphf",
        "the seller is notified",
        notices::seller_is_notified
    ),
    step!(
        "inventory",
        "an order without stock fails",
        orders::order_without_stock_fails
    ),
    step!(
        "finance",
        "an expense is submitted and decided",
        money::expense_is_decided
    ),
    step!(
        "wuphf",
        "the submitter is notified",
        notices::decision_is_notified
    ),
    step!(
        "gateway",
        "requests with the wrong role are refused",
        access::wrong_roles_are_refused
    ),
    step!(
        "gateway",
        "signing out ends the session",
        access::signing_out_works
    ),
];

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
