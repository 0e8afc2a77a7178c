//! Instants and dates as text in events and responses.

use chrono::{DateTime, Datelike as _, NaiveDate, SubsecRound as _, Timelike as _, Utc};

/// Returns the current time in microseconds, the precision of PostgreSQL: a value that is
/// written and read again is equal.
#[must_use]
pub fn now() -> DateTime<Utc> {
    (Utc::now() + clock_offset()).trunc_subsecs(6)
}

/// Returns the offset of this process's clock, which fault-injection tests set with
/// `DM_CLOCK_OFFSET_MS`.
#[cfg(feature = "fail-points")]
fn clock_offset() -> chrono::TimeDelta {
    static CLOCK_OFFSET_MS: std::sync::OnceLock<i64> = std::sync::OnceLock::new();
    let milliseconds = CLOCK_OFFSET_MS.get_or_init(|| {
        let setting = std::env::var("DM_CLOCK_OFFSET_MS").ok();
        setting
            .and_then(|text| text.parse().ok())
            .unwrap_or_default()
    });
    chrono::TimeDelta::milliseconds(*milliseconds)
}

/// Returns zero: only test builds shift the clock.
#[cfg(not(feature = "fail-points"))]
const fn clock_offset() -> chrono::TimeDelta {
    chrono::TimeDelta::zero()
}

/// Formats an instant as ISO-8601 in UTC, ending in `Z`, with sub-second digits if they are
/// not zero.
#[must_use]
pub fn format(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

/// The years that every part of the stack supports: chrono and PostgreSQL support others,
/// and format them differently.
const SUPPORTED_YEARS: std::ops::RangeInclusive<i32> = 1..=9999;

/// Parses an ISO-8601 instant with an offset, in the years 1 to 9999. Returns `None` if it is
/// not valid.
#[must_use]
pub fn parse(text: &str) -> Option<DateTime<Utc>> {
    let instant = DateTime::parse_from_rfc3339(text.trim()).ok()?;
    let instant = instant.with_timezone(&Utc).trunc_subsecs(6);
    SUPPORTED_YEARS.contains(&instant.year()).then_some(instant)
}

/// The years in which an instant with any offset is in a supported year of UTC.
const YEARS_WITH_OFFSET: std::ops::RangeInclusive<i32> = 2..=9998;

/// Parses an instant in the exact form of RFC 3339, `YYYY-MM-DDThh:mm:ss` with an optional fraction
/// and an offset, in the years 2 to 9998, or 1 to 9999 with the offset of UTC. Returns `None` if it is
/// not valid, or a leap second, which PostgreSQL cannot store.
#[must_use]
pub fn parse_instant(text: &str) -> Option<DateTime<Utc>> {
    // chrono also accepts a space before the time, and another character for the minus sign.
    let separator = *text.as_bytes().get(10)?;
    let is_well_formed = text.is_ascii() && matches!(separator, b'T' | b't');
    let instant = DateTime::parse_from_rfc3339(text).ok()?;
    // chrono adds a second to the nanoseconds of a leap second.
    let is_leap_second = instant.nanosecond() >= 1_000_000_000;
    let is_utc = instant.offset().local_minus_utc() == 0;
    let years = if is_utc {
        SUPPORTED_YEARS
    } else {
        YEARS_WITH_OFFSET
    };
    let is_supported = years.contains(&instant.year());
    (is_well_formed && !is_leap_second && is_supported)
        .then(|| instant.with_timezone(&Utc).trunc_subsecs(6))
}

/// Parses a date in the exact form `YYYY-MM-DD`, in the years 1 to 9999. Returns `None` if it
/// is not valid.
#[must_use]
pub fn parse_date(text: &str) -> Option<NaiveDate> {
    // chrono also accepts signs, spaces and single digits.
    let is_well_formed = text.len() == 10
        && text.bytes().enumerate().all(|(index, byte)| match index {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    let date: NaiveDate = is_well_formed.then(|| text.parse().ok())??;
    SUPPORTED_YEARS.contains(&date.year()).then_some(date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instant_round_trips_through_its_text() {
        let instant = now();
        assert_eq!(parse(&format(instant)), Some(instant));
        assert!(format(instant).ends_with('Z'));
    }

    #[test]
    fn offset_is_converted_to_utc_and_invalid_text_rejected() {
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
    fn exact_instant_is_that_of_rfc_3339_in_supported_years() {
        for (text, instant) in [
            ("2026-02-03T10:00:00+02:00", "2026-02-03T08:00:00Z"),
            (
                "2026-02-03t10:00:00.1234567z",
                "2026-02-03T10:00:00.123456Z",
            ),
            ("2026-02-03T10:00:00-00:00", "2026-02-03T10:00:00Z"),
            ("0002-01-01T00:00:00+23:59", "0001-12-31T00:01:00Z"),
            ("9998-12-31T23:59:59-23:59", "9999-01-01T23:58:59Z"),
            ("9999-12-31T23:59:59+00:00", "9999-12-31T23:59:59Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ] {
            assert_eq!(parse_instant(text), parse(instant), "{text}");
            assert!(parse(instant).is_some(), "{instant}");
        }
        for text in [
            "",
            "yesterday",
            "2026-02-03",
            " 2026-02-03T10:00:00Z",
            "2026-02-03T10:00:00Z ",
            "2026-02-03 10:00:00Z",
            "2026-02-03T10:00:00",
            "2026-02-03T10:00Z",
            "2026-02-03T10:00:00.Z",
            "2026-02-03T10:00:00+0200",
            "2026-02-03T10:00:00+24:00",
            "2026-02-03T10:00:00\u{2212}02:00",
            "2026-02-30T10:00:00Z",
            "2026-02-03T24:00:00Z",
            "2026-06-30T23:59:60Z",
            "0000-01-01T00:00:00Z",
            "0001-06-01T00:00:00+01:00",
            "9999-06-01T00:00:00-01:00",
            "12026-01-01T00:00:00Z",
        ] {
            assert_eq!(parse_instant(text), None, "{text}");
        }
    }

    #[test]
    fn date_needs_four_digit_year_and_a_calendar_day() {
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
                parse_date(text).map(|date| date.to_string()).as_deref(),
                Some(text)
            );
        }
    }
}
