//! Carries a plan out, one request after the other: so a number gives the same ids
//! each time it is taken on a fresh stack.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{Days, Utc};
use dm_contracts::api::list::List;
use dm_contracts::api::stock::StockList;
use dm_gateway_client::{Fault, GATEWAY_SECRET, IDEMPOTENCY_KEY, Person, Phone, Site, trace_id};
use reqwest::header::HeaderName;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::plan::{Decision, End, Plan, PlannedExpense, PlannedLead, PlannedOrder};
use crate::Made;
use crate::SeedError;
use crate::file::SeedFile;

/// How long what follows from requests may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Whose stock it is.
const INVENTORY: &str = "inventory";
/// Who asks a service by itself.
const USER_ID: HeaderName = HeaderName::from_static("x-user-id");

/// People at a stack, and what a run is about.
#[derive(Debug)]
pub struct Filling {
    sellers: BTreeMap<String, Person>,
    accountant: Person,
    phone: Phone,
    /// Sets the keys of this run's requests apart from those of others.
    run: String,
    plan: Plan,
}

/// The companies that a stack knows.
///
/// # Errors
/// [`SeedError::Refused`] where somebody can't sign in or ask.
pub async fn companies(site: &Site, file: &SeedFile) -> Result<BTreeSet<String>, SeedError> {
    let look = async {
        let seller = Person::sign_in(site, &file.sellers[0]).await?;
        let leads: List<Value> = seller
            .get("/api/v1/sales/leads")
            .expect(200)
            .await?
            .body()?;
        let names = leads.items.iter();
        Ok(names
            .filter_map(|lead| lead["companyName"].as_str().map(str::to_owned))
            .collect())
    };
    look.await.map_err(|fault| refused(&Made::default(), fault))
}

impl Filling {
    /// Signs everybody in and works the plan out for what the stack has.
    ///
    /// # Errors
    /// Somebody can't sign in, or there are no companies left.
    pub async fn prepare(
        site: &Site,
        file: &SeedFile,
        number: u64,
        taken: &BTreeSet<String>,
    ) -> Result<Self, SeedError> {
        let nothing = |fault| refused(&Made::default(), fault);
        let signing_in = async {
            let mut sellers = BTreeMap::new();
            for name in &file.sellers {
                sellers.insert(name.clone(), Person::sign_in(site, name).await?);
            }
            let accountant = Person::sign_in(site, &file.accountant).await?;
            let phone = Phone::sign_in(site, &file.warehouse).await?;
            let stock = stock(site, &accountant).await?;
            Ok((sellers, accountant, phone, stock))
        };
        let (sellers, accountant, phone, stock) = signing_in.await.map_err(nothing)?;
        let plan = Plan::of(file, number, taken, &stock);
        if plan.leads.is_empty() {
            return Err(SeedError::Exhausted);
        }
        Ok(Self {
            sellers,
            accountant,
            phone,
            run: trace_id(),
            plan,
        })
    }
}

