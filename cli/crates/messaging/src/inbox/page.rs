//! A page of the inboxes, latest first.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};
use sqlx::{FromRow, PgPool, Postgres, QueryBuilder};

use crate::MessagingError;
use crate::event_filter::EventFilter;
use crate::service_tables::ServiceTables;

/// An event that a service has processed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct InboxRow {
    /// The service.
    pub service: String,
    /// The work queue that delivered it.
    pub queue: String,
    /// The event's id.
    pub event_id: String,
    /// The event's type.
    pub event_type: String,
    /// The instant of processing.
    pub processed_at: DateTime<Utc>,
    /// The event's aggregate, during the retention of its outbox.
    pub subject: Option<String>,
    /// The trace context of its cause, during the retention of its outbox.
    pub traceparent: Option<String>,
}

/// A request for a page.
#[derive(Debug, Clone, Default)]
pub struct InboxPageRequest {
    /// The work queues. Empty for all.
    pub queues: Vec<String>,
    /// The conditions that the events must meet.
    pub filter: EventFilter,
    /// The position after which the page starts. `None` for the latest event.
    pub cursor: Option<InboxCursor>,
    /// The maximum number of rows.
    pub limit: u32,
}

/// The position of a page: the page starts after this event.
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
        let parts = text.split_once(':').and_then(|(micros, event_id)| {
            Some(Self {
                processed_at: DateTime::from_timestamp_micros(micros.parse().ok()?)?,
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

/// A page of rows, and the cursor of the next page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InboxPage {
    /// The rows, latest first.
    pub rows: Vec<InboxRow>,
    /// The cursor of the next page, if there is one.
    pub next_cursor: Option<InboxCursor>,
}

/// Loads a page of the inboxes of `services`. Subject and trace context come from the outboxes
/// of all `service_tables`.
///
/// # Errors
/// Returns [`MessagingError`] if the database cannot be reached.
pub async fn load_page(
    database: &PgPool,
    service_tables: &[ServiceTables],
    services: &[ServiceTables],
    request: &InboxPageRequest,
) -> Result<InboxPage, MessagingError> {
    let limit = request.limit as usize;
    let mut query = QueryBuilder::new("WITH processed AS (");
    for (index, tables) in services.iter().enumerate() {
        if index > 0 {
            query.push(" UNION ALL ");
        }
        query.push(format!(
            "(SELECT '{}' AS service, queue, event_id, event_type, processed_at
                FROM {} WHERE true",
            tables.service,
            tables.qualified_table("inbox_events")
        ));
        request.push_conditions(&mut query, service_tables);
        if let Some(cursor) = &request.cursor {
            query
                .push(" AND (processed_at, event_id) < (")
                .push_bind(cursor.processed_at)
                .push(", ")
                .push_bind(cursor.event_id.clone())
                .push(")");
        }
        query
            .push(" ORDER BY processed_at DESC, event_id DESC LIMIT ")
            .push_bind(limit as i64 + 1)
            .push(")");
    }
    query
        .push(") SELECT processed.*, event.subject, event.traceparent FROM (SELECT * FROM processed ORDER BY processed_at DESC, event_id DESC LIMIT ")
        .push_bind(limit as i64 + 1)
        .push(") AS processed LEFT JOIN LATERAL (");
    for (index, tables) in service_tables.iter().enumerate() {
        if index > 0 {
            query.push(" UNION ALL ");
        }
        query.push(format!(
            "SELECT subject, traceparent FROM {} WHERE event_id = processed.event_id",
            tables.qualified_table("outbox_events")
        ));
    }
    query.push(
        " LIMIT 1) AS event ON true ORDER BY processed.processed_at DESC, processed.event_id DESC",
    );
    let mut rows: Vec<InboxRow> = query.build_query_as().fetch_all(database).await?;
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next_cursor = rows.last().filter(|_| has_more).map(|row| InboxCursor {
        processed_at: row.processed_at,
        event_id: row.event_id.clone(),
    });
    Ok(InboxPage { rows, next_cursor })
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
            for (index, tables) in service_tables.iter().enumerate() {
                if index > 0 {
                    query.push(" UNION ALL ");
                }
                query
                    .push(format!(
                        "SELECT event_id FROM {} WHERE {column} {operator} ",
                        tables.qualified_table("outbox_events")
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
    fn cursor_round_trips_as_text() {
        let cursor = InboxCursor {
            processed_at: time::parse("2026-02-03T10:00:00.000123Z").unwrap(),
            event_id: "evt_1".into(),
        };
        assert_eq!(cursor.to_string(), "1770112800000123:evt_1");
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for text in ["", "evt_1", "x:evt_1"] {
            assert!(text.parse::<InboxCursor>().is_err(), "{text}");
        }
    }
}
