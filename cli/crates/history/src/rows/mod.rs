//! Facts as the services' tables hold them.
//!
//! What the services would have written is written: the row of the business, its outbox
//! rows, published, and the inbox rows of whoever handled them. What outboxes and inboxes
//! would have forgotten by now is not in them.

mod copy_format;
mod events;
mod finance;
mod orders;
mod profile;
mod sales;
mod table;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::generator::splitmix64;
use crate::model::{BusinessHistory, Expense, LeadOutcome};

pub use table::{HistoryTable, ServiceName};

/// The first number of each kind that a run may give out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SequenceStarts {
    /// Of leads.
    pub lead: u64,
    /// Of clients.
    pub client: u64,
    /// Of orders, and so of shipments.
    pub order: u64,
    /// Of steps of orders.
    pub timeline: u64,
    /// Of reservations.
    pub reservation: u64,
    /// Of scans.
    pub scan: u64,
    /// Of expenses.
    pub expense: u64,
    /// Of notifications.
    pub notification: u64,
    /// Of the events of sales.
    pub sales_event: u64,
    /// Of the events of orders.
    pub order_event: u64,
    /// Of the events of inventory.
    pub inventory_event: u64,
    /// Of the events of finance.
    pub finance_event: u64,
    /// Of the events of notifications.
    pub notification_event: u64,
    /// Of the events of people.
    pub profile_event: u64,
}

/// How many numbers of each kind a run gives out.
pub type SequenceCounts = SequenceStarts;

/// How many facts of each kind a run is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryCounts {
    /// Leads.
    pub leads: u64,
    /// Orders.
    pub orders: u64,
    /// Expenses.
    pub expenses: u64,
    /// How many products an order has at most.
    pub max_items: u64,
    /// People.
    pub profiles: u64,
}

/// How many steps an order has at most, and events by its service.
const STEPS_PER_ORDER: u64 = 3;
/// How many events inventory tells of an order at most.
const INVENTORY_EVENTS_PER_ORDER: u64 = 2;
/// How many notifications an order causes at most.
const NOTIFICATIONS_PER_ORDER: u64 = 2;
/// How many events finance tells of an expense at most.
const EVENTS_PER_EXPENSE: u64 = 2;

impl HistoryCounts {
    /// How many numbers that takes at most. Some of them stay unused, as they do where a
    /// transaction is rolled back.
    #[must_use]
    pub const fn sequence_counts(&self) -> SequenceCounts {
        let Self {
            leads,
            orders,
            expenses,
            max_items: most_items,
            profiles: people,
        } = *self;
        let notifications = orders * NOTIFICATIONS_PER_ORDER + expenses;
        SequenceCounts {
            lead: leads,
            client: leads,
            order: orders,
            timeline: orders * STEPS_PER_ORDER,
            reservation: orders,
            scan: orders * most_items,
            expense: expenses,
            notification: notifications,
            sales_event: leads,
            order_event: orders * STEPS_PER_ORDER,
            inventory_event: orders * INVENTORY_EVENTS_PER_ORDER,
            finance_event: expenses * EVENTS_PER_EXPENSE,
            notification_event: notifications,
            profile_event: people,
        }
    }
}

/// Writes the facts of a run as rows.
#[derive(Debug, Clone, Copy)]
pub struct RowWriter {
    /// Where its numbers begin.
    pub sequence_starts: SequenceStarts,
    /// How much it is about.
    pub counts: HistoryCounts,
    /// Tells its events from those of other runs.
    salt: u64,
    retention: RetentionWindow,
}

/// What outboxes and inboxes still know.
#[derive(Debug, Clone, Copy)]
pub struct RetentionWindow {
    /// When that is asked.
    pub now: DateTime<Utc>,
    /// What was published longer ago is forgotten.
    pub duration: TimeDelta,
}

impl RowWriter {
    /// The clerk of a run.
    #[must_use]
    pub const fn new(
        number: u64,
        first: SequenceStarts,
        counts: HistoryCounts,
        memory: RetentionWindow,
    ) -> Self {
        // Runs of one number never begin at the same numbers.
        let place = splitmix64(first.lead)
            ^ splitmix64(first.order ^ 1)
            ^ splitmix64(first.expense ^ 2)
            ^ splitmix64(first.profile_event ^ 3);
        Self {
            salt: splitmix64(number) ^ place,
            sequence_starts: first,
            counts,
            retention: memory,
        }
    }

    /// The rows of some facts.
    #[must_use]
    pub fn write_rows(&self, facts: &BusinessHistory) -> TableRows {
        let mut rows = TableRows::default();
        for lead in &facts.leads {
            self.write_lead(&mut rows, lead);
        }
        for order in &facts.orders {
            self.write_order(&mut rows, order);
        }
        for expense in &facts.expenses {
            self.write_expense(&mut rows, expense);
        }
        for person in &facts.profiles {
            self.write_profile(&mut rows, person);
        }
        rows.status_counts = StatusCounts::from_history(facts);
        rows
    }
}

