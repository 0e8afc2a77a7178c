//! A filter for dead letters.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::DeadLetter;

/// The conditions that a dead letter must meet. An empty field is no condition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DeadLetterFilter {
    /// The accepted reasons.
    pub reasons: Vec<String>,
    /// The accepted types or their suffixes, for example `order.created.v1`.
    pub types: Vec<String>,
    /// The accepted event ids or fingerprints.
    pub ids: Vec<String>,
    /// The earliest instant of the failure.
    pub since: Option<DateTime<Utc>>,
    /// The instant before which the letter failed.
    pub until: Option<DateTime<Utc>>,
}

impl DeadLetterFilter {
    /// Returns whether the type meets the condition.
    pub(super) fn matches_type(&self, event_type: Option<&str>) -> bool {
        let has_suffix = |suffix: &String| {
            let rest = event_type.and_then(|name| name.strip_suffix(suffix.as_str()));
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        self.types.is_empty() || self.types.iter().any(has_suffix)
    }

    /// Returns whether a letter meets the conditions. A letter without the instant of its failure
    /// does not meet a condition on that instant.
    #[must_use]
    pub(crate) fn matches(&self, letter: &DeadLetter) -> bool {
        let accepts = |accepted: &[String], value: Option<&str>| {
            accepted.is_empty()
                || value.is_some_and(|value| accepted.iter().any(|accepted| accepted == value))
        };
        let failed_at =
            |condition: &dyn Fn(DateTime<Utc>) -> bool| letter.failed_at.is_some_and(condition);
        accepts(&self.reasons, Some(&letter.reason))
            && self.matches_type(letter.event_type.as_deref())
            && (accepts(&self.ids, letter.id.as_deref())
                || accepts(&self.ids, Some(&letter.fingerprint)))
            && self.since.is_none_or(|since| failed_at(&|at| at >= since))
            && self.until.is_none_or(|until| failed_at(&|at| at < until))
    }
}

#[cfg(test)]
mod tests {
    use dm_contracts::time;
    use lapin::BasicProperties;

    use super::*;

    fn letter() -> DeadLetter {
        let mut letter = DeadLetter::from_message("q", 1, &BasicProperties::default(), b"");
        letter.id = Some("evt_1".into());
        letter.event_type = Some("com.dundermifflin.order.created.v1".into());
        letter.reason = "invalid-data".into();
        letter.failed_at = time::parse("2026-02-03T10:00:00Z");
        letter
    }

    #[test]
    fn empty_filter_matches_every_letter() {
        assert!(DeadLetterFilter::default().matches(&letter()));
    }

    #[test]
    fn filter_requires_every_condition() {
        let texts = |text: &str| vec!["x".to_owned(), text.to_owned()];
        for (reason, event_type, id, expected) in [
            ("invalid-data", "order.created.v1", "evt_1", true),
            (
                "invalid-data",
                "com.dundermifflin.order.created.v1",
                "evt_1",
                true,
            ),
            ("invalid", "order.created.v1", "evt_1", false),
            ("invalid-data", "created.v2", "evt_1", false),
            ("invalid-data", "er.created.v1", "evt_1", false),
            ("invalid-data", "order.created.v1", "evt_", false),
        ] {
            let filter = DeadLetterFilter {
                reasons: texts(reason),
                types: texts(event_type),
                ids: texts(id),
                ..DeadLetterFilter::default()
            };
            assert_eq!(filter.matches(&letter()), expected, "{filter:?}");
        }
    }

    #[test]
    fn since_is_inclusive_and_until_is_exclusive() {
        let instant = |text| time::parse(text);
        let between = |since, until| DeadLetterFilter {
            since: instant(since),
            until: instant(until),
            ..DeadLetterFilter::default()
        };
        let (before, then, after) = (
            "2026-02-03T09:00:00Z",
            "2026-02-03T10:00:00Z",
            "2026-02-03T11:00:00Z",
        );
        assert!(between(then, after).matches(&letter()));
        assert!(!between(before, then).matches(&letter()));
        let without_instant = DeadLetter {
            failed_at: None,
            ..letter()
        };
        assert!(!between(before, after).matches(&without_instant));
    }
}
