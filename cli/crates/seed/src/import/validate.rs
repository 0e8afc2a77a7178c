//! Converts records to history, or reports validation issues.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use dm_contracts::validation;
use dm_history::model::{
    ClientRef, Expense, ExpenseDecision, Lead, LeadOutcome, Order, OrderLine, OrderOutcome,
};

use super::record::{FieldValue, ImportRecord};
use super::record_validator::{RecordValidator, abbreviate, normalize_name};
use super::{RecordSource, TextPosition, ValidationIssue};

/// Existing records of the stack that files may reference.
#[derive(Debug, Clone, Default)]
pub struct ReferenceData {
    /// SKUs of the products.
    pub skus: BTreeSet<String>,
    /// Ids of the clients.
    pub client_ids: BTreeSet<String>,
}

impl ReferenceData {
    /// Returns the client ids, the oldest first.
    #[must_use]
    pub fn client_ids_oldest_first(&self) -> Vec<String> {
        let mut clients: Vec<String> = self.client_ids.iter().cloned().collect();
        clients.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        clients
    }
}

/// The facts of a file in chronological order, with their sources.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ImportedFacts<T>(Vec<(T, RecordSource)>);

impl<T> Default for ImportedFacts<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> ImportedFacts<T> {
    fn push(&mut self, fact: T, record: &ImportRecord) {
        let source = RecordSource {
            file: record.file.clone(),
            position: record.position,
        };
        self.0.push((fact, source));
    }

    fn sort_by_key<K: Ord>(&mut self, key: impl Fn(&T) -> K) {
        self.0.sort_by_key(|(fact, _)| key(fact));
    }

    fn facts_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().map(|(fact, _)| fact)
    }

    /// Returns the facts.
    pub(super) fn facts(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|(fact, _)| fact)
    }

    /// Returns the facts and their sources.
    pub(super) fn unzip(self) -> (Vec<T>, Vec<RecordSource>) {
        self.0.into_iter().unzip()
    }
}