/// What rows are about: how many of a kind there are, by status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatusCounts {
    /// Leads.
    pub leads: BTreeMap<&'static str, u64>,
    /// Clients.
    pub clients: u64,
    /// Orders.
    pub orders: BTreeMap<&'static str, u64>,
    /// Expenses.
    pub expenses: BTreeMap<&'static str, u64>,
    /// Profiles of people.
    pub profiles: u64,
}

impl StatusCounts {
    fn from_history(facts: &BusinessHistory) -> Self {
        fn count(statuses: impl Iterator<Item = &'static str>) -> BTreeMap<&'static str, u64> {
            let mut counts = BTreeMap::new();
            for status in statuses {
                *counts.entry(status).or_default() += 1;
            }
            counts
        }
        let leads = || facts.leads.iter();
        Self {
            leads: count(leads().map(|lead| lead.outcome.status())),
            clients: leads()
                .filter(|lead| matches!(lead.outcome, LeadOutcome::Converted { .. }))
                .count() as u64,
            orders: count(facts.orders.iter().map(|order| order.outcome.status())),
            expenses: count(facts.expenses.iter().map(Expense::status)),
            profiles: facts.profiles.len() as u64,
        }
    }
}

impl std::ops::AddAssign<&Self> for StatusCounts {
    fn add_assign(&mut self, other: &Self) {
        for (own, other) in [
            (&mut self.leads, &other.leads),
            (&mut self.orders, &other.orders),
            (&mut self.expenses, &other.expenses),
        ] {
            for (status, count) in other {
                *own.entry(status).or_default() += count;
            }
        }
        self.clients += other.clients;
        self.profiles += other.profiles;
    }
}

/// What came in of a product, and what became of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StockChange {
    /// Set aside, and still there.
    pub reserved: i64,
    /// Gone.
    pub shipped: i64,
}

/// Rows of the services' tables, in PostgreSQL's COPY text format
/// (<https://www.postgresql.org/docs/17/sql-copy.html>).
#[derive(Debug, Default)]
pub struct TableRows {
    buffers: BTreeMap<HistoryTable, CopyBuffer>,
    /// What the orders need of each product. So much has to come in besides.
    pub stock_changes: BTreeMap<String, StockChange>,
    /// What they are about.
    pub status_counts: StatusCounts,
}

#[derive(Debug, Default)]
struct CopyBuffer {
    bytes: Vec<u8>,
    row_count: u64,
}

impl TableRows {
    /// The text of each table, with how many rows it has, in an order in which a row is
    /// there before another one names it.
    pub fn tables(&self) -> impl Iterator<Item = (HistoryTable, &[u8], u64)> {
        self.buffers
            .iter()
            .map(|(table, text)| (*table, text.bytes.as_slice(), text.row_count))
    }

    /// How many rows there are.
    #[must_use]
    pub fn row_count(&self) -> u64 {
        self.buffers.values().map(|text| text.row_count).sum()
    }

