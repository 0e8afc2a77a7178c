//! An event in an outbox.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::FromRow;

use crate::service_tables::ServiceTables;

/// The state of an event in the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum OutboxState {
    /// Not yet published by the relay.
    Pending,
    /// Held back on purpose until a later time.
    Held,
    /// Refused by the broker, to be published again.
    Refused,
    /// Published, and confirmed by the broker.
    Published,
}

impl OutboxState {
    /// Returns the name of the state.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Held => "held",
            Self::Refused => "refused",
            Self::Published => "published",
        }
    }

    /// Returns the SQL condition for a row in this state.
    pub(super) const fn sql_condition(self) -> &'static str {
        match self {
            Self::Pending => {
                "published_at IS NULL AND last_error IS NULL
                 AND (not_before IS NULL OR not_before <= now())"
            }
            Self::Held => "published_at IS NULL AND last_error IS NULL AND not_before > now()",
            Self::Refused => "published_at IS NULL AND last_error IS NOT NULL",
            Self::Published => "published_at IS NOT NULL",
        }
    }
}

/// A row of an outbox, without its envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct OutboxRow {
    /// The service that wrote it.
    pub service: String,
    /// The sequence number in the outbox of the service.
    pub sequence: i64,
    /// The event's id.
    pub event_id: String,
    /// The event's type.
    pub event_type: String,
    /// The routing key that it is published with.
    pub routing_key: String,
    /// The event's aggregate.
    pub subject: String,
    /// The trace context of its cause.
    pub traceparent: Option<String>,
    /// The instant of writing.
    pub created_at: DateTime<Utc>,
    /// The instant before which it is not published.
    pub not_before: Option<DateTime<Utc>>,
    /// The number of publish attempts.
    pub attempts: i32,
    /// The last error of the broker, if it refused the event.
    pub last_error: Option<String>,
    /// The instant at which the broker confirmed it.
    pub published_at: Option<DateTime<Utc>>,
}

/// Returns the select list for [`OutboxRow`].
pub(crate) fn select_columns(tables: &ServiceTables) -> String {
    format!(
        "'{}' AS service, sequence, event_id, event_type, routing_key, subject, traceparent,
         created_at, not_before, attempts, last_error, published_at",
        tables.service
    )
}

impl OutboxRow {
    /// Returns the state at the instant `now`.
    #[must_use]
    pub fn state(&self, now: DateTime<Utc>) -> OutboxState {
        if self.published_at.is_some() {
            OutboxState::Published
        } else if self.last_error.is_some() {
            OutboxState::Refused
        } else if self.not_before.is_some_and(|until| until > now) {
            OutboxState::Held
        } else {
            OutboxState::Pending
        }
    }

    /// Returns the trace id.
    #[must_use]
    pub fn trace_id(&self) -> Option<&str> {
        self.traceparent.as_deref()?.split('-').nth(1)
    }

    /// Returns the id of the span that caused it.
    #[must_use]
    pub(crate) fn span_id(&self) -> Option<&str> {
        self.traceparent.as_deref()?.split('-').nth(2)
    }
}

/// Examples for the tests of other crates.
#[cfg(any(test, feature = "examples"))]
#[allow(clippy::unwrap_used, missing_docs, reason = "only tests use it")]
pub mod examples {
    use dm_contracts::time;

    use super::*;

    #[must_use]
    pub fn outbox_row(id: &str) -> OutboxRow {
        OutboxRow {
            service: "order".into(),
            sequence: 7,
            event_id: id.into(),
            event_type: "com.dundermifflin.order.created.v1".into(),
            routing_key: "order.created.v1".into(),
            subject: "order/ord_9001".into(),
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01".into()),
            created_at: time::parse("2026-02-03T10:00:00Z").unwrap(),
            not_before: None,
            attempts: 1,
            last_error: None,
            published_at: time::parse("2026-02-03T10:00:00.012Z"),
        }
    }
}

#[cfg(test)]
mod tests {
    use dm_contracts::time;

    use super::examples::outbox_row;
    use super::*;

    #[test]
    fn state_follows_from_the_columns_of_a_row() {
        let now = time::parse("2026-02-03T12:00:00Z").unwrap();
        let state = |not_before: Option<&str>, error: Option<&str>, published: Option<&str>| {
            OutboxRow {
                not_before: not_before.and_then(time::parse),
                last_error: error.map(str::to_owned),
                published_at: published.and_then(time::parse),
                ..outbox_row("evt_1")
            }
            .state(now)
        };
        let later = Some("2026-02-03T12:00:01Z");
        let before = Some("2026-02-03T11:59:59Z");
        assert_eq!(state(None, None, None), OutboxState::Pending);
        assert_eq!(state(before, None, None), OutboxState::Pending);
        assert_eq!(state(later, None, None), OutboxState::Held);
        assert_eq!(
            state(later, Some("no queue is bound to its routing key"), None),
            OutboxState::Refused
        );
        assert_eq!(state(later, None, before), OutboxState::Published);
        assert_eq!(
            outbox_row("evt_1").trace_id(),
            Some("0af7651916cd43dd8448eb211c80319c")
        );
        assert_eq!(outbox_row("evt_1").span_id(), Some("00f067aa0ba902b7"));
    }
}
