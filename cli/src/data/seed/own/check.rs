//! Records as facts, or what is wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, Utc};
use dm_business::facts::{Client, Decision, Expense, Item, Lead, LeadEnd, Order, OrderEnd};
use dm_contracts::time;
use rust_decimal::Decimal;

use super::Issue;
use super::records::Record;

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

/// A record that is being checked.
struct Checked<'a> {
    record: &'a Record,
    issues: &'a mut BTreeSet<Issue>,
}

impl<'a> Checked<'a> {
    /// Begins with the names of its values.
    fn begin(record: &'a Record, known: &[&str], issues: &'a mut BTreeSet<Issue>) -> Self {
        for name in record.names().filter(|name| !known.contains(name)) {
            let reason = format!("no such column; there are {}", known.join(", "));
            issues.insert(record.issue(name, reason));
        }
        Self { record, issues }
    }

    fn wrong(&mut self, column: &str, reason: impl Into<String>) {
        self.issues.insert(self.record.issue(column, reason));
    }

    fn optional(&mut self, column: &str) -> String {
        let text = self.record.get(column).unwrap_or_default();
        if text.contains('\0') {
            self.wrong(column, "a NUL, which no database takes");
        }
        text.to_owned()
    }

    fn text(&mut self, column: &str) -> String {
        if self.record.get(column).is_none() {
            self.wrong(column, "missing");
        }
        self.optional(column)
    }

    fn parsed<T: FromStr>(&mut self, column: &str, what: &str) -> Option<T> {
        let Some(text) = self.record.get(column) else {
            self.wrong(column, "missing");
            return None;
        };
        let value = text.parse().ok();
        if value.is_none() {
            self.wrong(column, format!("`{text}` is no {what}"));
        }
        value
    }

    /// An instant that has passed, and that comes after another one.
    fn instant(&mut self, column: &str, after: Option<DateTime<Utc>>) -> DateTime<Utc> {
        let Some(text) = self.record.get(column) else {
            self.wrong(column, "missing");
            return DateTime::default();
        };
        let Some(at) = time::parse(text) else {
            let reason = format!("`{text}` is no instant such as 2026-02-03T10:00:00Z");
            self.wrong(column, reason);
            return DateTime::default();
        };
        if at > Utc::now() {
            self.wrong(column, "it has not happened yet");
        } else if after.is_some_and(|after| at < after) {
            self.wrong(column, "it is before what it follows");
        }
        at
    }

    fn word<'w>(&mut self, column: &str, words: &[&'w str]) -> &'w str {
        let text = self.record.get(column).unwrap_or(words[0]);
        let found = words.iter().find(|word| **word == text);
        if found.is_none() {
            let reason = format!("`{text}` is none of {}", words.join(", "));
            self.wrong(column, reason);
        }
        found.unwrap_or(&words[0])
    }
}

/// The leads, in the order in which they came.
pub(super) fn leads(records: Vec<Record>, issues: &mut BTreeSet<Issue>) -> Vec<Lead> {
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    let mut leads: Vec<Lead> = Vec::new();
    for record in &records {
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
        let company = it.text("company");
        if let Some(line) = seen.get(&company) {
            it.wrong("company", format!("it is in line {line} already"));
        }
        seen.entry(company.clone()).or_insert(record.line);
        let created_at = it.instant("created_at", None);
        let status = it.word(
            "status",
            &["NEW", "CONTACTED", "QUALIFIED", "DISQUALIFIED", "CONVERTED"],
        );
        let updated_at = if record.get("updated_at").is_some() {
            it.instant("updated_at", Some(created_at))
        } else {
            created_at
        };
        leads.push(Lead {
            index: 0,
            company,
            contact: it.text("contact"),
            email: it.text("email"),
            phone: it.text("phone"),
            notes: it.optional("notes"),
            seller: it.text("seller"),
            created_at,
            updated_at,
            end: match status {
                "CONTACTED" => LeadEnd::Contacted,
                "QUALIFIED" => LeadEnd::Qualified,
                "DISQUALIFIED" => LeadEnd::Disqualified,
                "CONVERTED" => LeadEnd::Converted { client: 0 },
                _ => LeadEnd::New,
            },
        });
    }
    leads.sort_by_key(|lead| lead.created_at);
    let mut clients = 0;
    for (index, lead) in (0..).zip(&mut leads) {
        lead.index = index;
        if let LeadEnd::Converted { client } = &mut lead.end {
            *client = clients;
            clients += 1;
        }
    }
    leads
}

