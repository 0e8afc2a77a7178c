//! The options that filter events.

use chrono::{DateTime, Utc};
use clap::Args;
use dm_core::number::whole_number;
use dm_messaging::event_filter::EventFilter;

use super::period::{self, ReversedPeriod};

/// The filter and the limit for the events of a table.
#[derive(Debug, Args)]
pub(crate) struct EventFilterArgs {
    /// Show only events in the tables of this service; may be repeated.
    #[arg(long, value_name = "SERVICE")]
    pub(crate) service: Vec<String>,
    /// Show only events of this type or type suffix, e.g. `order.created.v1`; may be repeated.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Vec<String>,
    /// Show only events of this aggregate, e.g. `order/ord_9001`.
    #[arg(long, value_name = "SUBJECT", allow_hyphen_values = true)]
    aggregate: Option<String>,
    /// Show only events of this trace.
    #[arg(long, value_name = "TRACE_ID")]
    trace: Option<String>,
    /// Show only events at or after this time: an age such as `2h`, or a timestamp.
    ///
    /// The time of an event is when it was written to the outbox, or processed by the inbox.
    /// Timestamps have the form `2026-02-03T10:00:00Z`.
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    since: Option<DateTime<Utc>>,
    /// Show only events before this time: an age such as `2h`, or a timestamp.
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    until: Option<DateTime<Utc>>,
    /// Maximum number of events to show.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = whole_number::<u32>(1..=10_000), allow_negative_numbers = true)]
    pub(crate) limit: u32,
}

impl EventFilterArgs {
    /// Checks the order of `--since` and `--until`.
    ///
    /// # Errors
    /// Returns [`ReversedPeriod`] if the period ends before it begins.
    pub(crate) fn check_period(&self) -> Result<(), ReversedPeriod> {
        period::check_order(self.since, self.until)
    }

    /// Returns the filter.
    pub(crate) fn into_filter(self) -> EventFilter {
        EventFilter {
            types: self.event_type,
            subject: self.aggregate,
            trace_id: self.trace,
            since: self.since,
            until: self.until,
        }
    }
}

/// Parses a timestamp or an age.
pub(crate) fn parse_instant(text: &str) -> std::result::Result<DateTime<Utc>, String> {
    if let Some(instant) = dm_contracts::time::parse(text) {
        return Ok(instant);
    }
    let age = humantime::parse_duration(text)
        .map_err(|_| "neither an instant such as 2026-02-03T10:00:00Z nor a time such as 2h")?;
    let age = chrono::TimeDelta::from_std(age).map_err(|error| error.to_string())?;
    Utc::now()
        .checked_sub_signed(age)
        .ok_or_else(|| "too long ago".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_instant_accepts_timestamps_and_ages() {
        let timestamp = parse_instant("2026-02-03T10:00:00Z").unwrap();
        assert_eq!(timestamp.to_rfc3339(), "2026-02-03T10:00:00+00:00");
        let age = Utc::now() - parse_instant("2h").unwrap();
        assert!((age.num_seconds() - 7200).abs() < 60);
        for text in ["", "yesterday", "2026-02-03", "-1h", "99999999999y"] {
            assert!(parse_instant(text).is_err(), "{text}");
        }
    }
}
