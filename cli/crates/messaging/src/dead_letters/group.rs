//! Groups of dead letters.

use chrono::{DateTime, Utc};
use serde::Serialize;

/// Dead letters with equal queue, reason and type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetterGroup {
    /// The work queue that they failed in.
    pub queue: String,
    /// The reason.
    pub reason: String,
    /// The event type.
    pub event_type: Option<String>,
    /// The number of letters.
    pub count: u64,
    /// The instant at which the oldest letter failed.
    pub oldest: Option<DateTime<Utc>>,
    /// The instant at which the latest letter failed.
    pub latest: Option<DateTime<Utc>>,
}
