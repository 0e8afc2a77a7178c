//! Which dead letters.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::DeadLetter;

/// What a dead letter has to be like. What is empty asks for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DeadLetterFilter {
    /// One of these reasons.
    pub reasons: Vec<String>,
    /// One of these types, whole or their end, e.g. `order.created.v1`.
    pub types: Vec<String>,
    /// One of these: an event's id, or a letter's fingerprint.
    pub ids: Vec<String>,
    /// Failed then or later.
    pub since: Option<DateTime<Utc>>,
    /// Failed before then.
    pub until: Option<DateTime<Utc>>,
}

impl DeadLetterFilter {
    /// Whether letters of this type can be meant.
    pub(super) fn matches_type(&self, event_type: Option<&str>) -> bool {
        let ends = |wanted: &String| {
            let rest = event_type.and_then(|found| found.strip_suffix(wanted.as_str()));
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        self.types.is_empty() || self.types.iter().any(ends)
    }

    /// Whether a letter is meant. One that doesn't say when it failed is not, where
    /// that is asked for.
    #[must_use]
    pub(crate) fn matches(&self, letter: &DeadLetter) -> bool {
        let any = |wanted: &[String], found: Option<&str>, fits: fn(&str, &str) -> bool| {
            wanted.is_empty()
                || found.is_some_and(|found| wanted.iter().any(|wanted| fits(wanted, found)))
        };
        let same = |wanted: &str, found: &str| wanted == found;
        let failed = |fits: &dyn Fn(DateTime<Utc>) -> bool| letter.failed_at.is_some_and(fits);
        any(&self.reasons, Some(&letter.reason), same)
            && self.matches_type(letter.event_type.as_deref())
            && (any(&self.ids, letter.id.as_deref(), same)
                || any(&self.ids, Some(&letter.fingerprint), same))
            && self.since.is_none_or(|since| failed(&|at| at >= since))
            && self.until.is_none_or(|until| failed(&|at| at < until))
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
    fn what_is_empty_asks_for_nothing() {
        assert!(DeadLetterFilter::default().matches(&letter()));
    }

    #[test]
    fn each_condition_counts() {
        let texts = |text: &str| vec!["x".to_owned(), text.to_owned()];
        for (reason, kind, id, takes) in [
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
                types: texts(kind),
                ids: texts(id),
                ..DeadLetterFilter::default()
            };
            assert_eq!(filter.matches(&letter()), takes, "{filter:?}");
        }
    }

    #[test]
    fn the_beginning_is_in_and_the_end_is_not() {
        let at = |text| time::parse(text);
        let between = |since, until| DeadLetterFilter {
            since: at(since),
            until: at(until),
            ..DeadLetterFilter::default()
        };
        let (before, then, after) = (
            "2026-02-03T09:00:00Z",
            "2026-02-03T10:00:00Z",
            "2026-02-03T11:00:00Z",
        );
        assert!(between(then, after).matches(&letter()));
        assert!(!between(before, then).matches(&letter()));
        let timeless = DeadLetter {
            failed_at: None,
            ..letter()
        };
        assert!(!between(before, after).matches(&timeless));
    }
}
