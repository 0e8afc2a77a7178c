//! The steps, in the order of the business: a lead becomes a client, an order
//! becomes a reservation, a shipment and a notification, an expense is decided,
//! and unauthorized requests are refused.

mod access;
mod expenses;
mod leads;
mod notifications;
mod orders;
mod profiles;
mod shipments;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use dm_gateway_client::{
    BearerClient, BrowserSession, RequestFailure, StackEndpoints, TracedResponse,
};
use tokio::time::{Instant, sleep};

use super::EVENT_TIMEOUT;

/// The product of all orders.
const SKU: &str = "PPR-A4-WHT-500";

/// The interval at which an asynchronous effect is polled.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The ids and sessions that earlier steps created.
pub(super) struct ScenarioState {
    endpoints: StackEndpoints,
    seller: Option<BrowserSession>,
    accountant: Option<BrowserSession>,
    warehouse_worker: Option<BearerClient>,
    lead_id: String,
    client_id: String,
    order_id: String,
    shipment_id: String,
    cancelled_order_id: String,
    expense_id: String,
}

impl ScenarioState {
    pub(super) fn new(endpoints: StackEndpoints) -> Self {
        Self {
            endpoints,
            seller: None,
            accountant: None,
            warehouse_worker: None,
            lead_id: String::new(),
            client_id: String::new(),
            order_id: String::new(),
            shipment_id: String::new(),
            cancelled_order_id: String::new(),
            expense_id: String::new(),
        }
    }

    fn seller(&self) -> Result<&BrowserSession, RequestFailure> {
        let missing = || RequestFailure::new("no user of sales is signed in");
        self.seller.as_ref().ok_or_else(missing)
    }

    fn accountant(&self) -> Result<&BrowserSession, RequestFailure> {
        let missing = || RequestFailure::new("no user of accounting is signed in");
        self.accountant.as_ref().ok_or_else(missing)
    }

    fn warehouse_worker(&self) -> Result<&BearerClient, RequestFailure> {
        let missing = || RequestFailure::new("no user of the warehouse is signed in");
        self.warehouse_worker.as_ref().ok_or_else(missing)
    }
}

type StepFuture<'a> = Pin<Box<dyn Future<Output = Result<(), RequestFailure>> + 'a>>;

/// A step of the scenario.
pub(super) struct StepDefinition {
    pub(super) service: &'static str,
    pub(super) name: &'static str,
    run: for<'a> fn(&'a mut ScenarioState) -> StepFuture<'a>,
}

impl StepDefinition {
    pub(super) fn run<'a>(&self, state: &'a mut ScenarioState) -> StepFuture<'a> {
        (self.run)(state)
    }
}

macro_rules! step {
    ($service:literal, $name:literal, $run:path) => {
        StepDefinition {
            service: $service,
            name: $name,
            run: |state| Box::pin($run(state)),
        }
    };
}

/// The steps of the smoke test.
pub(super) const STEPS: &[StepDefinition] = &[
    step!("gateway", "every service is up", access::services_are_up),
    step!(
        "gateway",
        "requests without a login are refused",
        access::anonymous_requests_are_refused
    ),
    step!("gateway", "sales signs in", access::sales_signs_in),
    step!(
        "profile",
        "a profile can be read and saved",
        leads::profile_is_saved
    ),
    step!(
        "profile",
        "an avatar can be uploaded",
        profiles::avatar_is_saved
    ),
    step!(
        "profile",
        "app settings are saved once per version",
        profiles::app_settings_are_saved
    ),
    step!(
        "sales",
        "a lead is created and qualified",
        leads::lead_is_qualified
    ),
    step!(
        "sales",
        "the lead becomes a client, once",
        leads::lead_is_converted
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
        shipments::shipment_is_pending
    ),
    step!(
        "inventory",
        "the shipment is scanned",
        shipments::shipment_is_scanned
    ),
    step!(
        "inventory",
        "the shipment is dispatched once per key",
        shipments::shipment_is_dispatched
    ),
    step!("order", "the order is shipped", orders::order_is_shipped),
    step!(
        "wuphf",
        "the seller is notified",
        notifications::seller_is_notified
    ),
    step!(
        "inventory",
        "an order without stock fails",
        orders::order_without_stock_fails
    ),
    step!(
        "order",
        "an order is cancelled, once",
        orders::order_is_cancelled
    ),
    step!(
        "inventory",
        "its reservation is released",
        shipments::reservation_is_released
    ),
    step!(
        "wuphf",
        "the seller is notified of the cancellation",
        notifications::cancellation_is_notified
    ),
    step!(
        "finance",
        "an expense is submitted and decided",
        expenses::expense_is_decided
    ),
    step!(
        "wuphf",
        "the submitter is notified",
        notifications::decision_is_notified
    ),
    step!(
        "gateway",
        "a bearer token is equivalent to a session",
        access::bearer_token_is_equivalent
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

/// Repeats a request until `check` accepts the response. Returns the last failure after the
/// timeout.
async fn eventually(
    mut send_request: impl AsyncFnMut() -> Result<TracedResponse, RequestFailure>,
    check: impl Fn(&TracedResponse) -> Result<(), RequestFailure>,
) -> Result<(), RequestFailure> {
    let deadline = Instant::now() + EVENT_TIMEOUT;
    loop {
        let response = send_request().await?;
        match check(&response) {
            Ok(()) => return Ok(()),
            Err(mut failure) if Instant::now() >= deadline => {
                failure.message =
                    format!("{} after {} s", failure.message, EVENT_TIMEOUT.as_secs());
                return Err(failure);
            }
            Err(_) => sleep(POLL_INTERVAL).await,
        }
    }
}
