//! Which events of outboxes and inboxes.

use chrono::{DateTime, Utc};
use sqlx::{Postgres, QueryBuilder};

/// What an event has to be like. What is empty asks for nothing.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// One of these types, whole or their end, e.g. `order.created.v1`.
    pub types: Vec<String>,
    /// This aggregate, e.g. `order/ord_9001`.
    pub subject: Option<String>,
    /// This trace.
    pub trace_id: Option<String>,
    /// Written, or handled, then or later.
    pub since: Option<DateTime<Utc>>,
    /// Written, or handled, before then.
    pub until: Option<DateTime<Utc>>,
}

impl EventFilter {
    /// The conditions that a table of either kind can decide by itself, where `at` is the
    /// column with the instant.
    pub(super) fn push_type_and_time(&self, at: &str, query: &mut QueryBuilder<Postgres>) {
        if !self.types.is_empty() {
            let ends = self.types.iter().map(|kind| format!("%.{kind}"));
            query
                .push(" AND (event_type = ANY(")
                .push_bind(self.types.clone())
                .push(") OR event_type LIKE ANY(")
                .push_bind(ends.collect::<Vec<_>>())
                .push("))");
        }
        if let Some(since) = self.since {
            query.push(format!(" AND {at} >= ")).push_bind(since);
        }
        if let Some(until) = self.until {
            query.push(format!(" AND {at} < ")).push_bind(until);
        }
    }

    /// What only outboxes know: each column, how it is compared, and with what.
    pub(super) fn outbox_conditions(&self) -> Vec<(&'static str, &'static str, String)> {
        let subject = self.subject.as_ref();
        let subject = subject.map(|subject| ("subject", "=", subject.clone()));
        let trace = self.trace_id.as_ref();
        let trace = trace.map(|trace| ("traceparent", "LIKE", format!("00-{trace}-%")));
        subject.into_iter().chain(trace).collect()
    }
}
