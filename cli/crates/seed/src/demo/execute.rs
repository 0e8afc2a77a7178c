//! Executes a plan, one request after the other, so that a seed number gives the same ids on
//! every fresh stack.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::Duration;

use chrono::{Days, Utc};
use dm_contracts::api::order::OrderSummary;
use dm_contracts::api::sales::LeadSummary;
use dm_contracts::api::stock::StockLevel;
use dm_contracts::headers;
use dm_gateway_client::{
    BearerClient, BrowserSession, GATEWAY_SECRET, IDEMPOTENCY_KEY, RequestFailure, StackEndpoints,
    new_trace_id, read_list,
};
use reqwest::header::HeaderName;
use serde_json::json;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::plan::{
    DemoPlan, PlannedDecision, PlannedExpense, PlannedLead, PlannedLeadOutcome, PlannedOrder,
};
use crate::SeedError;
use crate::SeedSummary;
use crate::seed_file::SeedFile;

/// The timeout for the effects of requests.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The interval between queries of the order statuses.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The service that owns the stock.
const INVENTORY_SERVICE: &str = "inventory";
/// The header with the user id, which the gateway sets and a direct request needs.
const USER_ID_HEADER: HeaderName = HeaderName::from_static(headers::USER_ID);

/// The signed-in users and the plan of a run.
#[derive(Debug)]
pub struct DemoSeeder {
    sellers: BTreeMap<String, BrowserSession>,
    accountant: BrowserSession,
    warehouse: BearerClient,
    /// Makes the idempotency keys of this run different from those of other runs.
    run_id: String,
    plan: DemoPlan,
}

/// Fetches the names of the companies that the stack already has.
///
/// # Errors
/// Returns [`SeedError::RequestFailed`] if the sign-in or the request fails.
pub async fn fetch_company_names(
    endpoints: &StackEndpoints,
    file: &SeedFile,
) -> Result<BTreeSet<String>, SeedError> {
    let request = async {
        let seller = BrowserSession::sign_in(endpoints, &file.sellers[0]).await?;
        let mut names = BTreeSet::new();
        read_list(
            "/api/v1/sales/leads",
            |path| seller.get(path),
            |leads: Vec<LeadSummary>| {
                names.extend(leads.into_iter().map(|lead| lead.company_name));
                ControlFlow::Continue(())
            },
        )
        .await?;
        Ok(names)
    };
    request
        .await
        .map_err(|failure| request_failed(&SeedSummary::default(), failure))
}

impl DemoSeeder {
    /// Signs the users in and generates the plan for the current stock.
    ///
    /// # Errors
    /// Returns [`SeedError::RequestFailed`] if a sign-in or a request fails, and
    /// [`SeedError::NoCompaniesLeft`] if the stack already has every company.
    pub async fn prepare(
        endpoints: &StackEndpoints,
        file: &SeedFile,
        seed_number: u64,
        existing_companies: &BTreeSet<String>,
    ) -> Result<Self, SeedError> {
        let map_failure = |failure| request_failed(&SeedSummary::default(), failure);
        let sign_in = async {
            let mut sellers = BTreeMap::new();
            for name in &file.sellers {
                sellers.insert(
                    name.clone(),
                    BrowserSession::sign_in(endpoints, name).await?,
                );
            }
            let accountant = BrowserSession::sign_in(endpoints, &file.accountant).await?;
            let warehouse = BearerClient::sign_in(endpoints, &file.warehouse).await?;
            let stock = fetch_available_stock(endpoints, &accountant).await?;
            Ok((sellers, accountant, warehouse, stock))
        };
        let (sellers, accountant, warehouse, stock) = sign_in.await.map_err(map_failure)?;
        let plan = DemoPlan::generate(file, seed_number, existing_companies, &stock);
        if plan.leads.is_empty() {
            return Err(SeedError::NoCompaniesLeft);
        }
        Ok(Self {
            sellers,
            accountant,
            warehouse,
            run_id: new_trace_id(),
            plan,
        })
    }
}

/// Fetches the available stock of each product from inventory. The gateway has no route for it.
async fn fetch_available_stock(
    endpoints: &StackEndpoints,
    session: &BrowserSession,
) -> Result<BTreeMap<String, i64>, RequestFailure> {
    let base = endpoints
        .service_urls
        .iter()
        .find(|(name, _)| *name == INVENTORY_SERVICE)
        .map(|(_, base)| base.as_str())
        .ok_or_else(|| RequestFailure::new("inventory is not part of this stack"))?;
    let request = |path: &str| {
        session
            .get_from(base, path)
            .header(USER_ID_HEADER, "dm")
            .header(GATEWAY_SECRET, &endpoints.gateway_secret)
    };
    let mut stock = BTreeMap::new();
    read_list("/internal/stock", request, |levels: Vec<StockLevel>| {
        stock.extend(levels.into_iter().map(|level| (level.sku, level.available)));
        ControlFlow::Continue(())
    })
    .await?;
    Ok(stock)
}

