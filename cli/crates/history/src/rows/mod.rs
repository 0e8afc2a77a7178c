//! Converts a history to rows of the services' tables.
//!
//! The rows are those that the services would have written: business rows, published outbox
//! rows, and the inbox rows of the consumers. Outbox and inbox rows beyond the retention are
//! omitted.

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

/// The first reserved number of each sequence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SequenceStarts {
    /// Leads.
    pub lead: u64,
    /// Clients.
    pub client: u64,
    /// Orders, and their shipments.
    pub order: u64,
    /// Timeline steps of orders.
    pub timeline: u64,
    /// Reservations.
    pub reservation: u64,
    /// Scans.
    pub scan: u64,
    /// Expenses.
    pub expense: u64,
    /// Notifications.
    pub notification: u64,
    /// Events of sales.
    pub sales_event: u64,
    /// Events of order.
    pub order_event: u64,
    /// Events of inventory.
    pub inventory_event: u64,
    /// Events of finance.
    pub finance_event: u64,
    /// Events of wuphf.
    pub notification_event: u64,
    /// Events of profile.
    pub profile_event: u64,
}

/// The number of reserved numbers of each sequence.
pub type SequenceCounts = SequenceStarts;

/// The numbers of records of a run, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryCounts {
    /// Leads.
    pub leads: u64,
    /// Orders.
    pub orders: u64,
    /// Expenses.
    pub expenses: u64,
    /// The maximum number of products of an order.
    pub max_items: u64,
    /// User profiles.
    pub profiles: u64,
}

/// The maximum number of timeline entries of an order.
const TIMELINE_ENTRIES_PER_ORDER: u64 = 4;
/// The maximum number of events of order per order.
const ORDER_EVENTS_PER_ORDER: u64 = 5;
/// The maximum number of events of inventory per order.
const INVENTORY_EVENTS_PER_ORDER: u64 = 3;
/// The maximum number of notifications per order.
const NOTIFICATIONS_PER_ORDER: u64 = 2;
/// The maximum number of events of finance per expense.
const EVENTS_PER_EXPENSE: u64 = 2;

impl HistoryCounts {
    /// Returns the maximum of needed numbers per sequence. Some of them stay unused, as after a
    /// rollback.
    #[must_use]
    pub const fn sequence_counts(&self) -> SequenceCounts {
        let Self {
            leads,
            orders,
            expenses,
            max_items,
            profiles,
        } = *self;
        let notifications = orders * NOTIFICATIONS_PER_ORDER + expenses;
        SequenceCounts {
            lead: leads,
            client: leads,
            order: orders,
            timeline: orders * TIMELINE_ENTRIES_PER_ORDER,
            reservation: orders,
            scan: orders * max_items,
            expense: expenses,
            notification: notifications,
            sales_event: leads,
            order_event: orders * ORDER_EVENTS_PER_ORDER,
            inventory_event: orders * INVENTORY_EVENTS_PER_ORDER,
            finance_event: expenses * EVENTS_PER_EXPENSE,
            notification_event: notifications,
            profile_event: profiles,
        }
    }
}

/// Converts the history of a run to rows.
#[derive(Debug, Clone, Copy)]
pub struct RowWriter {
    /// The first reserved number of each sequence.
    pub sequence_starts: SequenceStarts,
    /// The numbers of records of the run.
    pub counts: HistoryCounts,
    /// Makes the event ids different from those of other runs.
    salt: u64,
    retention: RetentionWindow,
}

/// The retention of outboxes and inboxes.
#[derive(Debug, Clone, Copy)]
pub struct RetentionWindow {
    /// The current time.
    pub now: DateTime<Utc>,
    /// The age from which published events are omitted.
    pub duration: TimeDelta,
}

impl RowWriter {
    /// Creates the writer of a run.
    #[must_use]
    pub const fn new(
        seed: u64,
        sequence_starts: SequenceStarts,
        counts: HistoryCounts,
        retention: RetentionWindow,
    ) -> Self {
        // Runs of one seed never begin at the same sequence numbers.
        let starts_hash = splitmix64(sequence_starts.lead)
            ^ splitmix64(sequence_starts.order ^ 1)
            ^ splitmix64(sequence_starts.expense ^ 2)
            ^ splitmix64(sequence_starts.profile_event ^ 3);
        Self {
            salt: splitmix64(seed) ^ starts_hash,
            sequence_starts,
            counts,
            retention,
        }
    }

