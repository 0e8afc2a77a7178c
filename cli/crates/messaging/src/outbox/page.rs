//! A page of the outboxes, latest first.

use std::collections::{BTreeMap, VecDeque};
use std::str::FromStr;

use serde::{Serialize, Serializer};
use sqlx::{PgPool, Postgres, QueryBuilder};

use super::row::{self, OutboxRow, OutboxState};
use crate::MessagingError;
use crate::event_filter::EventFilter;
use crate::service_tables::ServiceTables;

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct OutboxPageRequest {
    /// In one of these states; in any where there is none.
    pub states: Vec<OutboxState>,
    /// What the events have to be like.
    pub filter: EventFilter,
    /// Where the page begins.
    pub cursor: OutboxCursor,
    /// How many rows it has at most.
    pub limit: u32,
}

/// Where a page begins: below these numbers of the services' outboxes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutboxCursor(BTreeMap<String, i64>);

impl std::fmt::Display for OutboxCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts: Vec<String> = self
            .0
            .iter()
            .map(|(service, below)| format!("{service}:{below}"))
            .collect();
        f.write_str(&parts.join(","))
    }
}

impl FromStr for OutboxCursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split(',').map(|part| {
            let (service, below) = part.split_once(':')?;
            Some((service.to_owned(), below.parse().ok()?))
        });
        let parts: Option<_> = parts.collect();
        parts.map(Self).ok_or("not a cursor of a previous page")
    }
}

impl Serialize for OutboxCursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Some rows, and where the next ones begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutboxPage {
    /// The rows, latest first; those of one outbox by their numbers.
    pub rows: Vec<OutboxRow>,
    /// Where the next page begins, where there is one.
    pub next: Option<OutboxCursor>,
}

/// Reads a page.
///
/// # Errors
/// The database is away.
pub async fn load_page(
    database: &PgPool,
    service_tables: &[ServiceTables],
    request: &OutboxPageRequest,
) -> Result<OutboxPage, MessagingError> {
    let mut query = QueryBuilder::new("");
    for (at, store) in service_tables.iter().enumerate() {
        if at > 0 {
            query.push(" UNION ALL ");
        }
        query.push(format!(
            "(SELECT {} FROM {} WHERE true",
            row::select_columns(store),
            store.qualified_table("outbox_events")
        ));
        request.push_conditions(&mut query);
        if let Some(below) = request.cursor.0.get(&store.service) {
            query.push(" AND sequence < ").push_bind(*below);
        }
        // One more than is wanted tells whether there are more.
        query
            .push(" ORDER BY sequence DESC LIMIT ")
            .push_bind(i64::from(request.limit) + 1)
            .push(")");
    }
    let rows: Vec<OutboxRow> = query.build_query_as().fetch_all(database).await?;
    Ok(merge_outboxes(
        rows,
        &request.cursor,
        request.limit as usize,
    ))
}

impl OutboxPageRequest {
    fn push_conditions(&self, query: &mut QueryBuilder<Postgres>) {
        if !self.states.is_empty() {
            let any: Vec<String> = self
                .states
                .iter()
                .map(|state| format!("({})", state.sql_condition()))
                .collect();
            query.push(format!(" AND ({})", any.join(" OR ")));
        }
        self.filter.push_type_and_time("created_at", query);
        for (column, operator, value) in self.filter.outbox_conditions() {
            query
                .push(format!(" AND {column} {operator} "))
                .push_bind(value);
        }
    }
}

/// The latest rows of all outboxes. Those of one keep the order of their numbers, which
/// is not quite that of their times.
fn merge_outboxes(rows: Vec<OutboxRow>, cursor: &OutboxCursor, limit: usize) -> OutboxPage {
    let mut outboxes: BTreeMap<String, VecDeque<OutboxRow>> = BTreeMap::new();
    for row in rows {
        let outbox = outboxes.entry(row.service.clone()).or_default();
        outbox.push_back(row);
    }
    for outbox in outboxes.values_mut() {
        outbox
            .make_contiguous()
            .sort_by_key(|row| std::cmp::Reverse(row.sequence));
    }
    let mut place = cursor.clone();
    let mut rows = Vec::new();
    loop {
        let latest = outboxes
            .values_mut()
            .filter(|outbox| !outbox.is_empty())
            .max_by_key(|outbox| outbox.front().map(|row| row.created_at));
        let Some(outbox) = latest else {
            return OutboxPage { rows, next: None };
        };
        if rows.len() == limit {
            return OutboxPage {
                rows,
                next: Some(place),
            };
        }
        if let Some(row) = outbox.pop_front() {
            place.0.insert(row.service.clone(), row.sequence);
            rows.push(row);
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::super::row::examples::outbox_row;
    use super::*;

    #[test]
    fn a_place_is_told_and_understood() {
        let place = OutboxCursor([("order".to_owned(), 7), ("wuphf".to_owned(), 12)].into());
        assert_eq!(place.to_string(), "order:7,wuphf:12");
        assert_eq!(place.to_string().parse(), Ok(place));
        for text in ["", "order", "order:x", "order:1,"] {
            assert!(text.parse::<OutboxCursor>().is_err(), "{text}");
        }
    }

    proptest! {
        /// Page by page every row comes once, whatever the size of a page.
        #[test]
        fn pages_hold_every_row_once(
            times in proptest::collection::vec((0_usize..3, 0_i64..50), 0..30),
            limit in 1_usize..7,
        ) {
            let services = ["order", "inventory", "wuphf"];
            let rows: Vec<OutboxRow> = times
                .iter()
                .enumerate()
                .map(|(at, (service, seconds))| {
                    let mut row = outbox_row(&format!("evt_{at}"));
                    row.service = services[*service].to_owned();
                    row.sequence = at as i64;
                    row.created_at += TimeDelta::seconds(*seconds);
                    row
                })
                .collect();
            let mut place = OutboxCursor::default();
            let mut seen: Vec<String> = Vec::new();
            loop {
                let below = |row: &&OutboxRow| place.0.get(&row.service).is_none_or(|at| row.sequence < *at);
                let page = merge_outboxes(rows.iter().filter(below).cloned().collect(), &place, limit);
                prop_assert!(page.rows.len() <= limit);
                seen.extend(page.rows.iter().map(|row| row.event_id.clone()));
                let Some(next) = page.next else { break };
                place = next;
            }
            seen.sort();
            let mut all: Vec<String> = rows.iter().map(|row| row.event_id.clone()).collect();
            all.sort();
            prop_assert_eq!(seen, all);
        }
    }
}
