//! Instants as they stand in events and answers.

use chrono::{DateTime, SubsecRound as _, Utc};

/// Now, in the microseconds that PostgreSQL keeps: a value that is written and
/// read again is the same value.
#[must_use]
pub fn now() -> DateTime<Utc> {
    (Utc::now() + offset()).trunc_subsecs(6)
}

/// How far this process's clock is off, which tests of faults decide by
/// `DM_CLOCK_OFFSET_MS`.
#[cfg(feature = "fail-points")]
fn offset() -> chrono::TimeDelta {
    static OFFSET: std::sync::OnceLock<i64> = std::sync::OnceLock::new();
    let milliseconds = OFFSET.get_or_init(|| {
        let set = std::env::var("DM_CLOCK_OFFSET_MS").ok();
        set.and_then(|text| text.parse().ok()).unwrap_or_default()
    });
    chrono::TimeDelta::milliseconds(*milliseconds)
}

/// A clock is right unless a test says otherwise.
#[cfg(not(feature = "fail-points"))]
const fn offset() -> chrono::TimeDelta {
    chrono::TimeDelta::zero()
}

/// An ISO-8601 instant in UTC, ending in `Z`, with sub-second digits where there
/// are any.
#[must_use]
pub fn format(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

/// Reads an ISO-8601 instant with an offset; `None` where it is none.
#[must_use]
pub fn parse(text: &str) -> Option<DateTime<Utc>> {
    let instant = DateTime::parse_from_rfc3339(text.trim()).ok()?;
    Some(instant.with_timezone(&Utc).trunc_subsecs(6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_survives_its_text() {
        let instant = now();
        assert_eq!(parse(&format(instant)), Some(instant));
        assert!(format(instant).ends_with('Z'));
    }

    #[test]
    fn offsets_become_utc_and_nonsense_nothing() {
        assert_eq!(
            parse("2026-02-03T10:00:00+02:00").map(format),
            Some("2026-02-03T08:00:00Z".to_owned())
        );
        for text in ["", "yesterday", "2026-02-03", "2026-02-30T10:00:00Z"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
