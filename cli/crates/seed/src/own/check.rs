//! Records as facts, or what is wrong with them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use dm_business::facts::{Client, Decision, Expense, Item, Lead, LeadEnd, Order, OrderEnd};
use dm_contracts::rules;

use super::checked::{Checked, same, short};
use super::record::{Record, Value};
use super::{Issue, Place, Spot};

/// What the stack has already, which files may name.
#[derive(Debug, Clone, Default)]
pub struct Ground {
    /// Products.
    pub skus: BTreeSet<String>,
    /// Clients, by id.
    pub clients: BTreeSet<String>,
}

impl Ground {
    /// The clients, those that came first first.
    #[must_use]
    pub fn clients_in_order(&self) -> Vec<String> {
        let mut clients: Vec<String> = self.clients.iter().cloned().collect();
        clients.sort_by(|one, other| (one.len(), one).cmp(&(other.len(), other)));
        clients
    }
}

/// The facts of a file in the order in which they happened, with the place of each.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Placed<T>(Vec<(T, Place)>);

impl<T> Default for Placed<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Placed<T> {
    fn push(&mut self, fact: T, record: &Record) {
        let place = Place {
            file: record.file.clone(),
            spot: record.spot,
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
    pub(super) fn apart(self) -> (Vec<T>, Vec<Place>) {
        self.0.into_iter().unzip()
    }
}

/// The leads, in the order in which they came.
pub(super) fn leads(records: &[Record], issues: &mut BTreeSet<Issue>) -> Placed<Lead> {
    let mut seen: BTreeMap<String, Spot> = BTreeMap::new();
    let mut leads = Placed::default();
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
        let mut it = Checked::begin(record, &known, issues);
        let company = it.text("company", rules::LONGEST_LINE);
        if let Some(spot) = seen.get(&same(&company)) {
            it.wrong("company", format!("it is already in line {spot}"));
        }
        seen.entry(same(&company)).or_insert(record.spot);
        let created_at = it.instant("created_at", None);
        let status = it.word(
            "status",
            &["NEW", "CONTACTED", "QUALIFIED", "DISQUALIFIED", "CONVERTED"],
        );
        let updated_at = if it.has("updated_at") {
            it.instant("updated_at", Some(created_at))
        } else {
            created_at
        };
        let lead = Lead {
            index: 0,
            company,
            contact: it.text("contact", rules::LONGEST_LINE),
            email: it.email("email"),
            phone: it.text("phone", rules::LONGEST_LINE),
            notes: it.optional("notes", rules::LONGEST_NOTES),
            seller: it.user("seller"),
            created_at,
            updated_at,
            end: match status {
                "CONTACTED" => LeadEnd::Contacted,
                "QUALIFIED" => LeadEnd::Qualified,
                "DISQUALIFIED" => LeadEnd::Disqualified,
                "CONVERTED" => LeadEnd::Converted { client: 0 },
                _ => LeadEnd::New,
            },
        };
        leads.push(lead, record);
    }
    leads.sort_by_key(|lead| lead.created_at);
    let mut clients = 0;
    for (index, lead) in (0..).zip(leads.facts_mut()) {
        lead.index = index;
        if let LeadEnd::Converted { client } = &mut lead.end {
            *client = clients;
            clients += 1;
        }
    }
    leads
}

/// The clients that leads have become, by company.
pub(super) fn clients(leads: &Placed<Lead>) -> BTreeMap<String, (u64, DateTime<Utc>)> {
    let converted = leads.facts().filter_map(|lead| match lead.end {
        LeadEnd::Converted { client } => Some((same(&lead.company), (client, lead.updated_at))),
        _ => None,
    });
    converted.collect()
}

/// The orders, in the order in which they came.
pub(super) fn orders(
    records: &[Record],
    clients: &BTreeMap<String, (u64, DateTime<Utc>)>,
    ground: &Ground,
    issues: &mut BTreeSet<Issue>,
) -> Placed<Order> {
    let mut orders = Placed::default();
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
        let mut it = Checked::begin(record, &known, issues);
        let name = it.text("client", rules::LONGEST_LINE);
        let (client, since) = match clients.get(&same(&name)) {
            Some((client, since)) => (Client::OfRun(*client), Some(*since)),
            None => {
                if !name.is_empty() && !ground.clients.contains(&name) {
                    let name = short(&name);
                    let reason = format!(
                        "`{name}` is neither a company of `leads` with the status CONVERTED \
                         nor the id of an existing client"
                    );
                    it.wrong("client", reason);
                }
                (Client::Known(name), None)
            }
        };
        let created_at = it.instant("created_at", since);
        let items = items(&mut it, ground);
        let end = match it.word("status", &["RESERVED", "SHIPPED"]) {
            "SHIPPED" => OrderEnd::Shipped {
                by: it.user("shipped_by"),
                truck: it.text("truck", rules::LONGEST_TRUCK_ID),
                at: it.instant("shipped_at", Some(created_at)),
            },
            _ => {
                for column in ["shipped_at", "shipped_by", "truck"] {
                    if it.has(column) {
                        it.wrong(column, "allowed only for orders with status SHIPPED");
                    }
                }
                OrderEnd::Reserved
            }
        };
        let order = Order {
            index: 0,
            client,
            seller: it.user("seller"),
            created_at,
            ship_date: it.date("ship_date"),
            items,
            notes: it.optional("notes", rules::LONGEST_NOTES),
            end,
        };
        orders.push(order, record);
    }
    orders.sort_by_key(|order| order.created_at);
    for (index, order) in (0..).zip(orders.facts_mut()) {
        order.index = index;
    }
    orders
}

