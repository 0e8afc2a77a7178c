//! What came out.

use serde::Serialize;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// An event that was published and is nowhere on its way to a queue.
    Missing,
    /// An event that is there twice.
    Doubled,
    /// Something of an event that no outbox knows.
    Orphaned,
    /// A law of the business tables that doesn't hold.
    Broken,
}

impl FindingKind {
    /// Its word.
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

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ReconcileFinding {
    /// What kind of thing.
    pub kind: FindingKind,
    /// The queue, or the law.
    pub of: String,
    /// The event, or what the law is broken for.
    pub what: String,
    /// What is known of it.
    pub detail: String,
}

/// The account of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueAccount {
    /// The queue.
    pub queue: &'static str,
    /// The service that consumes it; nobody's where it is for outside use.
    pub consumer: Option<&'static str>,
    /// How many events were published to it.
    pub published: i64,
    /// How many its consumer has handled.
    pub consumed: i64,
    /// How many are in the queue, at its consumer, or wait to be tried again.
    pub in_flight: i64,
    /// How many were set aside, parked ones among them, and not handled since.
    pub dead: i64,
    /// How many are nowhere.
    pub missing: i64,
    /// How many wait in the queue for somebody outside.
    pub waiting: i64,
    /// Of how many it can't be told where they are.
    pub unaccounted: i64,
    /// Why it can't.
    pub why: Option<&'static str>,
}

impl QueueAccount {
    /// The account of a queue to which so many events were published, before it is looked at.
    #[must_use]
    pub const fn new(queue: &'static str, consumer: Option<&'static str>, published: i64) -> Self {
        Self {
            queue,
            consumer,
            published,
            consumed: 0,
            in_flight: 0,
            dead: 0,
            missing: 0,
            waiting: 0,
            unaccounted: 0,
            why: None,
        }
    }
}

/// A law of the business tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Invariant {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub says: &'static str,
    /// How many cases it was checked for.
    pub checked: i64,
    /// How many it is broken for.
    pub broken: i64,
}

/// The whole account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReconcileReport {
    /// How many events are still in the outboxes.
    pub pending: i64,
    /// The queues.
    pub accounts: Vec<QueueAccount>,
    /// The laws.
    pub laws: Vec<Invariant>,
    /// What is wrong, at most a hundred of a law.
    pub findings: Vec<ReconcileFinding>,
}

impl ReconcileReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
            && self.laws.iter().all(|law| law.broken == 0)
            && self.accounts.iter().all(|account| account.missing == 0)
    }

    /// How many things of a kind are wrong.
    #[must_use]
    pub fn count_findings(&self, kind: FindingKind) -> usize {
        match kind {
            FindingKind::Broken => self
                .laws
                .iter()
                .map(|law| usize::try_from(law.broken).unwrap_or_default())
                .sum(),
            kind => self.findings.iter().filter(|it| it.kind == kind).count(),
        }
    }
}