/// The clients that leads have become, by company.
pub(super) fn clients(leads: &[Lead]) -> BTreeMap<String, (u64, DateTime<Utc>)> {
    let converted = leads.iter().filter_map(|lead| match lead.end {
        LeadEnd::Converted { client } => Some((lead.company.clone(), (client, lead.updated_at))),
        _ => None,
    });
    converted.collect()
}

/// The orders, in the order in which they came.
pub(super) fn orders(
    records: Vec<Record>,
    clients: &BTreeMap<String, (u64, DateTime<Utc>)>,
    ground: &Ground,
    issues: &mut BTreeSet<Issue>,
) -> Vec<Order> {
    let mut orders: Vec<Order> = Vec::new();
    for record in &records {
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
        let name = it.text("client");
        let (client, since) = match clients.get(&name) {
            Some((client, since)) => (Client::OfRun(*client), Some(*since)),
            None => {
                if !name.is_empty() && !ground.clients.contains(&name) {
                    let reason = format!(
                        "`{name}` is neither a company of `leads` with the status CONVERTED \
                         nor the id of a client that is there"
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
                by: it.text("shipped_by"),
                truck: it.text("truck"),
                at: it.instant("shipped_at", Some(created_at)),
            },
            _ => {
                for column in ["shipped_at", "shipped_by", "truck"] {
                    if record.get(column).is_some() {
                        it.wrong(column, "only an order that is SHIPPED has one");
                    }
                }
                OrderEnd::Reserved
            }
        };
        orders.push(Order {
            index: 0,
            client,
            seller: it.text("seller"),
            created_at,
            ship_date: it
                .parsed::<NaiveDate>("ship_date", "date such as 2026-02-03")
                .unwrap_or_default(),
            items,
            notes: it.optional("notes"),
            end,
        });
    }
    orders.sort_by_key(|order| order.created_at);
    for (index, order) in (0..).zip(&mut orders) {
        order.index = index;
    }
    orders
}

fn items(it: &mut Checked<'_>, ground: &Ground) -> Vec<Item> {
    let text = it.text("items");
    let mut items: Vec<Item> = Vec::new();
    for part in text
        .split(';')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let parsed = part.rsplit_once(':').and_then(|(sku, quantity)| {
            let quantity: i32 = quantity.trim().parse().ok()?;
            Some((sku.trim(), quantity))
        });
        let Some((sku, quantity)) = parsed else {
            let reason = format!("`{part}` is not SKU:quantity, e.g. PPR-A4-WHT-500:40");
            it.wrong("items", reason);
            continue;
        };
        if !ground.skus.contains(sku) {
            it.wrong("items", format!("there is no product `{sku}`"));
        } else if quantity < 1 {
            it.wrong(
                "items",
                format!("{quantity} of `{sku}`: it must be 1 or more"),
            );
        } else if items.iter().any(|item| item.sku == sku) {
            it.wrong("items", format!("`{sku}` is there twice"));
        }
        items.push(Item {
            sku: sku.to_owned(),
            quantity: quantity.into(),
        });
    }
    items
}

/// The expenses, in the order in which they came.
pub(super) fn expenses(records: Vec<Record>, issues: &mut BTreeSet<Issue>) -> Vec<Expense> {
    let mut expenses: Vec<Expense> = Vec::new();
    for record in &records {
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
        let amount: Decimal = it
            .parsed("amount", "amount such as 48.15")
            .unwrap_or(Decimal::ONE);
        if amount <= Decimal::ZERO || amount > Decimal::new(999_999_999_999, 2) {
            it.wrong("amount", "it must be more than 0 and at most 9999999999.99");
        } else if amount.normalize().scale() > 2 {
            it.wrong("amount", "it has parts of a cent");
        }
        let status = it.word("status", &["PENDING", "APPROVED", "REJECTED"]);
        let decision = if status == "PENDING" {
            for column in ["decided_by", "decided_at", "comment"] {
                if record.get(column).is_some() {
                    it.wrong(column, "only an expense that is decided has one");
                }
            }
            None
        } else {
            let comment = if status == "REJECTED" {
                it.text("comment")
            } else {
                it.optional("comment")
            };
            Some(Decision {
                approved: status == "APPROVED",
                by: it.text("decided_by"),
                at: it.instant("decided_at", Some(created_at)),
                comment,
            })
        };
        let currency = it.optional("currency");
        expenses.push(Expense {
            index: 0,
            submitter: it.text("submitter"),
            category: it.text("category"),
            amount,
            currency: if currency.is_empty() {
                "USD".to_owned()
            } else {
                currency
            },
            description: it.text("description"),
            created_at,
            decision,
        });
    }
    expenses.sort_by_key(|expense| expense.created_at);
    for (index, expense) in (0..).zip(&mut expenses) {
        expense.index = index;
    }
    expenses
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::Own;
    use super::*;
    use crate::data::seed::SeedError;

    fn ground() -> Ground {
        Ground {
            skus: ["A".to_owned(), "B".to_owned()].into(),
            clients: ["client_7001".to_owned()].into(),
        }
    }

    fn read(files: &[(&str, &str)]) -> Result<Own, Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        Own::read(folder.path(), &ground()).map_err(|error| match error {
            SeedError::Own(issues) => issues
                .iter()
                .map(|it| {
                    let file = it.file.file_name().unwrap().to_string_lossy();
                    format!("{file}:{}: {}: {}", it.line, it.column, it.reason)
                })
                .collect(),
            other => panic!("{other}"),
        })
    }

    const LEADS: &str = "company,contact,email,phone,seller,created_at,status,updated_at\n\
        Voss Legal,G. Voss,g@voss.example,570,jhalpert,2026-02-03T10:00:00Z,CONVERTED,2026-02-04T10:00:00Z\n\
        Tate Inc,J. Tate,j@tate.example,570,jhalpert,2026-02-01T10:00:00Z,NEW,\n";

    #[test]
    fn a_business_of_files_is_taken_in_the_order_in_which_it_happened() {
        let orders = "client,seller,created_at,ship_date,items,status,shipped_at,shipped_by,truck\n\
            client_7001,jhalpert,2026-03-02T10:00:00Z,2026-03-09,B:1,,,,\n\
            Voss Legal,jhalpert,2026-03-01T10:00:00Z,2026-03-09,A:2;B:1,SHIPPED,2026-03-03T10:00:00Z,dphilbin,t\n";
        let expenses = r#"[{"submitter": "jhalpert", "category": "MEALS", "amount": 12.50,
            "description": "Lunch", "created_at": "2026-02-03T10:00:00Z"}]"#;
        let own = read(&[
            ("leads.csv", LEADS),
            ("orders.csv", orders),
            ("expenses.json", expenses),
        ])
        .unwrap();
        let facts = &own.facts;
        assert_eq!(facts.leads[0].company, "Tate Inc");
        assert_eq!(facts.leads[1].end, LeadEnd::Converted { client: 0 });
        assert_eq!(facts.orders[0].client, Client::OfRun(0));
        assert_eq!(facts.orders[0].end.status(), "SHIPPED");
        assert_eq!(facts.orders[1].client, Client::Known("client_7001".into()));
        assert_eq!(facts.expenses[0].amount, Decimal::new(1250, 2));
        assert_eq!(own.counts().most_items, 2);
    }

    #[test]
    fn everything_that_is_wrong_is_told() {
        let orders = "client,seller,created_at,ship_date,items,status,colour\n\
            Tate Inc,jhalpert,2026-03-01T10:00:00Z,soon,A:2;A:1;C:1;B:0;B,LOST,red\n\
            Voss Legal,,2026-02-01T10:00:00Z,2026-03-09,A:1,,\n";
        let expenses = "submitter,category,amount,description,created_at,status\n\
            jhalpert,MEALS,1.005,Lunch,2999-02-03T10:00:00Z,REJECTED\n";
        let issues = read(&[
            ("leads.csv", LEADS),
            ("orders.csv", orders),
            ("expenses.csv", expenses),
        ])
        .unwrap_err();
        insta::assert_snapshot!("own_issues", issues.join("\n"));
    }
}
