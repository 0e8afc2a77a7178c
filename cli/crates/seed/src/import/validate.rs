//! Records as facts, or what is wrong with them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use dm_contracts::validation;
use dm_history::model::{
    ClientRef, Expense, ExpenseDecision, Lead, LeadOutcome, Order, OrderLine, OrderOutcome,
};

use super::record::{FieldValue, ImportRecord};
use super::record_validator::{RecordValidator, abbreviate, normalize_name};
use super::{RecordSource, TextPosition, ValidationIssue};

/// What the stack has already, which files may name.
#[derive(Debug, Clone, Default)]
pub struct ReferenceData {
    /// Products.
    pub skus: BTreeSet<String>,
    /// Clients, by id.
    pub client_ids: BTreeSet<String>,
}

impl ReferenceData {
    /// The clients, those that came first first.
    #[must_use]
    pub fn client_ids_oldest_first(&self) -> Vec<String> {
        let mut clients: Vec<String> = self.client_ids.iter().cloned().collect();
        clients.sort_by(|one, other| (one.len(), one).cmp(&(other.len(), other)));
        clients
    }
}

/// The facts of a file in the order in which they happened, with the place of each.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ImportedFacts<T>(Vec<(T, RecordSource)>);

impl<T> Default for ImportedFacts<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> ImportedFacts<T> {
    fn push(&mut self, fact: T, record: &ImportRecord) {
        let place = RecordSource {
            file: record.file.clone(),
            position: record.position,
        };
        self.0.push((fact, place));
    }

    fn sort_by_key<K: Ord>(&mut self, key: impl Fn(&T) -> K) {
        self.0.sort_by_key(|(fact, _)| key(fact));
    }

    fn facts_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().map(|(fact, _)| fact)
    }

    /// The facts.
    pub(super) fn facts(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|(fact, _)| fact)
    }

    /// The facts, and their places.
    pub(super) fn unzip(self) -> (Vec<T>, Vec<RecordSource>) {
        self.0.into_iter().unzip()
    }
}

/// The leads, in the order in which they came.
pub(super) fn validate_leads(
    records: &[ImportRecord],
    issues: &mut BTreeSet<ValidationIssue>,
) -> ImportedFacts<Lead> {
    let mut seen: BTreeMap<String, TextPosition> = BTreeMap::new();
    let mut leads = ImportedFacts::default();
    for record in records {
        let known = [
            "company",
            "contact",
            "email",
            "phone",
            "seller",
            "created_at",
            "status",
            "updated_at",
            "notes",
        ];
        let mut it = RecordValidator::new(record, &known, issues);
        let company = it.required_text("company", validation::MAX_LINE_LENGTH);
        if let Some(spot) = seen.get(&normalize_name(&company)) {
            it.add_issue("company", format!("it is already in line {spot}"));
        }
        seen.entry(normalize_name(&company))
            .or_insert(record.position);
        let created_at = it.past_instant("created_at", None);
        let status = it.keyword(
            "status",
            &["NEW", "CONTACTED", "QUALIFIED", "DISQUALIFIED", "CONVERTED"],
        );
        let updated_at = if it.has_value("updated_at") {
            it.past_instant("updated_at", Some(created_at))
        } else {
            created_at
        };
        let lead = Lead {
            index: 0,
            company,
            contact: it.required_text("contact", validation::MAX_LINE_LENGTH),
            email: it.email("email"),
            phone: it.required_text("phone", validation::MAX_LINE_LENGTH),
            notes: it.optional_text("notes", validation::MAX_NOTES_LENGTH),
            seller: it.user_id("seller"),
            created_at,
            updated_at,
            outcome: match status {
                "CONTACTED" => LeadOutcome::Contacted,
                "QUALIFIED" => LeadOutcome::Qualified,
                "DISQUALIFIED" => LeadOutcome::Disqualified,
                "CONVERTED" => LeadOutcome::Converted { client_index: 0 },
                _ => LeadOutcome::New,
            },
        };
        leads.push(lead, record);
    }
    leads.sort_by_key(|lead| lead.created_at);
    let mut clients = 0;
    for (index, lead) in (0..).zip(leads.facts_mut()) {
        lead.index = index;
        if let LeadOutcome::Converted {
            client_index: client,
        } = &mut lead.outcome
        {
            *client = clients;
            clients += 1;
        }
    }
    leads
}

