//! A page of the inboxes, latest first.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};
use sqlx::{FromRow, PgPool, Postgres, QueryBuilder};

use crate::MessagingError;
use crate::event_filter::EventFilter;
use crate::service_tables::ServiceTables;

/// An event that a service has handled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct InboxRow {
    /// The service.
    pub service: String,
    /// The work queue that it came by.
    pub queue: String,
    /// The event's id.
    pub event_id: String,
    /// The event's type.
    pub event_type: String,
    /// When it was handled.
    pub processed_at: DateTime<Utc>,
    /// The event's aggregate, as long as its outbox remembers it.
    pub subject: Option<String>,
    /// The trace context of what caused it, likewise.
    pub traceparent: Option<String>,
}

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct InboxPageRequest {
    /// By one of these queues; by any where there is none.
    pub queues: Vec<String>,
    /// What the events have to be like.
    pub filter: EventFilter,
    /// Where the page begins; at the latest event where that is missing.
    pub cursor: Option<InboxCursor>,
    /// How many rows it has at most.
    pub limit: u32,
}

/// Where a page begins: with what comes behind this event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxCursor {
    processed_at: DateTime<Utc>,
    event_id: String,
}

impl std::fmt::Display for InboxCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}:{}",
            self.processed_at.timestamp_micros(),
            self.event_id
        )
    }
}

impl FromStr for InboxCursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once(':').and_then(|(at, event_id)| {
            Some(Self {
                processed_at: DateTime::from_timestamp_micros(at.parse().ok()?)?,
                event_id: event_id.to_owned(),
            })
        });
        parts.ok_or("not a cursor of a previous page")
    }
}

impl Serialize for InboxCursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Some rows, and where the next ones begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InboxPage {
    /// The rows, latest first.
    pub rows: Vec<InboxRow>,
    /// Where the next page begins, where there is one.
    pub next: Option<InboxCursor>,
}

/// Reads a page of these services' inboxes. What an event is about, the outboxes of all
/// of `stores` are asked for.
///
/// # Errors
/// The database is away.
pub async fn load_page(
    database: &PgPool,
    service_tables: &[ServiceTables],
    services: &[ServiceTables],
    request: &InboxPageRequest,
) -> Result<InboxPage, MessagingError> {
    let limit = request.limit as usize;
    let mut query = QueryBuilder::new("WITH handled AS (");
    for (at, store) in services.iter().enumerate() {
        if at > 0 {
            query.push(" UNION ALL ");
        }
        query.push(format!(
            "(SELECT '{}' AS service, queue, event_id, event_type, processed_at
                FROM {} WHERE true",
            store.service,
            store.qualified_table("inbox_events")
        ));
        request.push_conditions(&mut query, service_tables);
        if let Some(place) = &request.cursor {
            query
                .push(" AND (processed_at, event_id) < (")
                .push_bind(place.processed_at)
                .push(", ")
                .push_bind(place.event_id.clone())
                .push(")");
        }
        query
            .push(" ORDER BY processed_at DESC, event_id DESC LIMIT ")
            .push_bind(limit as i64 + 1)
            .push(")");
    }
    query
        .push(") SELECT handled.*, event.subject, event.traceparent FROM (SELECT * FROM handled ORDER BY processed_at DESC, event_id DESC LIMIT ")
        .push_bind(limit as i64 + 1)
        .push(") AS handled LEFT JOIN LATERAL (");
    for (at, store) in service_tables.iter().enumerate() {
        if at > 0 {
            query.push(" UNION ALL ");
        }
        query.push(format!(
            "SELECT subject, traceparent FROM {} WHERE event_id = handled.event_id",
            store.qualified_table("outbox_events")
        ));
    }
    query.push(
        " LIMIT 1) AS event ON true ORDER BY handled.processed_at DESC, handled.event_id DESC",
    );
    let mut rows: Vec<InboxRow> = query.build_query_as().fetch_all(database).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|row| InboxCursor {
        processed_at: row.processed_at,
        event_id: row.event_id.clone(),
    });
    Ok(InboxPage { rows, next })
}

impl InboxPageRequest {
    fn push_conditions(
        &self,
        query: &mut QueryBuilder<Postgres>,
        service_tables: &[ServiceTables],
    ) {
        if !self.queues.is_empty() {
            query
                .push(" AND queue = ANY(")
                .push_bind(self.queues.clone())
                .push(")");
        }
        self.filter.push_type_and_time("processed_at", query);
        for (column, operator, value) in self.filter.outbox_conditions() {
            query.push(" AND event_id IN (");
            for (at, store) in service_tables.iter().enumerate() {
                if at > 0 {
                    query.push(" UNION ALL ");
                }
                query
                    .push(format!(
                        "SELECT event_id FROM {} WHERE {column} {operator} ",
                        store.qualified_table("outbox_events")
                    ))
                    .push_bind(value.clone());
            }
            query.push(")");
        }
    }
}

#[cfg(test)]
mod tests {
    use dm_contracts::time;

    use super::*;

    #[test]
    fn a_place_is_told_and_understood() {
        let place = InboxCursor {
            processed_at: time::parse("2026-02-03T10:00:00.000123Z").unwrap(),
            event_id: "evt_1".into(),
        };
        assert_eq!(place.to_string(), "1770112800000123:evt_1");
        assert_eq!(place.to_string().parse(), Ok(place));
        for text in ["", "evt_1", "x:evt_1"] {
            assert!(text.parse::<InboxCursor>().is_err(), "{text}");
        }
    }
}
