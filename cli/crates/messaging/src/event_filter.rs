//! A filter for events of outboxes and inboxes.

use chrono::{DateTime, Utc};
use sqlx::{Postgres, QueryBuilder};

/// The conditions that an event must meet. An empty field is no condition.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// The accepted types or their suffixes, for example `order.created.v1`.
    pub types: Vec<String>,
    /// The aggregate, for example `order/ord_9001`.
    pub subject: Option<String>,
    /// The trace id.
    pub trace_id: Option<String>,
    /// The earliest instant of writing (outbox) or processing (inbox).
    pub since: Option<DateTime<Utc>>,
    /// The instant before which the event was written (outbox) or processed (inbox).
    pub until: Option<DateTime<Utc>>,
}

impl EventFilter {
    /// Adds the conditions that both an outbox and an inbox can evaluate. `time_column` is the
    /// column with the instant.
    pub(super) fn push_type_and_time(&self, time_column: &str, query: &mut QueryBuilder<Postgres>) {
        if !self.types.is_empty() {
            let suffixes = self.types.iter().map(|kind| format!("%.{kind}"));
            query
                .push(" AND (event_type = ANY(")
                .push_bind(self.types.clone())
                .push(") OR event_type LIKE ANY(")
                .push_bind(suffixes.collect::<Vec<_>>())
                .push("))");
        }
        if let Some(since) = self.since {
            query
                .push(format!(" AND {time_column} >= "))
                .push_bind(since);
        }
        if let Some(until) = self.until {
            query
                .push(format!(" AND {time_column} < "))
                .push_bind(until);
        }
    }

    /// Returns the conditions on columns that only outboxes have: column, operator and value.
    pub(super) fn outbox_conditions(&self) -> Vec<(&'static str, &'static str, String)> {
        let subject = self.subject.as_ref();
        let subject = subject.map(|subject| ("subject", "=", subject.clone()));
        let trace = self.trace_id.as_ref();
        let trace = trace.map(|trace| ("traceparent", "LIKE", format!("00-{trace}-%")));
        subject.into_iter().chain(trace).collect()
    }
}
