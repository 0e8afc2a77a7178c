//! Dead letters by what they have in common.

use chrono::{DateTime, Utc};
use serde::Serialize;

/// Dead letters that are alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetterGroup {
    /// The work queue that they failed in.
    pub queue: String,
    /// Why.
    pub reason: String,
    /// Their type.
    pub event_type: Option<String>,
    /// How many.
    pub count: u64,
    /// When the oldest of them failed.
    pub oldest: Option<DateTime<Utc>>,
    /// When the latest of them failed.
    pub latest: Option<DateTime<Utc>>,
}
