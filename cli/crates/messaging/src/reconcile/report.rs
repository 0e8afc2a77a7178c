//! The result of a reconciliation.

use serde::Serialize;

/// The kind of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// An event that was published and is neither in a queue nor in an inbox.
    Missing,
    /// A dead letter of an event that was processed or has another dead letter.
    Doubled,
    /// A message or inbox row of an event that no outbox contains.
    Orphaned,
    /// A violated invariant of the business tables.
    Broken,
}

impl FindingKind {
    /// Returns the name of the kind.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Doubled => "doubled",
            Self::Orphaned => "orphaned",
            Self::Broken => "broken",
        }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ReconcileFinding {
    /// The kind.
    pub kind: FindingKind,
    /// The queue or the invariant.
    pub scope: String,
    /// The id of the event, or of the row that violates the invariant.
    pub id: String,
    /// The details.
    pub detail: String,
}

/// The numbers of events of a queue by status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueReport {
    /// The queue.
    pub queue: &'static str,
    /// The service that consumes it. `None` if the queue is for external consumers.
    pub consumer: Option<&'static str>,
    /// Events that were published to the queue.
    pub published: i64,
    /// Events that the consumer has processed.
    pub processed: i64,
    /// Events that are ready, unacknowledged or wait for a retry.
    pub in_flight: i64,
    /// Events that were dead-lettered, including parked ones, and not processed since.
    pub dead_lettered: i64,
    /// Events that were not found.
    pub missing: i64,
    /// Events that wait in the queue for an external consumer.
    pub waiting: i64,
    /// Events whose location cannot be determined.
    pub undetermined: i64,
    /// The reason for undetermined events.
    pub reason: Option<&'static str>,
}

impl QueueReport {
    /// Creates the report of a queue with its number of published events.
    #[must_use]
    pub const fn new(queue: &'static str, consumer: Option<&'static str>, published: i64) -> Self {
        Self {
            queue,
            consumer,
            published,
            processed: 0,
            in_flight: 0,
            dead_lettered: 0,
            missing: 0,
            waiting: 0,
            undetermined: 0,
            reason: None,
        }
    }
}

/// An invariant of the business tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Invariant {
    /// The name.
    pub name: &'static str,
    /// The condition in words.
    pub meaning: &'static str,
    /// The number of rows that were checked.
    pub checked: i64,
    /// The number of rows that violate it.
    pub violations: i64,
}

/// The result of a reconciliation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReconcileReport {
    /// The number of events that are still unpublished in the outboxes.
    pub pending: i64,
    /// The reports of the queues.
    pub queues: Vec<QueueReport>,
    /// The invariants.
    pub invariants: Vec<Invariant>,
    /// The findings, at most 100 per invariant.
    pub findings: Vec<ReconcileFinding>,
}

impl ReconcileReport {
    /// Returns whether there are no findings.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
            && self
                .invariants
                .iter()
                .all(|invariant| invariant.violations == 0)
            && self.queues.iter().all(|queue| queue.missing == 0)
    }

    /// Returns the number of findings of a kind; for `Broken`, the number of violations.
    #[must_use]
    pub fn count_findings(&self, kind: FindingKind) -> usize {
        match kind {
            FindingKind::Broken => self
                .invariants
                .iter()
                .map(|invariant| usize::try_from(invariant.violations).unwrap_or_default())
                .sum(),
            kind => self
                .findings
                .iter()
                .filter(|finding| finding.kind == kind)
                .count(),
        }
    }
}
