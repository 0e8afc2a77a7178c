//! What became of events: published, consumed where, dead where, and what they caused.
//!
//! ```text
//! find         what outboxes know of an id
//! deliveries   how far each event is on its way to each queue
//! tree         which one caused which
//! ```

mod causality;
mod delivery_status;
mod lookup;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use lapin::Connection;
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, FromRow, PgPool};

use super::MessagingError;
use super::outbox::OutboxRow;
use super::service_tables::ServiceTables;
use causality::build_causal_tree;
#[cfg(any(test, feature = "examples"))]
pub use causality::examples;
use delivery_status::load_deliveries;
use lookup::{LookupColumn, candidate_subjects, find_rows, load_timeline};

/// How far an event is on its way to one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryStatus {
    /// It is still in the outbox.
    Unpublished,
    /// It was published, and its consumer has not handled it yet.
    Waiting,
    /// It was published, its consumer has not handled it, and the broker, which is away, can't
    /// be asked whether it was set aside.
    Unknown,
    /// Its consumer has handled it.
    Consumed,
    /// It was set aside.
    Dead,
    /// It was set aside, and parked by somebody.
    Parked,
    /// It is in a queue that no service here consumes.
    HandedOver,
}

/// An event on its way to one of the queues that take it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EventDelivery {
    /// The queue.
    pub queue: &'static str,
    /// The service that consumes it.
    pub consumer: Option<&'static str>,
    /// How far it is.
    pub fate: DeliveryStatus,
    /// When it was handled, or failed.
    pub at: Option<DateTime<Utc>>,
    /// Why it was set aside.
    pub reason: Option<String>,
    /// The error that it was set aside with.
    pub error: Option<String>,
    /// What handling it caused.
    pub caused: Vec<TracedEvent>,
}

/// An event with its way.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TracedEvent {
    /// What its outbox says.
    #[serde(flatten)]
    pub row: OutboxRow,
    /// Its way to each queue that takes it.
    pub deliveries: Vec<EventDelivery>,
}

/// An event with its envelope and its way.
#[derive(Debug, Clone, Serialize)]
pub struct EventDetail {
    /// The event.
    #[serde(flatten)]
    pub event: TracedEvent,
    /// The envelope, byte for byte as it is published.
    pub envelope: Box<RawValue>,
}

/// A step of an order's timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct TimelineStep {
    /// The order.
    pub order_id: String,
    /// What it came to.
    pub status: String,
    /// When.
    pub at: DateTime<Utc>,
    /// By which service.
    pub source: String,
}

/// All that an id leads to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EventTrace {
    /// What was asked for.
    pub of: String,
    /// The traces that it takes in.
    pub traces: Vec<String>,
    /// The events that no event here caused, with what they caused.
    pub events: Vec<TracedEvent>,
    /// The timelines of the orders that it is about.
    pub timeline: Vec<TimelineStep>,
}

/// Where events are looked for.
#[derive(Debug, Clone, Copy)]
pub struct TraceContext<'a> {
    /// The services' tables.
    pub service_tables: &'a [ServiceTables],
    /// The database.
    pub database: &'a PgPool,
    /// The broker, where it is there. Its turn at the dead letters must be had.
    pub connection: Option<&'a Connection>,
}

/// One event by its id.
///
/// # Errors
/// [`MessagingError::NoEvent`] where no outbox has it.
pub async fn find_event(
    context: TraceContext<'_>,
    id: &str,
) -> Result<EventDetail, MessagingError> {
    let rows = find_rows(context, LookupColumn::EventId, &[id.to_owned()]).await?;
    let Some(row) = rows.into_iter().next() else {
        return Err(MessagingError::EventNotFound(id.to_owned()));
    };
    let store = context
        .service_tables
        .iter()
        .find(|store| store.service == row.service);
    let mut envelope = None;
    if let Some(store) = store {
        let statement = format!(
            "SELECT payload FROM {} WHERE event_id = $1",
            store.qualified_table("outbox_events")
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

/// Everything about an id: an event's, a trace's, or an aggregate's, e.g. `ord_9001` or
/// `order/ord_9001`.
///
/// # Errors
/// [`MessagingError::NoEvent`] where no outbox knows it.
pub async fn load_trace(context: TraceContext<'_>, id: &str) -> Result<EventTrace, MessagingError> {
    let is_trace = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let seeds = if is_trace {
        Vec::new()
    } else if id.starts_with("evt_") {
        find_rows(context, LookupColumn::EventId, &[id.to_owned()]).await?
    } else {
        find_rows(context, LookupColumn::Subject, &candidate_subjects(id)).await?
    };
    let mut traces: BTreeSet<String> = seeds
        .iter()
        .filter_map(OutboxRow::trace_id)
        .map(str::to_owned)
        .collect();
    if is_trace {
        traces.insert(id.to_ascii_lowercase());
    }
    let parents: Vec<String> = traces.iter().map(|trace| format!("00-{trace}-%")).collect();
    let mut found: BTreeMap<String, OutboxRow> = seeds
        .into_iter()
        .map(|row| (row.event_id.clone(), row))
        .collect();
    if !parents.is_empty() {
        for row in find_rows(context, LookupColumn::Traceparent, &parents).await? {
            found.insert(row.event_id.clone(), row);
        }
    }
    if found.is_empty() {
        return Err(MessagingError::EventNotFound(id.to_owned()));
    }
    let timeline = load_timeline(context, found.values()).await?;
    let events = load_deliveries(context, found.into_values().collect()).await?;
    Ok(EventTrace {
        of: id.to_owned(),
        traces: traces.into_iter().collect(),
        events: build_causal_tree(events),
        timeline,
    })
}
