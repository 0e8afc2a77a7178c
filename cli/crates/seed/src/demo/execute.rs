//! Carries a plan out, one request after the other: so a number gives the same ids
//! each time it is taken on a fresh stack.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{Days, Utc};
use dm_contracts::api::list::List;
use dm_contracts::api::stock::StockList;
use dm_gateway_client::{
    BearerClient, BrowserSession, GATEWAY_SECRET, IDEMPOTENCY_KEY, RequestFailure, StackEndpoints,
    new_trace_id,
};
use reqwest::header::HeaderName;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::plan::{
    DemoPlan, PlannedDecision, PlannedExpense, PlannedLead, PlannedLeadOutcome, PlannedOrder,
};
use crate::SeedError;
use crate::SeedSummary;
use crate::seed_file::SeedFile;

/// How long what follows from requests may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How often it is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Whose stock it is.
const INVENTORY_SERVICE: &str = "inventory";
/// Who asks a service by itself.
const USER_ID_HEADER: HeaderName = HeaderName::from_static("x-user-id");

/// People at a stack, and what a run is about.
#[derive(Debug)]
pub struct DemoSeeder {
    sellers: BTreeMap<String, BrowserSession>,
    accountant: BrowserSession,
    warehouse: BearerClient,
    /// Sets the keys of this run's requests apart from those of others.
    run_id: String,
    plan: DemoPlan,
}

/// The companies that a stack knows.
///
/// # Errors
/// [`SeedError::Refused`] where somebody can't sign in or ask.
pub async fn fetch_company_names(
    site: &StackEndpoints,
    file: &SeedFile,
) -> Result<BTreeSet<String>, SeedError> {
    let look = async {
        let seller = BrowserSession::sign_in(site, &file.sellers[0]).await?;
        let leads: List<Value> = seller
            .get("/api/v1/sales/leads")
            .expect_status(200)
            .await?
            .decode()?;
        let names = leads.items.iter();
        Ok(names
            .filter_map(|lead| lead["companyName"].as_str().map(str::to_owned))
            .collect())
    };
    look.await
        .map_err(|fault| request_failed(&SeedSummary::default(), fault))
}

impl DemoSeeder {
    /// Signs everybody in and works the plan out for what the stack has.
    ///
    /// # Errors
    /// Somebody can't sign in, or there are no companies left.
    pub async fn prepare(
        site: &StackEndpoints,
        file: &SeedFile,
        number: u64,
        taken: &BTreeSet<String>,
    ) -> Result<Self, SeedError> {
        let nothing = |fault| request_failed(&SeedSummary::default(), fault);
        let signing_in = async {
            let mut sellers = BTreeMap::new();
            for name in &file.sellers {
                sellers.insert(name.clone(), BrowserSession::sign_in(site, name).await?);
            }
            let accountant = BrowserSession::sign_in(site, &file.accountant).await?;
            let phone = BearerClient::sign_in(site, &file.warehouse).await?;
            let stock = fetch_available_stock(site, &accountant).await?;
            Ok((sellers, accountant, phone, stock))
        };
        let (sellers, accountant, phone, stock) = signing_in.await.map_err(nothing)?;
        let plan = DemoPlan::generate(file, number, taken, &stock);
        if plan.leads.is_empty() {
            return Err(SeedError::NoCompaniesLeft);
        }
        Ok(Self {
            sellers,
            accountant,
            warehouse: phone,
            run_id: new_trace_id(),
            plan,
        })
    }
}

/// What can be promised of each product. No page at the gateway shows it.
async fn fetch_available_stock(
    site: &StackEndpoints,
    person: &BrowserSession,
) -> Result<BTreeMap<String, i64>, RequestFailure> {
    let base = site
        .service_urls
        .iter()
        .find(|(name, _)| *name == INVENTORY_SERVICE)
        .map(|(_, base)| base.as_str())
        .ok_or_else(|| RequestFailure::new("inventory is not part of this stack"))?;
    let list: StockList = person
        .get_from(base, "/internal/stock")
        .header(USER_ID_HEADER, "dm")
        .header(GATEWAY_SECRET, &site.gateway_secret)
        .expect_status(200)
        .await?
        .decode()?;
    Ok(list
        .items
        .into_iter()
        .map(|level| (level.sku, level.available))
        .collect())
}