    fn begin_row(&mut self, table: HistoryTable) -> copy_format::CopyRow<'_> {
        let text = self.buffers.entry(table).or_default();
        text.row_count += 1;
        copy_format::CopyRow::new(&mut text.bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;
    use crate::generator::tests::invention;
    use crate::model::{ClientRef, Order, OrderLine, OrderOutcome};

    fn counts(invention: &crate::HistoryGenerator) -> HistoryCounts {
        HistoryCounts {
            leads: invention.lead_count(),
            orders: invention.order_count,
            expenses: invention.expense_count(),
            max_items: invention.input.max_items as u64,
            profiles: invention.input.members.len() as u64,
        }
    }

    /// All of a past.
    fn whole(invention: &crate::HistoryGenerator) -> BusinessHistory {
        BusinessHistory {
            profiles: invention.generate_profiles(),
            ..invention.generate_part(0, 1)
        }
    }

    fn clerk(number: u64, first: u64, counts: HistoryCounts, days: i64) -> RowWriter {
        let first = SequenceStarts {
            lead: first,
            order: first,
            expense: first,
            ..SequenceStarts::default()
        };
        let memory = RetentionWindow {
            now: "2026-11-26T00:00:00Z".parse().unwrap(),
            duration: TimeDelta::days(days),
        };
        RowWriter::new(number, first, counts, memory)
    }

    /// The columns of every row of a table.
    fn table(rows: &TableRows, wanted: HistoryTable) -> Vec<Vec<String>> {
        let text = rows.tables().find(|(table, ..)| *table == wanted);
        let text = text.map_or("", |(_, text, _)| std::str::from_utf8(text).unwrap());
        text.lines()
            .map(|line| line.split('\t').map(str::to_owned).collect())
            .collect()
    }

    fn all_tables(rows: &TableRows) -> Vec<HistoryTable> {
        rows.tables().map(|(table, ..)| table).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Every row has as many columns as its table, and a key of its own; what is in an
        /// inbox was written to an outbox, if that remembers as far; stock is what orders
        /// need.
        #[test]
        fn rows_fit_together(number: u64, orders in 1_u64..120, days in 1_i64..120) {
            let invention = invention(number, orders);
            let facts = whole(&invention);
            let rows = clerk(number, 100, counts(&invention), days).write_rows(&facts);
            let (mut written, mut handled) = (HashSet::new(), HashSet::new());
            for wanted in all_tables(&rows) {
                let lines = table(&rows, wanted);
                let width = wanted.columns().split(", ").count();
                prop_assert!(lines.iter().all(|line| line.len() == width), "{:?}", wanted);
                let keyed = match wanted {
                    HistoryTable::Inbox(_) => 2,
                    HistoryTable::IdempotencyRecords => 2,
                    _ => 1,
                };
                let keys: BTreeSet<_> = lines.iter().map(|line| line[..keyed].to_vec()).collect();
                prop_assert_eq!(keys.len(), lines.len(), "{:?}", wanted);
                match wanted {
                    HistoryTable::Outbox(_) => written.extend(lines.into_iter().map(|line| line[1].clone())),
                    HistoryTable::Inbox(_) => handled.extend(lines.into_iter().map(|line| line[1].clone())),
                    _ => {}
                }
            }
            prop_assert!(handled.is_subset(&written));
            let mut needed: HashMap<&str, i64> = HashMap::new();
            for order in &facts.orders {
                if !matches!(order.outcome, OrderOutcome::Failed(_)) {
                    for item in &order.items {
                        *needed.entry(&item.sku).or_default() += item.quantity;
                    }
                }
            }
            for (sku, movement) in &rows.stock_changes {
                let needed = needed.get(sku.as_str()).copied().unwrap_or_default();
                prop_assert_eq!(movement.reserved + movement.shipped, needed);
            }
        }

        /// Nothing is scanned before it was ordered, nor after it left.
        #[test]
        fn scans_come_after_the_order(seconds in 0_i64..60, lines in 1_usize..20) {
            let created_at: DateTime<Utc> = "2026-11-25T00:00:00Z".parse().unwrap();
            let shipped_at = created_at + TimeDelta::seconds(seconds);
            let items = (0..lines).map(|line| OrderLine { sku: format!("S{line}"), quantity: 1 });
            let order = Order {
                index: 0,
                client: ClientRef::Existing("client_7001".into()),
                seller: "jhalpert".into(),
                created_at,
                ship_date: created_at.date_naive(),
                items: items.collect(),
                notes: String::new(),
                outcome: OrderOutcome::Shipped { shipped_by: "dphilbin".into(), truck_id: "t".into(), shipped_at: shipped_at },
            };
            let counts = HistoryCounts { leads: 0, orders: 1, expenses: 0, max_items: lines as u64, profiles: 0 };
            let facts = BusinessHistory { orders: vec![order], ..BusinessHistory::default() };
            let rows = clerk(1, 100, counts, 120).write_rows(&facts);
            let scans = table(&rows, HistoryTable::ScanLog);
            prop_assert_eq!(scans.len(), lines);
            for scan in scans {
                let at: DateTime<Utc> = scan[5].parse().unwrap();
                prop_assert!((created_at..=shipped_at).contains(&at), "{}", at);
            }
        }

        /// Two runs of one number, one after the other, have no event in common.
        #[test]
        fn runs_of_one_number_differ(number: u64, orders in 1_u64..40) {
            let invention = invention(number, orders);
            let facts = whole(&invention);
            let ids = |first| -> HashSet<String> {
                let rows = clerk(number, first, counts(&invention), 120).write_rows(&facts);
                all_tables(&rows)
                    .into_iter()
                    .filter(|wanted| matches!(wanted, HistoryTable::Outbox(_)))
                    .flat_map(|wanted| table(&rows, wanted))
                    .map(|line| line[1].clone())
                    .collect()
            };
            let (one, other) = (ids(100), ids(100 + orders));
            prop_assert!(one.is_disjoint(&other));
            prop_assert_eq!(&one, &ids(100));
        }

        /// No number is given out that was not set aside.
        #[test]
        fn numbers_are_those_that_were_set_aside(number: u64, orders in 1_u64..120) {
            let invention = invention(number, orders);
            let counts = counts(&invention);
            let needs = counts.sequence_counts();
            let rows = clerk(number, 0, counts, 120).write_rows(&whole(&invention));
            for (wanted, need) in [
                (HistoryTable::OrderTimeline, needs.timeline),
                (HistoryTable::ScanLog, needs.scan),
                (HistoryTable::Notifications, needs.notification),
                (HistoryTable::Reservations, needs.reservation),
                (HistoryTable::Outbox(ServiceName::Order), needs.order_event),
                (HistoryTable::Outbox(ServiceName::Inventory), needs.inventory_event),
                (HistoryTable::Outbox(ServiceName::Finance), needs.finance_event),
                (HistoryTable::Outbox(ServiceName::Wuphf), needs.notification_event),
                (HistoryTable::Outbox(ServiceName::Sales), needs.sales_event),
                (HistoryTable::Outbox(ServiceName::Profile), needs.profile_event),
            ] {
                for line in table(&rows, wanted) {
                    let place: u64 = line[0].rsplit('_').next().unwrap().parse().unwrap();
                    prop_assert!(place < need, "{:?}: {}", wanted, line[0]);
                }
            }
        }
    }
}