fn items(it: &mut Checked<'_>, ground: &Ground) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    let pairs = pairs(it);
    if pairs.len() > rules::MOST_ITEMS {
        let (count, most) = (pairs.len(), rules::MOST_ITEMS);
        it.wrong(
            "items",
            format!("{count} products, and at most {most} are allowed"),
        );
        return items;
    }
    for (sku, quantity) in pairs {
        let sku = sku.trim();
        // As order-service has it: a number of JSON without a point.
        let Ok(quantity) = serde_json::from_str::<i32>(&quantity) else {
            let (sku, quantity) = (short(sku), short(&quantity));
            it.wrong(
                "items",
                format!("`{quantity}` of `{sku}` is not a quantity such as 40"),
            );
            continue;
        };
        if !ground.skus.contains(sku) {
            it.wrong("items", format!("there is no product `{}`", short(sku)));
        } else if sku.chars().count() > rules::LONGEST_SKU {
            let reason = format!(
                "`{}` has {} characters, and at most {} are allowed",
                short(sku),
                sku.chars().count(),
                rules::LONGEST_SKU
            );
            it.wrong("items", reason);
        } else if quantity < 1 {
            it.wrong(
                "items",
                format!("{quantity} of `{sku}`: it must be 1 or more"),
            );
        } else if items.iter().any(|item| item.sku == sku) {
            it.wrong("items", format!("`{sku}` is listed twice"));
        }
        items.push(Item {
            sku: sku.to_owned(),
            quantity: quantity.into(),
        });
    }
    items
}

/// What the column of items says: each SKU with its quantity.
fn pairs(it: &mut Checked<'_>) -> Vec<(String, String)> {
    if let Some(Value::Items(items)) = it.record.get("items") {
        if items.is_empty() {
            it.wrong("items", "missing");
        }
        return items.clone();
    }
    if let Some(Value::Other(what)) = it.record.get("items") {
        let reason = format!("expected a list of {{\"sku\": …, \"quantity\": …}}, found {what}");
        it.wrong("items", reason);
        return Vec::new();
    }
    it.needed("items");
    let text = it.given("items").unwrap_or_default();
    let mut pairs = Vec::new();
    for part in text.split(';').map(str::trim) {
        if part.is_empty() {
            continue;
        }
        match part.rsplit_once(':') {
            Some((sku, quantity)) => pairs.push((sku.to_owned(), quantity.trim().to_owned())),
            None => {
                let part = short(part);
                let reason = format!("`{part}` is not SKU:quantity, e.g. PPR-A4-WHT-500:40");
                it.wrong("items", reason);
            }
        }
    }
    if pairs.is_empty() && !text.is_empty() && text.split(';').all(|part| part.trim().is_empty()) {
        it.wrong("items", "missing");
    }
    pairs
}

/// The expenses, in the order in which they came.
pub(super) fn expenses(records: &[Record], issues: &mut BTreeSet<Issue>) -> Placed<Expense> {
    let mut expenses = Placed::default();
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
        let mut it = Checked::begin(record, &known, issues);
        let created_at = it.instant("created_at", None);
        let amount = it.amount("amount");
        let status = it.word("status", &["PENDING", "APPROVED", "REJECTED"]);
        let decision = if status == "PENDING" {
            for column in ["decided_by", "decided_at", "comment"] {
                if it.has(column) {
                    it.wrong(column, "allowed only for decided expenses");
                }
            }
            None
        } else {
            let comment = if status == "REJECTED" {
                it.text("comment", rules::LONGEST_REMARK)
            } else {
                it.optional("comment", rules::LONGEST_REMARK)
            };
            Some(Decision {
                approved: status == "APPROVED",
                by: it.user("decided_by"),
                at: it.instant("decided_at", Some(created_at)),
                comment,
            })
        };
        let currency = it.optional("currency", rules::LONGEST_CURRENCY);
        let expense = Expense {
            index: 0,
            submitter: it.user("submitter"),
            category: it.text("category", rules::LONGEST_CATEGORY),
            amount,
            currency: if currency.is_empty() {
                "USD".to_owned()
            } else {
                currency.to_uppercase()
            },
            description: it.text("description", rules::LONGEST_REMARK),
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