/// What can be promised of each product. No page at the gateway shows it.
async fn stock(site: &Site, person: &Person) -> Result<BTreeMap<String, i64>, Fault> {
    let base = site
        .services
        .iter()
        .find(|(name, _)| *name == INVENTORY)
        .map(|(_, base)| base.as_str())
        .ok_or_else(|| Fault::new("inventory is not part of this stack"))?;
    let list: StockList = person
        .get_from(base, "/internal/stock")
        .header(USER_ID, "dm")
        .header(GATEWAY_SECRET, &site.gateway_secret)
        .expect(200)
        .await?
        .body()?;
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
pub async fn fill(
    filling: &Filling,
    interrupt: &CancellationToken,
    mut told: impl FnMut(&str),
) -> Result<Made, SeedError> {
    let mut run = Run {
        filling,
        interrupt,
        made: Made::default(),
        placed: Vec::new(),
    };
    told(&format!("{} leads", filling.plan.leads.len()));
    for lead in &filling.plan.leads {
        run.check()?;
        let result = run.lead(lead).await;
        run.settle(result)?;
    }
    told(&format!(
        "waiting until {} orders are reserved",
        run.placed.len()
    ));
    run.wait("RESERVED", |_| true).await?;
    let leaving = run.placed.iter().filter(|(_, it)| it.truck.is_some());
    told(&format!("dispatching {} of them", leaving.count()));
    for (order, planned) in run.placed.clone() {
        if let Some(truck) = &planned.truck {
            run.check()?;
            let result = run.ship(&order, planned, truck).await;
            run.settle(result)?;
        }
    }
    run.wait("SHIPPED", |planned| planned.truck.is_some())
        .await?;
    told(&format!("{} expenses", filling.plan.expenses.len()));
    for expense in &filling.plan.expenses {
        run.check()?;
        let result = run.expense(expense).await;
        run.settle(result)?;
    }
    Ok(run.made)
}

/// A plan that is being carried out.
struct Run<'a> {
    filling: &'a Filling,
    interrupt: &'a CancellationToken,
    made: Made,
    /// The orders by id.
    placed: Vec<(String, &'a PlannedOrder)>,
}

impl<'a> Run<'a> {
    fn check(&self) -> Result<(), SeedError> {
        if self.interrupt.is_cancelled() {
            return Err(SeedError::Interrupted {
                made: self.made.clone(),
            });
        }
        Ok(())
    }

    fn settle(&self, result: Result<(), Fault>) -> Result<(), SeedError> {
        result.map_err(|fault| refused(&self.made, fault))
    }

    fn seller(&self, name: &str) -> Result<&'a Person, Fault> {
        let sellers = &self.filling.sellers;
        let missing = || Fault::new(format!("{name} is not signed in"));
        sellers.get(name).ok_or_else(missing)
    }

    /// A lead, as far as it comes.
    async fn lead(&mut self, lead: &'a PlannedLead) -> Result<(), Fault> {
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
            .expect(201)
            .await?;
        let path = format!("/api/v1/sales/leads/{}", created.text_at("/leadId")?);
        let steps: &[&str] = match lead.end {
            End::New => &[],
            End::Contacted => &["CONTACTED"],
            End::Disqualified => &["CONTACTED", "DISQUALIFIED"],
            End::Qualified | End::Client(_) => &["CONTACTED", "QUALIFIED"],
        };
        for status in steps {
            seller
                .post(&path)
                .json(&json!({"status": status, "notes": company.notes}))
                .expect(200)
                .await?;
        }
        if let End::Client(orders) = &lead.end {
            let converted = seller.post(&format!("{path}/convert")).expect(200).await?;
            let client = converted.text_at("/clientId")?;
            self.made.clients += 1;
            for order in orders {
                self.order(seller, &client, order).await?;
            }
        }
        Made::count(&mut self.made.leads, lead.end.status());
        Ok(())
    }

    async fn order(
        &mut self,
        seller: &Person,
        client: &str,
        order: &'a PlannedOrder,
    ) -> Result<(), Fault> {
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
            .expect(201)
            .await?;
        self.placed.push((placed.text_at("/orderId")?, order));
        Made::count(&mut self.made.orders, "CREATED");
        Ok(())
    }

    /// Scans a shipment, line by line, and sends it off.
    async fn ship(
        &mut self,
        order: &str,
        planned: &PlannedOrder,
        truck: &str,
    ) -> Result<(), Fault> {
        let phone = &self.filling.phone;
        let run = &self.filling.run;
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
                .expect(200)
                .await?;
        }
        phone
            .post(&format!("{path}/dispatch"))
            .header(IDEMPOTENCY_KEY, &format!("seed_{run}_{order}"))
            .json(&json!({
                "truckId": truck,
                "dispatchedAt": dm_contracts::time::format(dm_contracts::time::now()),
            }))
            .expect(200)
            .await
            .map(drop)
    }

    async fn expense(&mut self, expense: &PlannedExpense) -> Result<(), Fault> {
        let accountant = &self.filling.accountant;
        let submitted = accountant
            .post("/api/v1/expenses")
            .json(&json!({
                "submitterUserId": expense.submitter,
                "category": expense.category,
                "amount": expense.amount,
                "currency": "USD",
                "description": expense.description,
            }))
            .expect(201)
            .await?;
        let body = match &expense.decision {
            Decision::Pending => None,
            Decision::Approved => Some(json!({"decision": "APPROVED"})),
            Decision::Rejected(reason) => Some(json!({"decision": "REJECTED", "comment": reason})),
        };
        let mut status = "PENDING".to_owned();
        if let Some(body) = body {
            let id = submitted.text_at("/expenseId")?;
            let decided = accountant
                .post(&format!("/api/v1/expenses/{id}/decision"))
                .json(&body)
                .expect(200)
                .await?;
            status = decided.text_at("/status")?;
        }
        Made::count(&mut self.made.expenses, &status);
        Ok(())
    }

    /// Waits until those of this run's orders have come to a status, and counts all
    /// of them.
    async fn wait(
        &mut self,
        status: &str,
        concerned: impl Fn(&PlannedOrder) -> bool,
    ) -> Result<(), SeedError> {
        let until = Instant::now() + PATIENCE;
        loop {
            self.check()?;
            let statuses = match self.statuses().await {
                Ok(statuses) => statuses,
                Err(fault) => return Err(refused(&self.made, fault)),
            };
            self.made.orders.clear();
            for (order, _) in &self.placed {
                let status = statuses.get(order).map_or("CREATED", String::as_str);
                Made::count(&mut self.made.orders, status);
            }
            let late = self.placed.iter().find(|(order, planned)| {
                concerned(planned) && statuses.get(order).map(String::as_str) != Some(status)
            });
            let Some((order, _)) = late else {
                return Ok(());
            };
            if Instant::now() > until {
                let found = statuses.get(order).map_or("missing", String::as_str);
                return Err(SeedError::Late {
                    what: format!("order {order} is {found} instead of {status}"),
                    patience: PATIENCE,
                });
            }
            tokio::select! {
                () = self.interrupt.cancelled() => {}
                () = sleep(LOOK) => {}
            }
        }
    }

    /// All orders' statuses by id.
    async fn statuses(&self) -> Result<BTreeMap<String, String>, Fault> {
        let Some(seller) = self.filling.sellers.values().next() else {
            return Ok(BTreeMap::new());
        };
        let list: List<Value> = seller.get("/api/v1/orders").expect(200).await?.body()?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(list
            .items
            .iter()
            .map(|order| (text(&order["orderId"]), text(&order["status"])))
            .collect())
    }
}

fn refused(made: &Made, fault: Fault) -> SeedError {
    SeedError::Refused {
        made: made.clone(),
        fault: Box::new(fault),
    }
}