/// The clients that leads have become, by company.
pub(super) fn clients_by_company(
    leads: &ImportedFacts<Lead>,
) -> BTreeMap<String, (u64, DateTime<Utc>)> {
    let converted = leads.facts().filter_map(|lead| match lead.outcome {
        LeadOutcome::Converted {
            client_index: client,
        } => Some((normalize_name(&lead.company), (client, lead.updated_at))),
        _ => None,
    });
    converted.collect()
}

/// The orders, in the order in which they came.
pub(super) fn validate_orders(
    records: &[ImportRecord],
    clients: &BTreeMap<String, (u64, DateTime<Utc>)>,
    ground: &ReferenceData,
    issues: &mut BTreeSet<ValidationIssue>,
) -> ImportedFacts<Order> {
    let mut orders = ImportedFacts::default();
    for record in records {
        let known = [
            "client",
            "seller",
            "created_at",
            "ship_date",
            "items",
            "notes",
            "status",
            "shipped_at",
            "shipped_by",
            "truck",
        ];
        let mut it = RecordValidator::new(record, &known, issues);
        let name = it.required_text("client", validation::MAX_LINE_LENGTH);
        let (client, since) = match clients.get(&normalize_name(&name)) {
            Some((client, since)) => (ClientRef::InRun(*client), Some(*since)),
            None => {
                if !name.is_empty() && !ground.client_ids.contains(&name) {
                    let name = abbreviate(&name);
                    let reason = format!(
                        "`{name}` is neither a company of `leads` with the status CONVERTED \
                         nor the id of an existing client"
                    );
                    it.add_issue("client", reason);
                }
                (ClientRef::Existing(name), None)
            }
        };
        let created_at = it.past_instant("created_at", since);
        let items = validate_items(&mut it, ground);
        let end = match it.keyword("status", &["RESERVED", "SHIPPED"]) {
            "SHIPPED" => OrderOutcome::Shipped {
                shipped_by: it.user_id("shipped_by"),
                truck_id: it.required_text("truck", validation::MAX_TRUCK_ID_LENGTH),
                shipped_at: it.past_instant("shipped_at", Some(created_at)),
            },
            _ => {
                for column in ["shipped_at", "shipped_by", "truck"] {
                    if it.has_value(column) {
                        it.add_issue(column, "allowed only for orders with status SHIPPED");
                    }
                }
                OrderOutcome::Reserved
            }
        };
        let order = Order {
            index: 0,
            client,
            seller: it.user_id("seller"),
            created_at,
            ship_date: it.date("ship_date"),
            items,
            notes: it.optional_text("notes", validation::MAX_NOTES_LENGTH),
            outcome: end,
        };
        orders.push(order, record);
    }
    orders.sort_by_key(|order| order.created_at);
    for (index, order) in (0..).zip(orders.facts_mut()) {
        order.index = index;
    }
    orders
}

fn validate_items(it: &mut RecordValidator<'_>, ground: &ReferenceData) -> Vec<OrderLine> {
    let mut items: Vec<OrderLine> = Vec::new();
    let pairs = parse_items(it);
    if pairs.len() > validation::MAX_ORDER_ITEMS {
        let (count, most) = (pairs.len(), validation::MAX_ORDER_ITEMS);
        it.add_issue(
            "items",
            format!("{count} products, and at most {most} are allowed"),
        );
        return items;
    }
    for (sku, quantity) in pairs {
        let sku = sku.trim();
        // As order-service has it: a number of JSON without a point.
        let Ok(quantity) = serde_json::from_str::<i32>(&quantity) else {
            let (sku, quantity) = (abbreviate(sku), abbreviate(&quantity));
            it.add_issue(
                "items",
                format!("`{quantity}` of `{sku}` is not a quantity such as 40"),
            );
            continue;
        };
        if !ground.skus.contains(sku) {
            it.add_issue(
                "items",
                format!("there is no product `{}`", abbreviate(sku)),
            );
        } else if sku.chars().count() > validation::MAX_SKU_LENGTH {
            let reason = format!(
                "`{}` has {} characters, and at most {} are allowed",
                abbreviate(sku),
                sku.chars().count(),
                validation::MAX_SKU_LENGTH
            );
            it.add_issue("items", reason);
        } else if quantity < 1 {
            it.add_issue(
                "items",
                format!("{quantity} of `{sku}`: it must be 1 or more"),
            );
        } else if items.iter().any(|item| item.sku == sku) {
            it.add_issue("items", format!("`{sku}` is listed twice"));
        }
        items.push(OrderLine {
            sku: sku.to_owned(),
            quantity: quantity.into(),
        });
    }
    items
}

