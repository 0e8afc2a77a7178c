//! Working days, and the growth of business over them.

use chrono::{DateTime, Datelike as _, Days, NaiveDate, NaiveTime, TimeDelta, Utc, Weekday};

/// The opening time of offices in Scranton, in UTC.
const OPENING_TIME: NaiveTime = NaiveTime::from_hms_opt(13, 0, 0).expect("an hour of the day");
/// The length of the opening hours, in seconds.
const OPEN_SECONDS: f64 = 9.0 * 3600.0;
/// The exponent of the growth. Below 1 business grows: the last day has about twice the business
/// of the first.
const GROWTH_EXPONENT: f64 = 0.75;

/// The working days of a period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BusinessCalendar {
    working_days: Vec<NaiveDate>,
}

impl BusinessCalendar {
    /// Returns the working days of the last `days` days before `until`, at least 3 days, so that
    /// one of them is a working day.
    #[must_use]
    pub(crate) fn ending_before(until: NaiveDate, days: u16) -> Self {
        let mut working: Vec<NaiveDate> = (1..=u64::from(days.max(3)))
            .filter_map(|back| until.checked_sub_days(Days::new(back)))
            .filter(|day| is_working_day(*day))
            .collect();
        working.reverse();
        Self {
            working_days: working,
        }
    }

    /// Returns the business instant at a share of the period, from 0 to 1. Larger shares give
    /// later instants.
    #[must_use]
    pub(crate) fn instant_at(&self, share: f64) -> DateTime<Utc> {
        let count = self.working_days.len();
        #[expect(clippy::cast_precision_loss, reason = "days of a few years")]
        let position = share.clamp(0.0, 1.0).powf(GROWTH_EXPONENT) * count as f64;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "within the days of the period"
        )]
        let day = (position as usize).min(count.saturating_sub(1));
        #[expect(clippy::cast_precision_loss, reason = "as above")]
        let seconds = (position - day as f64).min(0.999_999) * OPEN_SECONDS;
        #[expect(clippy::cast_possible_truncation, reason = "within a day")]
        let since_opening = TimeDelta::microseconds((seconds * 1e6) as i64);
        let opens = self
            .working_days
            .get(day)
            .map(|day| day.and_time(OPENING_TIME).and_utc());
        opens.unwrap_or_default() + since_opening
    }

    /// Returns the end of the last working day.
    #[must_use]
    pub(crate) fn end(&self) -> DateTime<Utc> {
        self.instant_at(1.0)
    }
}

/// Returns the first business instant at or after an instant.
#[must_use]
pub(crate) fn next_business_instant(instant: DateTime<Utc>) -> DateTime<Utc> {
    let date = instant.date_naive();
    let opens = date.and_time(OPENING_TIME).and_utc();
    if is_working_day(date) && instant >= opens {
        return instant;
    }
    let mut day = date;
    while !is_working_day(day) {
        day = day.succ_opt().unwrap_or(day);
    }
    let opens = day.and_time(OPENING_TIME).and_utc();
    // Keep the offset within the hour, so that not all instants are at the opening time.
    opens + TimeDelta::microseconds(instant.timestamp_micros().rem_euclid(3_600_000_000))
}

fn is_working_day(day: NaiveDate) -> bool {
    !matches!(day.weekday(), Weekday::Sat | Weekday::Sun)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn until() -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 11, 26).unwrap()
    }

    proptest! {
        #[test]
        fn instant_at_is_monotonic_and_within_business_hours(a in 0.0..=1.0, b in 0.0..=1.0) {
            let calendar = BusinessCalendar::ending_before(until(), 90);
            let (a, b): (f64, f64) = if a < b { (a, b) } else { (b, a) };
            let (earlier, later) = (calendar.instant_at(a), calendar.instant_at(b));
            prop_assert!(earlier <= later);
            for instant in [earlier, later] {
                prop_assert!(is_working_day(instant.date_naive()));
                prop_assert!(instant.time() >= OPENING_TIME && instant.date_naive() < until());
                prop_assert_eq!(next_business_instant(instant), instant);
            }
        }
    }

    #[test]
    fn next_business_instant_skips_nights_and_weekends() {
        let saturday: DateTime<Utc> = "2026-11-21T09:20:00Z".parse().unwrap();
        let monday: DateTime<Utc> = "2026-11-23T13:20:00Z".parse().unwrap();
        assert_eq!(next_business_instant(saturday), monday);
    }

    #[test]
    fn second_half_of_the_business_takes_less_time_than_the_first() {
        let calendar = BusinessCalendar::ending_before(until(), 90);
        let hours =
            |from: f64, to: f64| (calendar.instant_at(to) - calendar.instant_at(from)).num_hours();
        assert!(hours(0.0, 0.5) > hours(0.5, 1.0));
    }
}