/// Converts and validates leads. Returns them in chronological order.
pub(super) fn validate_leads(
    records: &[ImportRecord],
    issues: &mut BTreeSet<ValidationIssue>,
) -> ImportedFacts<Lead> {
    let mut positions: BTreeMap<String, TextPosition> = BTreeMap::new();
    let mut leads = ImportedFacts::default();
    for record in records {
        let columns = [
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
        let mut validator = RecordValidator::new(record, &columns, issues);
        let company = validator.required_text("company", validation::MAX_LINE_LENGTH);
        if let Some(position) = positions.get(&normalize_name(&company)) {
            validator.add_issue("company", format!("it is already in line {position}"));
        }
        positions
            .entry(normalize_name(&company))
            .or_insert(record.position);
        let created_at = validator.past_instant("created_at", None);
        let status = validator.keyword(
            "status",
            &["NEW", "CONTACTED", "QUALIFIED", "DISQUALIFIED", "CONVERTED"],
        );
        let updated_at = if validator.has_value("updated_at") {
            validator.past_instant("updated_at", Some(created_at))
        } else {
            created_at
        };
        let lead = Lead {
            index: 0,
            company,
            contact: validator.required_text("contact", validation::MAX_LINE_LENGTH),
            email: validator.email("email"),
            phone: validator.required_text("phone", validation::MAX_LINE_LENGTH),
            notes: validator.optional_text("notes", validation::MAX_NOTES_LENGTH),
            seller: validator.user_id("seller"),
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
        if let LeadOutcome::Converted { client_index } = &mut lead.outcome {
            *client_index = clients;
            clients += 1;
        }
    }
    leads
}

/// Returns the client index and the conversion time of converted leads, by company.
pub(super) fn clients_by_company(
    leads: &ImportedFacts<Lead>,
) -> BTreeMap<String, (u64, DateTime<Utc>)> {
    let converted = leads.facts().filter_map(|lead| match lead.outcome {
        LeadOutcome::Converted { client_index } => Some((
            normalize_name(&lead.company),
            (client_index, lead.updated_at),
        )),
        _ => None,
    });
    converted.collect()
}

/// Converts and validates orders. Returns them in chronological order.
pub(super) fn validate_orders(
    records: &[ImportRecord],
    clients: &BTreeMap<String, (u64, DateTime<Utc>)>,
    reference: &ReferenceData,
    issues: &mut BTreeSet<ValidationIssue>,
) -> ImportedFacts<Order> {
    let mut orders = ImportedFacts::default();
    for record in records {
        let columns = [
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
        let mut validator = RecordValidator::new(record, &columns, issues);
        let name = validator.required_text("client", validation::MAX_LINE_LENGTH);
        let (client, client_since) = match clients.get(&normalize_name(&name)) {
            Some((index, since)) => (ClientRef::InRun(*index), Some(*since)),
            None => {
                if !name.is_empty() && !reference.client_ids.contains(&name) {
                    let name = abbreviate(&name);
                    let reason = format!(
                        "`{name}` is neither a company of `leads` with the status CONVERTED \
                         nor the id of an existing client"
                    );
                    validator.add_issue("client", reason);
                }
                (ClientRef::Existing(name), None)
            }
        };
        let created_at = validator.past_instant("created_at", client_since);
        let items = validate_items(&mut validator, reference);
        let outcome = match validator.keyword("status", &["RESERVED", "SHIPPED"]) {
            "SHIPPED" => OrderOutcome::Shipped {
                shipped_by: validator.user_id("shipped_by"),
                truck_id: validator.required_text("truck", validation::MAX_TRUCK_ID_LENGTH),
                shipped_at: validator.past_instant("shipped_at", Some(created_at)),
            },
            _ => {
                for column in ["shipped_at", "shipped_by", "truck"] {
                    if validator.has_value(column) {
                        validator.add_issue(column, "allowed only for orders with status SHIPPED");
                    }
                }
                OrderOutcome::Reserved
            }
        };
        let order = Order {
            index: 0,
            client,
            seller: validator.user_id("seller"),
            created_at,
            ship_date: validator.date("ship_date"),
            items,
            notes: validator.optional_text("notes", validation::MAX_NOTES_LENGTH),
            outcome,
        };
        orders.push(order, record);
    }
    orders.sort_by_key(|order| order.created_at);
    for (index, order) in (0..).zip(orders.facts_mut()) {
        order.index = index;
    }
    orders
}

fn validate_items(
    validator: &mut RecordValidator<'_>,
    reference: &ReferenceData,
) -> Vec<OrderLine> {
    let mut items: Vec<OrderLine> = Vec::new();
    let pairs = parse_items(validator);
    if pairs.len() > validation::MAX_ORDER_ITEMS {
        let (count, maximum) = (pairs.len(), validation::MAX_ORDER_ITEMS);
        validator.add_issue(
            "items",
            format!("{count} products, and at most {maximum} are allowed"),
        );
        return items;
    }
    for (sku, quantity) in pairs {
        let sku = sku.trim();
        // The syntax of order-service: an integer of JSON.
        let Ok(quantity) = serde_json::from_str::<i32>(&quantity) else {
            let (sku, quantity) = (abbreviate(sku), abbreviate(&quantity));
            validator.add_issue(
                "items",
                format!("`{quantity}` of `{sku}` is not a quantity such as 40"),
            );
            continue;
        };
        if !reference.skus.contains(sku) {
            validator.add_issue(
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
            validator.add_issue("items", reason);
        } else if quantity < 1 {
            validator.add_issue(
                "items",
                format!("{quantity} of `{sku}`: it must be 1 or more"),
            );
        } else if items.iter().any(|item| item.sku == sku) {
            validator.add_issue("items", format!("`{sku}` is listed twice"));
        }
        items.push(OrderLine {
            sku: sku.to_owned(),
            quantity: quantity.into(),
        });
    }
    items
}

/// Parses the column `items`: SKUs with their quantities.
fn parse_items(validator: &mut RecordValidator<'_>) -> Vec<(String, String)> {
    if let Some(FieldValue::Items(items)) = validator.record.get("items") {
        if items.is_empty() {
            validator.add_issue("items", "missing");
        }
        return items.clone();
    }
    if let Some(FieldValue::Unsupported(actual)) = validator.record.get("items") {
        let reason = format!("expected a list of {{\"sku\": …, \"quantity\": …}}, found {actual}");
        validator.add_issue("items", reason);
        return Vec::new();
    }
    validator.require("items");
    let text = validator.trimmed_text("items").unwrap_or_default();
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
                validator.add_issue("items", reason);
            }
        }
    }
    if pairs.is_empty() && !text.is_empty() && text.split(';').all(|part| part.trim().is_empty()) {
        validator.add_issue("items", "missing");
    }
    pairs
}

/// Converts and validates expenses. Returns them in chronological order.
pub(super) fn validate_expenses(
    records: &[ImportRecord],
    issues: &mut BTreeSet<ValidationIssue>,
) -> ImportedFacts<Expense> {
    let mut expenses = ImportedFacts::default();
    for record in records {
        let columns = [
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
        let mut validator = RecordValidator::new(record, &columns, issues);
        let created_at = validator.past_instant("created_at", None);
        let amount = validator.amount("amount");
        let status = validator.keyword("status", &["PENDING", "APPROVED", "REJECTED"]);
        let decision = if status == "PENDING" {
            for column in ["decided_by", "decided_at", "comment"] {
                if validator.has_value(column) {
                    validator.add_issue(column, "allowed only for decided expenses");
                }
            }
            None
        } else {
            let comment = if status == "REJECTED" {
                validator.required_text("comment", validation::MAX_REMARK_LENGTH)
            } else {
                validator.optional_text("comment", validation::MAX_REMARK_LENGTH)
            };
            Some(ExpenseDecision {
                is_approved: status == "APPROVED",
                decided_by: validator.user_id("decided_by"),
                decided_at: validator.past_instant("decided_at", Some(created_at)),
                comment,
            })
        };
        let currency = validator.optional_text("currency", validation::MAX_CURRENCY_LENGTH);
        let expense = Expense {
            index: 0,
            submitter: validator.user_id("submitter"),
            category: validator.required_text("category", validation::MAX_CATEGORY_LENGTH),
            amount,
            currency: if currency.is_empty() {
                "USD".to_owned()
            } else {
                currency.to_uppercase()
            },
            description: validator.required_text("description", validation::MAX_REMARK_LENGTH),
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