/// Carries the plan out. `told` gets a sentence at each part of it.
///
/// # Errors
/// A service refuses; what follows does not come about in time; an interrupt. The
/// error says what there is by then.
pub async fn execute_plan(
    filling: &DemoSeeder,
    interrupt: &CancellationToken,
    mut on_progress: impl FnMut(&str),
) -> Result<SeedSummary, SeedError> {
    let mut run = DemoRun {
        seeder: filling,
        interrupt,
        summary: SeedSummary::default(),
        placed_orders: Vec::new(),
    };
    on_progress(&format!("{} leads", filling.plan.leads.len()));
    for lead in &filling.plan.leads {
        run.check_interrupt()?;
        let result = run.create_lead(lead).await;
        run.map_failure(result)?;
    }
    on_progress(&format!(
        "waiting until {} orders are reserved",
        run.placed_orders.len()
    ));
    run.wait_for_orders("RESERVED", |_| true).await?;
    let leaving = run
        .placed_orders
        .iter()
        .filter(|(_, it)| it.truck.is_some());
    on_progress(&format!("dispatching {} of them", leaving.count()));
    for (order, planned) in run.placed_orders.clone() {
        if let Some(truck) = &planned.truck {
            run.check_interrupt()?;
            let result = run.ship_order(&order, planned, truck).await;
            run.map_failure(result)?;
        }
    }
    run.wait_for_orders("SHIPPED", |planned| planned.truck.is_some())
        .await?;
    on_progress(&format!("{} expenses", filling.plan.expenses.len()));
    for expense in &filling.plan.expenses {
        run.check_interrupt()?;
        let result = run.submit_expense(expense).await;
        run.map_failure(result)?;
    }
    Ok(run.summary)
}

/// A plan that is being carried out.
struct DemoRun<'a> {
    seeder: &'a DemoSeeder,
    interrupt: &'a CancellationToken,
    summary: SeedSummary,
    /// The orders by id.
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
        result.map_err(|fault| request_failed(&self.summary, fault))
    }

    fn seller(&self, name: &str) -> Result<&'a BrowserSession, RequestFailure> {
        let sellers = &self.seeder.sellers;
        let missing = || RequestFailure::new(format!("{name} is not signed in"));
        sellers.get(name).ok_or_else(missing)
    }

    /// A lead, as far as it comes.
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
        let day = today
            .checked_add_days(Days::new(order.ship_in_days.into()))
            .unwrap_or(today);
        let placed = seller
            .post("/api/v1/orders")
            .json(&json!({
                "clientId": client,
                "requestedShipDate": day,
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

    /// Scans a shipment, line by line, and sends it off.
    async fn ship_order(
        &mut self,
        order: &str,
        planned: &PlannedOrder,
        truck: &str,
    ) -> Result<(), RequestFailure> {
        let phone = &self.seeder.warehouse;
        let run = &self.seeder.run_id;
        let shipment = format!("ship_{}", order.trim_start_matches("ord_"));
        let path = format!("/api/v1/warehouse/shipments/{shipment}");
        for item in &planned.items {
            phone
                .post(&format!("{path}/scan"))
                .header(IDEMPOTENCY_KEY, &format!("seed_{run}_{order}_{}", item.sku))
                .json(&json!({
                    "barcode": format!("SKU:{}", item.sku),
                    "quantity": item.quantity,
                }))
                .expect_status(200)
                .await?;
        }
        phone
            .post(&format!("{path}/dispatch"))
            .header(IDEMPOTENCY_KEY, &format!("seed_{run}_{order}"))
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

    /// Waits until those of this run's orders have come to a status, and counts all
    /// of them.
    async fn wait_for_orders(
        &mut self,
        status: &str,
        concerned: impl Fn(&PlannedOrder) -> bool,
    ) -> Result<(), SeedError> {
        let until = Instant::now() + TIMEOUT;
        loop {
            self.check_interrupt()?;
            let statuses = match self.fetch_order_statuses().await {
                Ok(statuses) => statuses,
                Err(fault) => return Err(request_failed(&self.summary, fault)),
            };
            self.summary.orders.clear();
            for (order, _) in &self.placed_orders {
                let status = statuses.get(order).map_or("CREATED", String::as_str);
                SeedSummary::increment(&mut self.summary.orders, status);
            }
            let late = self.placed_orders.iter().find(|(order, planned)| {
                concerned(planned) && statuses.get(order).map(String::as_str) != Some(status)
            });
            let Some((order, _)) = late else {
                return Ok(());
            };
            if Instant::now() > until {
                let found = statuses.get(order).map_or("missing", String::as_str);
                return Err(SeedError::Timeout {
                    reason: format!("order {order} is {found} instead of {status}"),
                    timeout: TIMEOUT,
                });
            }
            tokio::select! {
                () = self.interrupt.cancelled() => {}
                () = sleep(POLL_INTERVAL) => {}
            }
        }
    }

    /// All orders' statuses by id.
    async fn fetch_order_statuses(&self) -> Result<BTreeMap<String, String>, RequestFailure> {
        let Some(seller) = self.seeder.sellers.values().next() else {
            return Ok(BTreeMap::new());
        };
        let list: List<Value> = seller
            .get("/api/v1/orders")
            .expect_status(200)
            .await?
            .decode()?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(list
            .items
            .iter()
            .map(|order| (text(&order["orderId"]), text(&order["status"])))
            .collect())
    }
}

fn request_failed(summary: &SeedSummary, failure: RequestFailure) -> SeedError {
    SeedError::RequestFailed {
        summary: summary.clone(),
        failure: Box::new(failure),
    }
}