    /// Returns the rows of a history, or of a part of one.
    #[must_use]
    pub fn write_rows(&self, history: &BusinessHistory) -> TableRows {
        let mut rows = TableRows::default();
        for lead in &history.leads {
            self.write_lead(&mut rows, lead);
        }
        for order in &history.orders {
            self.write_order(&mut rows, order);
        }
        for expense in &history.expenses {
            self.write_expense(&mut rows, expense);
        }
        for profile in &history.profiles {
            self.write_profile(&mut rows, profile);
        }
        rows.status_counts = StatusCounts::from_history(history);
        rows
    }
}

/// Counts of records, by kind and status.
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
    /// User profiles.
    pub profiles: u64,
}

impl StatusCounts {
    fn from_history(history: &BusinessHistory) -> Self {
        fn count(statuses: impl Iterator<Item = &'static str>) -> BTreeMap<&'static str, u64> {
            let mut counts = BTreeMap::new();
            for status in statuses {
                *counts.entry(status).or_default() += 1;
            }
            counts
        }
        let leads = || history.leads.iter();
        Self {
            leads: count(leads().map(|lead| lead.outcome.status())),
            clients: leads()
                .filter(|lead| matches!(lead.outcome, LeadOutcome::Converted { .. }))
                .count() as u64,
            orders: count(history.orders.iter().map(|order| order.outcome.status())),
            expenses: count(history.expenses.iter().map(Expense::status)),
            profiles: history.profiles.len() as u64,
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

/// The stock of a product that orders have reserved or shipped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StockChange {
    /// The reserved quantity.
    pub reserved: i64,
    /// The shipped quantity.
    pub shipped: i64,
}

/// Rows of the services' tables, in PostgreSQL's COPY text format
/// (<https://www.postgresql.org/docs/17/sql-copy.html>).
#[derive(Debug, Default)]
pub struct TableRows {
    buffers: BTreeMap<HistoryTable, CopyBuffer>,
    /// The stock that the orders need, by SKU. It has to be added to the existing stock.
    pub stock_changes: BTreeMap<String, StockChange>,
    /// Counts of the records.
    pub status_counts: StatusCounts,
}

#[derive(Debug, Default)]
struct CopyBuffer {
    bytes: Vec<u8>,
    row_count: u64,
}

impl TableRows {
    /// Returns the COPY text and the row count of each table. Referenced tables come first.
    pub fn tables(&self) -> impl Iterator<Item = (HistoryTable, &[u8], u64)> {
        self.buffers
            .iter()
            .map(|(table, buffer)| (*table, buffer.bytes.as_slice(), buffer.row_count))
    }

    /// Returns the number of rows of all tables.
    #[must_use]
    pub fn row_count(&self) -> u64 {
        self.buffers.values().map(|buffer| buffer.row_count).sum()
    }

    fn begin_row(&mut self, table: HistoryTable) -> copy_format::CopyRow<'_> {
        let buffer = self.buffers.entry(table).or_default();
        buffer.row_count += 1;
        copy_format::CopyRow::new(&mut buffer.bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;
    use crate::generator::tests::test_generator;
    use crate::model::{ClientRef, Order, OrderLine, OrderOutcome};

    fn counts(generator: &crate::HistoryGenerator) -> HistoryCounts {
        HistoryCounts {
            leads: generator.lead_count(),
            orders: generator.order_count,
            expenses: generator.expense_count(),
            max_items: generator.input.max_items as u64,
            profiles: generator.input.members.len() as u64,
        }
    }

    /// Returns a whole history with its profiles.
    fn full_history(generator: &crate::HistoryGenerator) -> BusinessHistory {
        BusinessHistory {
            profiles: generator.generate_profiles(),
            ..generator.generate_part(0, 1)
        }
    }

    fn row_writer(seed: u64, first: u64, counts: HistoryCounts, days: i64) -> RowWriter {
        let sequence_starts = SequenceStarts {
            lead: first,
            order: first,
            expense: first,
            ..SequenceStarts::default()
        };
        let retention = RetentionWindow {
            now: "2026-11-26T00:00:00Z".parse().unwrap(),
            duration: TimeDelta::days(days),
        };
        RowWriter::new(seed, sequence_starts, counts, retention)
    }

    /// Returns the columns of every row of a table.
    fn rows_of(rows: &TableRows, table: HistoryTable) -> Vec<Vec<String>> {
        let text = rows.tables().find(|(name, ..)| *name == table);
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

        /// Every row has the columns of its table and a unique key; every event of an inbox is in
        /// an outbox; the stock changes are those of the orders.
        #[test]
        fn rows_are_consistent_across_tables(seed: u64, orders in 1_u64..120, days in 1_i64..120) {
            let generator = test_generator(seed, orders);
            let history = full_history(&generator);
            let rows = row_writer(seed, 100, counts(&generator), days).write_rows(&history);
            let (mut written, mut processed) = (HashSet::new(), HashSet::new());
            for table in all_tables(&rows) {
                let lines = rows_of(&rows, table);
                let width = table.columns().split(", ").count();
                prop_assert!(lines.iter().all(|line| line.len() == width), "{:?}", table);
                let key_columns = match table {
                    HistoryTable::Inbox(_) => 2,
                    HistoryTable::IdempotencyRecords => 2,
                    _ => 1,
                };
                let keys: BTreeSet<_> = lines.iter().map(|line| line[..key_columns].to_vec()).collect();
                prop_assert_eq!(keys.len(), lines.len(), "{:?}", table);
                match table {
                    HistoryTable::Outbox(_) => written.extend(lines.into_iter().map(|line| line[1].clone())),
                    HistoryTable::Inbox(_) => processed.extend(lines.into_iter().map(|line| line[1].clone())),
                    _ => {}
                }
            }
            prop_assert!(processed.is_subset(&written));
            let mut needed: HashMap<&str, i64> = HashMap::new();
            for order in &history.orders {
                if !matches!(order.outcome, OrderOutcome::Failed(_) | OrderOutcome::Cancelled { .. }) {
                    for item in &order.items {
                        *needed.entry(&item.sku).or_default() += item.quantity;
                    }
                }
            }
            for (sku, change) in &rows.stock_changes {
                let needed = needed.get(sku.as_str()).copied().unwrap_or_default();
                prop_assert_eq!(change.reserved + change.shipped, needed);
            }
        }

        /// No scan is before the order or after the dispatch.
        #[test]
        fn scans_are_between_order_and_dispatch(seconds in 0_i64..60, lines in 1_usize..20) {
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
                outcome: OrderOutcome::Shipped { shipped_by: "dphilbin".into(), truck_id: "t".into(), shipped_at },
            };
            let counts = HistoryCounts { leads: 0, orders: 1, expenses: 0, max_items: lines as u64, profiles: 0 };
            let history = BusinessHistory { orders: vec![order], ..BusinessHistory::default() };
            let rows = row_writer(1, 100, counts, 120).write_rows(&history);
            let scans = rows_of(&rows, HistoryTable::ScanLog);
            prop_assert_eq!(scans.len(), lines);
            for scan in scans {
                let scanned_at: DateTime<Utc> = scan[5].parse().unwrap();
                prop_assert!((created_at..=shipped_at).contains(&scanned_at), "{}", scanned_at);
            }
        }

        #[test]
        fn consecutive_runs_of_one_seed_have_different_event_ids(seed: u64, orders in 1_u64..40) {
            let generator = test_generator(seed, orders);
            let history = full_history(&generator);
            let ids = |first| -> HashSet<String> {
                let rows = row_writer(seed, first, counts(&generator), 120).write_rows(&history);
                all_tables(&rows)
                    .into_iter()
                    .filter(|table| matches!(table, HistoryTable::Outbox(_)))
                    .flat_map(|table| rows_of(&rows, table))
                    .map(|line| line[1].clone())
                    .collect()
            };
            let (first_run, second_run) = (ids(100), ids(100 + orders));
            prop_assert!(first_run.is_disjoint(&second_run));
            prop_assert_eq!(&first_run, &ids(100));
        }

        #[test]
        fn rows_use_only_reserved_numbers(seed: u64, orders in 1_u64..120) {
            let generator = test_generator(seed, orders);
            let counts = counts(&generator);
            let reserved = counts.sequence_counts();
            let rows = row_writer(seed, 0, counts, 120).write_rows(&full_history(&generator));
            for (table, count) in [
                (HistoryTable::OrderTimeline, reserved.timeline),
                (HistoryTable::ScanLog, reserved.scan),
                (HistoryTable::Notifications, reserved.notification),
                (HistoryTable::Reservations, reserved.reservation),
                (HistoryTable::Outbox(ServiceName::Order), reserved.order_event),
                (HistoryTable::Outbox(ServiceName::Inventory), reserved.inventory_event),
                (HistoryTable::Outbox(ServiceName::Finance), reserved.finance_event),
                (HistoryTable::Outbox(ServiceName::Wuphf), reserved.notification_event),
                (HistoryTable::Outbox(ServiceName::Sales), reserved.sales_event),
                (HistoryTable::Outbox(ServiceName::Profile), reserved.profile_event),
            ] {
                for row in rows_of(&rows, table) {
                    let number: u64 = row[0].rsplit('_').next().unwrap().parse().unwrap();
                    prop_assert!(number < count, "{:?}: {}", table, row[0]);
                }
            }
        }
    }
}