/// Executes the plan, and calls `on_progress` with a text at each stage.
///
/// # Errors
/// Returns [`SeedError::RequestFailed`] if a request fails, [`SeedError::Timeout`] if an effect
/// does not occur in time, and [`SeedError::DemoInterrupted`] at an interrupt. The first and the
/// last contain a summary of the created records.
pub async fn execute_plan(
    seeder: &DemoSeeder,
    interrupt: &CancellationToken,
    mut on_progress: impl FnMut(&str),
) -> Result<SeedSummary, SeedError> {
    let mut run = DemoRun {
        seeder,
        interrupt,
        summary: SeedSummary::default(),
        placed_orders: Vec::new(),
    };
    on_progress(&format!("{} leads", seeder.plan.leads.len()));
    for lead in &seeder.plan.leads {
        run.check_interrupt()?;
        let result = run.create_lead(lead).await;
        run.map_failure(result)?;
    }
    on_progress(&format!(
        "waiting until {} orders are reserved",
        run.placed_orders.len()
    ));
    run.wait_for_orders("RESERVED", |_| true).await?;
    let dispatched = run
        .placed_orders
        .iter()
        .filter(|(_, order)| order.truck.is_some());
    on_progress(&format!("dispatching {} of them", dispatched.count()));
    for (order, planned) in run.placed_orders.clone() {
        if let Some(truck) = &planned.truck {
            run.check_interrupt()?;
            let result = run.ship_order(&order, planned, truck).await;
            run.map_failure(result)?;
        }
    }
    run.wait_for_orders("SHIPPED", |planned| planned.truck.is_some())
        .await?;
    on_progress(&format!("{} expenses", seeder.plan.expenses.len()));
    for expense in &seeder.plan.expenses {
        run.check_interrupt()?;
        let result = run.submit_expense(expense).await;
        run.map_failure(result)?;
    }
    Ok(run.summary)
}

/// A plan that is being executed.
struct DemoRun<'a> {
    seeder: &'a DemoSeeder,
    interrupt: &'a CancellationToken,
    summary: SeedSummary,
    /// The placed orders, with their ids.
    placed_orders: Vec<(String, &'a PlannedOrder)>,
}

impl<'a> DemoRun<'a> {
    fn check_interrupt(&self) -> Result<(), SeedError> {
        if self.interrupt.is_cancelled() {
            return Err(SeedError::DemoInterrupted {
                summary: self.summary.clone(),
            });
        }
        Ok(())
    }

    fn map_failure(&self, result: Result<(), RequestFailure>) -> Result<(), SeedError> {
        result.map_err(|failure| request_failed(&self.summary, failure))
    }

