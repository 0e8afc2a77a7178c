//! A page of the outboxes, latest first.

use std::collections::{BTreeMap, VecDeque};
use std::str::FromStr;

use serde::{Serialize, Serializer};
use sqlx::{PgPool, Postgres, QueryBuilder};

use super::row::{self, OutboxRow, OutboxState};
use crate::MessagingError;
use crate::event_filter::EventFilter;
use crate::service_tables::ServiceTables;

/// A request for a page.
#[derive(Debug, Clone, Default)]
pub struct OutboxPageRequest {
    /// The states. Empty for all.
    pub states: Vec<OutboxState>,
    /// The conditions that the events must meet.
    pub filter: EventFilter,
    /// The position after which the page starts.
    pub cursor: OutboxCursor,
    /// The maximum number of rows.
    pub limit: u32,
}

/// The position of a page: the page starts below these sequence numbers, by service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutboxCursor(BTreeMap<String, i64>);

impl std::fmt::Display for OutboxCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts: Vec<String> = self
            .0
            .iter()
            .map(|(service, sequence)| format!("{service}:{sequence}"))
            .collect();
        f.write_str(&parts.join(","))
    }
}

impl FromStr for OutboxCursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split(',').map(|part| {
            let (service, sequence) = part.split_once(':')?;
            Some((service.to_owned(), sequence.parse().ok()?))
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

/// A page of rows, and the cursor of the next page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutboxPage {
    /// The rows, latest first. Rows of one outbox are ordered by sequence.
    pub rows: Vec<OutboxRow>,
    /// The cursor of the next page, if there is one.
    pub next_cursor: Option<OutboxCursor>,
}

/// Loads a page.
///
/// # Errors
/// Returns [`MessagingError`] if the database cannot be reached.
pub async fn load_page(
    database: &PgPool,
    service_tables: &[ServiceTables],
    request: &OutboxPageRequest,
) -> Result<OutboxPage, MessagingError> {
    let mut query = QueryBuilder::new("");
    for (index, tables) in service_tables.iter().enumerate() {
        if index > 0 {
            query.push(" UNION ALL ");
        }
        query.push(format!(
            "(SELECT {} FROM {} WHERE true",
            row::select_columns(tables),
            tables.qualified_table("outbox_events")
        ));
        request.push_conditions(&mut query);
        if let Some(sequence) = request.cursor.0.get(&tables.service) {
            query.push(" AND sequence < ").push_bind(*sequence);
        }
        // One row more than requested shows whether there is another page.
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
            let conditions: Vec<String> = self
                .states
                .iter()
                .map(|state| format!("({})", state.sql_condition()))
                .collect();
            query.push(format!(" AND ({})", conditions.join(" OR ")));
        }
        self.filter.push_type_and_time("created_at", query);
        for (column, operator, value) in self.filter.outbox_conditions() {
            query
                .push(format!(" AND {column} {operator} "))
                .push_bind(value);
        }
    }
}

/// Returns the latest rows of all outboxes. Rows of one outbox keep the order of their
/// sequence, which can differ from the order of their times.
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
    let mut next_cursor = cursor.clone();
    let mut rows = Vec::new();
    loop {
        let latest = outboxes
            .values_mut()
            .filter(|outbox| !outbox.is_empty())
            .max_by_key(|outbox| outbox.front().map(|row| row.created_at));
        let Some(outbox) = latest else {
            return OutboxPage {
                rows,
                next_cursor: None,
            };
        };
        if rows.len() == limit {
            return OutboxPage {
                rows,
                next_cursor: Some(next_cursor),
            };
        }
        if let Some(row) = outbox.pop_front() {
            next_cursor.0.insert(row.service.clone(), row.sequence);
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
    fn cursor_round_trips_as_text() {
        let cursor = OutboxCursor([("order".to_owned(), 7), ("wuphf".to_owned(), 12)].into());
        assert_eq!(cursor.to_string(), "order:7,wuphf:12");
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for text in ["", "order", "order:x", "order:1,"] {
            assert!(text.parse::<OutboxCursor>().is_err(), "{text}");
        }
    }

    proptest! {
        /// Every row is on exactly one page, whatever the size of a page.
        #[test]
        fn pages_contain_every_row_once(
            times in proptest::collection::vec((0_usize..3, 0_i64..50), 0..30),
            limit in 1_usize..7,
        ) {
            let services = ["order", "inventory", "wuphf"];
            let rows: Vec<OutboxRow> = times
                .iter()
                .enumerate()
                .map(|(index, (service, seconds))| {
                    let mut row = outbox_row(&format!("evt_{index}"));
                    row.service = services[*service].to_owned();
                    row.sequence = index as i64;
                    row.created_at += TimeDelta::seconds(*seconds);
                    row
                })
                .collect();
            let mut cursor = OutboxCursor::default();
            let mut seen: Vec<String> = Vec::new();
            loop {
                let is_below = |row: &&OutboxRow| {
                    cursor.0.get(&row.service).is_none_or(|sequence| row.sequence < *sequence)
                };
                let remaining = rows.iter().filter(is_below).cloned().collect();
                let page = merge_outboxes(remaining, &cursor, limit);
                prop_assert!(page.rows.len() <= limit);
                seen.extend(page.rows.iter().map(|row| row.event_id.clone()));
                let Some(next) = page.next_cursor else { break };
                cursor = next;
            }
            seen.sort();
            let mut all: Vec<String> = rows.iter().map(|row| row.event_id.clone()).collect();
            all.sort();
            prop_assert_eq!(seen, all);
        }
    }
}
