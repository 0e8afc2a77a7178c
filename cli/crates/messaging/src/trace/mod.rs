//! The trace of an event: its delivery status in each queue, the events that it caused, and the
//! timelines of the orders.
//!
//! ```text
//! lookup            finds the events of an id in the outboxes
//! delivery_status   the delivery status of each event in each queue
//! causality         the tree of events and the events they caused
//! timeline          the timelines of the orders that the events are about
//! ```

mod causality;
mod delivery_status;
mod lookup;
mod timeline;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use lapin::Connection;
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, PgPool};

use super::MessagingError;
use super::outbox::OutboxRow;
use super::service_tables::ServiceTables;
use causality::build_causal_tree;
#[cfg(any(test, feature = "examples"))]
pub use causality::examples;
use delivery_status::load_deliveries;
use lookup::{LookupColumn, candidate_subjects, find_rows};
pub use timeline::TimelineEntry;
use timeline::load_timeline;

/// The delivery status of an event in one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryStatus {
    /// It is still in the outbox.
    Unpublished,
    /// It was published, and its consumer has not processed it yet.
    Waiting,
    /// It was published, its consumer has not processed it, and the broker cannot be reached, so
    /// it may be dead-lettered.
    Unknown,
    /// Its consumer has processed it.
    Processed,
    /// It was dead-lettered.
    DeadLettered,
    /// It was dead-lettered, and an operator has parked it.
    Parked,
    /// It is in a queue that no service here consumes.
    HandedOver,
}

/// The delivery of an event to one queue.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EventDelivery {
    /// The queue.
    pub queue: &'static str,
    /// The service that consumes it.
    pub consumer: Option<&'static str>,
    /// The delivery status.
    pub status: DeliveryStatus,
    /// The instant at which it was processed, failed or was parked.
    pub status_at: Option<DateTime<Utc>>,
    /// The reason for which it was dead-lettered.
    pub reason: Option<String>,
    /// The error with which it was dead-lettered.
    pub error: Option<String>,
    /// The events that its processing caused.
    pub caused: Vec<TracedEvent>,
}

/// An event with its deliveries.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TracedEvent {
    /// The row in its outbox.
    #[serde(flatten)]
    pub row: OutboxRow,
    /// The deliveries to each queue that receives it.
    pub deliveries: Vec<EventDelivery>,
}

/// An event with its envelope and its deliveries.
#[derive(Debug, Clone, Serialize)]
pub struct EventDetail {
    /// The event.
    #[serde(flatten)]
    pub event: TracedEvent,
    /// The envelope, byte for byte as it is published.
    pub envelope: Box<RawValue>,
}

/// The events, traces and timelines of an id.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EventTrace {
    /// The requested id.
    pub query: String,
    /// The ids of the traces.
    pub traces: Vec<String>,
    /// The events without a cause in this trace, with the events that they caused.
    pub events: Vec<TracedEvent>,
    /// The timelines of the orders.
    pub timeline: Vec<TimelineEntry>,
}

/// The data sources for tracing events.
#[derive(Debug, Clone, Copy)]
pub struct TraceContext<'a> {
    /// The services' tables.
    pub service_tables: &'a [ServiceTables],
    /// The database.
    pub database: &'a PgPool,
    /// The connection to the broker, if it can be reached. It must hold the dead-letter lock.
    pub connection: Option<&'a Connection>,
}

/// Returns an event by its id.
///
/// # Errors
/// Returns [`MessagingError::EventNotFound`] if no outbox contains it.
pub async fn find_event(
    context: TraceContext<'_>,
    id: &str,
) -> Result<EventDetail, MessagingError> {
    let rows = find_rows(context, LookupColumn::EventId, &[id.to_owned()]).await?;
    let Some(row) = rows.into_iter().next() else {
        return Err(MessagingError::EventNotFound(id.to_owned()));
    };
    let tables = context
        .service_tables
        .iter()
        .find(|tables| tables.service == row.service);
    let mut envelope = None;
    if let Some(tables) = tables {
        let statement = format!(
            "SELECT payload FROM {} WHERE event_id = $1",
            tables.qualified_table("outbox_events")
        );
        envelope = sqlx::query_scalar(AssertSqlSafe(statement))
            .bind(id)
            .fetch_optional(context.database)
            .await?;
    }
    let events = load_deliveries(context, vec![row]).await?;
    let event = events.into_iter().next();
    event
        .zip(envelope)
        .map(|(event, Json(envelope))| EventDetail { event, envelope })
        .ok_or_else(|| MessagingError::EventNotFound(id.to_owned()))
}

/// Loads the trace of an id: of an event, a trace or an aggregate, for example `ord_9001` or
/// `order/ord_9001`.
///
/// # Errors
/// Returns [`MessagingError::EventNotFound`] if no outbox contains it.
pub async fn load_trace(context: TraceContext<'_>, id: &str) -> Result<EventTrace, MessagingError> {
    let is_trace = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let initial_rows = if is_trace {
        Vec::new()
    } else if id.starts_with("evt_") {
        find_rows(context, LookupColumn::EventId, &[id.to_owned()]).await?
    } else {
        find_rows(context, LookupColumn::Subject, &candidate_subjects(id)).await?
    };
    let mut traces: BTreeSet<String> = initial_rows
        .iter()
        .filter_map(OutboxRow::trace_id)
        .map(str::to_owned)
        .collect();
    if is_trace {
        traces.insert(id.to_ascii_lowercase());
    }
    let patterns: Vec<String> = traces.iter().map(|trace| format!("00-{trace}-%")).collect();
    let mut rows: BTreeMap<String, OutboxRow> = initial_rows
        .into_iter()
        .map(|row| (row.event_id.clone(), row))
        .collect();
    if !patterns.is_empty() {
        for row in find_rows(context, LookupColumn::Traceparent, &patterns).await? {
            rows.insert(row.event_id.clone(), row);
        }
    }
    if rows.is_empty() {
        return Err(MessagingError::EventNotFound(id.to_owned()));
    }
    let timeline = load_timeline(context, rows.values()).await?;
    let events = load_deliveries(context, rows.into_values().collect()).await?;
    Ok(EventTrace {
        query: id.to_owned(),
        traces: traces.into_iter().collect(),
        events: build_causal_tree(events),
        timeline,
    })
}