/// What the column of items says: each SKU with its quantity.
fn parse_items(it: &mut RecordValidator<'_>) -> Vec<(String, String)> {
    if let Some(FieldValue::Items(items)) = it.record.get("items") {
        if items.is_empty() {
            it.add_issue("items", "missing");
        }
        return items.clone();
    }
    if let Some(FieldValue::Unsupported(what)) = it.record.get("items") {
        let reason = format!("expected a list of {{\"sku\": …, \"quantity\": …}}, found {what}");
        it.add_issue("items", reason);
        return Vec::new();
    }
    it.require("items");
    let text = it.trimmed_text("items").unwrap_or_default();
    let mut pairs = Vec::new();
    for part in text.split(';').map(str::trim) {
        if part.is_empty() {
            continue;
        }
        match part.rsplit_once(':') {
            Some((sku, quantity)) => pairs.push((sku.to_owned(), quantity.trim().to_owned())),
            None => {
                let part = abbreviate(part);
                let reason = format!("`{part}` is not SKU:quantity, e.g. PPR-A4-WHT-500:40");
                it.add_issue("items", reason);
            }
        }
    }
    if pairs.is_empty() && !text.is_empty() && text.split(';').all(|part| part.trim().is_empty()) {
        it.add_issue("items", "missing");
    }
    pairs
}

/// The expenses, in the order in which they came.
pub(super) fn validate_expenses(
    records: &[ImportRecord],
    issues: &mut BTreeSet<ValidationIssue>,
) -> ImportedFacts<Expense> {
    let mut expenses = ImportedFacts::default();
    for record in records {
        let known = [
            "submitter",
            "category",
            "amount",
            "currency",
            "description",
            "created_at",
            "status",
            "decided_by",
            "decided_at",
            "comment",
        ];
        let mut it = RecordValidator::new(record, &known, issues);
        let created_at = it.past_instant("created_at", None);
        let amount = it.amount("amount");
        let status = it.keyword("status", &["PENDING", "APPROVED", "REJECTED"]);
        let decision = if status == "PENDING" {
            for column in ["decided_by", "decided_at", "comment"] {
                if it.has_value(column) {
                    it.add_issue(column, "allowed only for decided expenses");
                }
            }
            None
        } else {
            let comment = if status == "REJECTED" {
                it.required_text("comment", validation::MAX_REMARK_LENGTH)
            } else {
                it.optional_text("comment", validation::MAX_REMARK_LENGTH)
            };
            Some(ExpenseDecision {
                is_approved: status == "APPROVED",
                decided_by: it.user_id("decided_by"),
                decided_at: it.past_instant("decided_at", Some(created_at)),
                comment,
            })
        };
        let currency = it.optional_text("currency", validation::MAX_CURRENCY_LENGTH);
        let expense = Expense {
            index: 0,
            submitter: it.user_id("submitter"),
            category: it.required_text("category", validation::MAX_CATEGORY_LENGTH),
            amount,
            currency: if currency.is_empty() {
                "USD".to_owned()
            } else {
                currency.to_uppercase()
            },
            description: it.required_text("description", validation::MAX_REMARK_LENGTH),
            created_at,
            decision,
        };
        expenses.push(expense, record);
    }
    expenses.sort_by_key(|expense| expense.created_at);
    for (index, expense) in (0..).zip(expenses.facts_mut()) {
        expense.index = index;
    }
    expenses
}
