//! Instants as they stand in events and answers.

use chrono::{DateTime, Datelike as _, NaiveDate, SubsecRound as _, Utc};

/// Now, in the microseconds that PostgreSQL keeps: a value that is written and
/// read again is the same value.
#[must_use]
pub fn now() -> DateTime<Utc> {
    (Utc::now() + clock_offset()).trunc_subsecs(6)
}

/// How far this process's clock is off, which tests of faults decide by
/// `DM_CLOCK_OFFSET_MS`.
#[cfg(feature = "fail-points")]
fn clock_offset() -> chrono::TimeDelta {
    static CLOCK_OFFSET_MS: std::sync::OnceLock<i64> = std::sync::OnceLock::new();
    let milliseconds = CLOCK_OFFSET_MS.get_or_init(|| {
        let set = std::env::var("DM_CLOCK_OFFSET_MS").ok();
        set.and_then(|text| text.parse().ok()).unwrap_or_default()
    });
    chrono::TimeDelta::milliseconds(*milliseconds)
}

/// A clock is right unless a test says otherwise.
#[cfg(not(feature = "fail-points"))]
const fn clock_offset() -> chrono::TimeDelta {
    chrono::TimeDelta::zero()
}

/// An ISO-8601 instant in UTC, ending in `Z`, with sub-second digits where there
/// are any.
#[must_use]
pub fn format(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

/// The years that every part of the stack can say: chrono and PostgreSQL know others, and
/// write them in other ways.
const SUPPORTED_YEARS: std::ops::RangeInclusive<i32> = 1..=9999;

/// Reads an ISO-8601 instant with an offset, of the years 1 to 9999; `None` where it is none.
#[must_use]
pub fn parse(text: &str) -> Option<DateTime<Utc>> {
    let instant = DateTime::parse_from_rfc3339(text.trim()).ok()?;
    let instant = instant.with_timezone(&Utc).trunc_subsecs(6);
    SUPPORTED_YEARS.contains(&instant.year()).then_some(instant)
}

/// Reads a date that is `YYYY-MM-DD` to the letter and in the calendar, of the years 1 to
/// 9999; `None` where it is none.
#[must_use]
pub fn parse_date(text: &str) -> Option<NaiveDate> {
    // chrono also takes signs, spaces and single digits.
    let shaped = text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    let date: NaiveDate = shaped.then(|| text.parse().ok())??;
    SUPPORTED_YEARS.contains(&date.year()).then_some(date)
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
        for text in [
            "",
            "yesterday",
            "2026-02-03",
            "2026-02-30T10:00:00Z",
            "0000-01-01T00:00:00Z",
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59-01:00",
            "-0001-01-01T00:00:00Z",
            "+12026-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn dates_are_of_four_digits_and_in_the_calendar() {
        for text in [
            "",
            "2026-2-3",
            "2026-02-30",
            "0000-01-01",
            "+2026-02-3",
            "-001-01-01",
            "12026-01-01",
            "2026-02-03 ",
            "2026/02/03",
        ] {
            assert_eq!(parse_date(text), None, "{text}");
        }
        for text in ["0001-01-01", "2024-02-29", "9999-12-31"] {
            assert_eq!(
                parse_date(text).map(|it| it.to_string()).as_deref(),
                Some(text)
            );
        }
    }
}