    fn seller(&self, name: &str) -> Result<&'a BrowserSession, RequestFailure> {
        let sellers = &self.seeder.sellers;
        let missing = || RequestFailure::new(format!("{name} is not signed in"));
        sellers.get(name).ok_or_else(missing)
    }

    /// Creates a lead and moves it to its planned status.
    async fn create_lead(&mut self, lead: &'a PlannedLead) -> Result<(), RequestFailure> {
        let seller = self.seller(&lead.seller)?;
        let company = &lead.company;
        let created = seller
            .post("/api/v1/sales/leads")
            .json(&json!({
                "companyName": company.name,
                "contactName": company.contact,
                "contactEmail": company.email,
                "phone": company.phone,
                "notes": company.notes,
            }))
            .expect_status(201)
            .await?;
        let path = format!("/api/v1/sales/leads/{}", created.string_at("/leadId")?);
        let steps: &[&str] = match lead.outcome {
            PlannedLeadOutcome::New => &[],
            PlannedLeadOutcome::Contacted => &["CONTACTED"],
            PlannedLeadOutcome::Disqualified => &["CONTACTED", "DISQUALIFIED"],
            PlannedLeadOutcome::Qualified | PlannedLeadOutcome::Converted(_) => {
                &["CONTACTED", "QUALIFIED"]
            }
        };
        for status in steps {
            seller
                .post(&path)
                .json(&json!({"status": status, "notes": company.notes}))
                .expect_status(200)
                .await?;
        }
        if let PlannedLeadOutcome::Converted(orders) = &lead.outcome {
            let converted = seller
                .post(&format!("{path}/convert"))
                .expect_status(200)
                .await?;
            let client = converted.string_at("/clientId")?;
            self.summary.clients += 1;
            for order in orders {
                self.place_order(seller, &client, order).await?;
            }
        }
        SeedSummary::increment(&mut self.summary.leads, lead.outcome.status());
        Ok(())
    }

    async fn place_order(
        &mut self,
        seller: &BrowserSession,
        client: &str,
        order: &'a PlannedOrder,
    ) -> Result<(), RequestFailure> {
        let today = Utc::now().date_naive();
        let ship_date = today
            .checked_add_days(Days::new(order.ship_in_days.into()))
            .unwrap_or(today);
        let placed = seller
            .post("/api/v1/orders")
            .json(&json!({
                "clientId": client,
                "requestedShipDate": ship_date,
                "items": order.items,
                "notes": order.notes,
            }))
            .expect_status(201)
            .await?;
        self.placed_orders
            .push((placed.string_at("/orderId")?, order));
        SeedSummary::increment(&mut self.summary.orders, "CREATED");
        Ok(())
    }

    /// Scans a shipment, line by line, and dispatches it.
    async fn ship_order(
        &mut self,
        order: &str,
        planned: &PlannedOrder,
        truck: &str,
    ) -> Result<(), RequestFailure> {
        let warehouse = &self.seeder.warehouse;
        let run_id = &self.seeder.run_id;
        let shipment = format!("ship_{}", order.trim_start_matches("ord_"));
        let path = format!("/api/v1/warehouse/shipments/{shipment}");
        for item in &planned.items {
            warehouse
                .post(&format!("{path}/scan"))
                .header(
                    IDEMPOTENCY_KEY,
                    &format!("seed_{run_id}_{order}_{}", item.sku),
                )
                .json(&json!({
                    "barcode": format!("SKU:{}", item.sku),
                    "quantity": item.quantity,
                }))
                .expect_status(200)
                .await?;
        }
        warehouse
            .post(&format!("{path}/dispatch"))
            .header(IDEMPOTENCY_KEY, &format!("seed_{run_id}_{order}"))
            .json(&json!({
                "truckId": truck,
                "dispatchedAt": dm_contracts::time::format(dm_contracts::time::now()),
            }))
            .expect_status(200)
            .await
            .map(drop)
    }

    async fn submit_expense(&mut self, expense: &PlannedExpense) -> Result<(), RequestFailure> {
        let accountant = &self.seeder.accountant;
        let submitted = accountant
            .post("/api/v1/expenses")
            .json(&json!({
                "submitterUserId": expense.submitter,
                "category": expense.category,
                "amount": expense.amount,
                "currency": "USD",
                "description": expense.description,
            }))
            .expect_status(201)
            .await?;
        let body = match &expense.decision {
            PlannedDecision::Pending => None,
            PlannedDecision::Approved => Some(json!({"decision": "APPROVED"})),
            PlannedDecision::Rejected(reason) => {
                Some(json!({"decision": "REJECTED", "comment": reason}))
            }
        };
        let mut status = "PENDING".to_owned();
        if let Some(body) = body {
            let id = submitted.string_at("/expenseId")?;
            let decided = accountant
                .post(&format!("/api/v1/expenses/{id}/decision"))
                .json(&body)
                .expect_status(200)
                .await?;
            status = decided.string_at("/status")?;
        }
        SeedSummary::increment(&mut self.summary.expenses, &status);
        Ok(())
    }

    /// Waits until the selected orders of this run have reached a status, and counts all orders
    /// by status.
    async fn wait_for_orders(
        &mut self,
        status: &str,
        is_selected: impl Fn(&PlannedOrder) -> bool,
    ) -> Result<(), SeedError> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            self.check_interrupt()?;
            let statuses = match self.fetch_order_statuses().await {
                Ok(statuses) => statuses,
                Err(failure) => return Err(request_failed(&self.summary, failure)),
            };
            self.summary.orders.clear();
            for (order, _) in &self.placed_orders {
                let status = statuses.get(order).map_or("CREATED", String::as_str);
                SeedSummary::increment(&mut self.summary.orders, status);
            }
            let pending = self.placed_orders.iter().find(|(order, planned)| {
                is_selected(planned) && statuses.get(order).map(String::as_str) != Some(status)
            });
            let Some((order, _)) = pending else {
                return Ok(());
            };
            if Instant::now() > deadline {
                let current = statuses.get(order).map_or("missing", String::as_str);
                return Err(SeedError::Timeout {
                    reason: format!("order {order} is {current} instead of {status}"),
                    timeout: TIMEOUT,
                });
            }
            tokio::select! {
                () = self.interrupt.cancelled() => {}
                () = sleep(POLL_INTERVAL) => {}
            }
        }
    }

    /// Fetches the statuses of the placed orders, by order id. They are among the newest ones.
    async fn fetch_order_statuses(&self) -> Result<BTreeMap<String, String>, RequestFailure> {
        let Some(seller) = self.seeder.sellers.values().next() else {
            return Ok(BTreeMap::new());
        };
        let placed = self.placed_orders.iter();
        let mut missing: BTreeSet<&str> = placed.map(|(order, _)| order.as_str()).collect();
        let mut statuses = BTreeMap::new();
        read_list(
            "/api/v1/orders?order=newest",
            |path| seller.get(path),
            |orders: Vec<OrderSummary>| {
                for order in orders {
                    if missing.remove(order.order_id.as_str()) {
                        statuses.insert(order.order_id, order.status.as_str().to_owned());
                    }
                }
                if missing.is_empty() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            },
        )
        .await?;
        Ok(statuses)
    }
}

fn request_failed(summary: &SeedSummary, failure: RequestFailure) -> SeedError {
    SeedError::RequestFailed {
        summary: summary.clone(),
        failure: Box::new(failure),
    }
}
