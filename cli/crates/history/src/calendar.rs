//! Working days, and how business grows over them.

use chrono::{DateTime, Datelike as _, Days, NaiveDate, NaiveTime, TimeDelta, Utc, Weekday};

/// When offices open in Scranton, as UTC.
const OPENING_TIME: NaiveTime = NaiveTime::from_hms_opt(13, 0, 0).expect("an hour of the day");
/// For how long they are open, in seconds.
const OPEN_SECONDS: f64 = 9.0 * 3600.0;
/// Below one, the more there is the later it is: the last day has about twice the business
/// of the first.
const GROWTH_EXPONENT: f64 = 0.75;

/// The working days of a period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BusinessCalendar {
    working_days: Vec<NaiveDate>,
}

impl BusinessCalendar {
    /// So many days up to this one, which is not part of it: at least one of them is a
    /// working day.
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

    /// The instant of business at a share of the whole, from 0 to 1. Later shares are
    /// later.
    #[must_use]
    pub(crate) fn instant_at(&self, share: f64) -> DateTime<Utc> {
        let count = self.working_days.len();
        #[expect(clippy::cast_precision_loss, reason = "days of a few years")]
        let place = share.clamp(0.0, 1.0).powf(GROWTH_EXPONENT) * count as f64;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "within the days of the period"
        )]
        let day = (place as usize).min(count.saturating_sub(1));
        #[expect(clippy::cast_precision_loss, reason = "as above")]
        let seconds = (place - day as f64).min(0.999_999) * OPEN_SECONDS;
        #[expect(clippy::cast_possible_truncation, reason = "within a day")]
        let open = TimeDelta::microseconds((seconds * 1e6) as i64);
        let opens = self
            .working_days
            .get(day)
            .map(|day| day.and_time(OPENING_TIME).and_utc());
        opens.unwrap_or_default() + open
    }

    /// The end of the last working day.
    #[must_use]
    pub(crate) fn end(&self) -> DateTime<Utc> {
        self.instant_at(1.0)
    }
}

/// The first instant of business at or after this one.
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
    // Not all of them on the stroke: as late into the day as it was into the hour.
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
        fn later_shares_are_later_and_all_are_working_hours(one in 0.0..=1.0, other in 0.0..=1.0) {
            let calendar = BusinessCalendar::ending_before(until(), 90);
            let (one, other): (f64, f64) = if one < other { (one, other) } else { (other, one) };
            let (one, other) = (calendar.instant_at(one), calendar.instant_at(other));
            prop_assert!(one <= other);
            for at in [one, other] {
                prop_assert!(is_working_day(at.date_naive()));
                prop_assert!(at.time() >= OPENING_TIME && at.date_naive() < until());
                prop_assert_eq!(next_business_instant(at), at);
            }
        }
    }

    #[test]
    fn nights_and_weekends_wait() {
        let saturday: DateTime<Utc> = "2026-11-21T09:20:00Z".parse().unwrap();
        let monday: DateTime<Utc> = "2026-11-23T13:20:00Z".parse().unwrap();
        assert_eq!(next_business_instant(saturday), monday);
    }

    #[test]
    fn business_grows() {
        let calendar = BusinessCalendar::ending_before(until(), 90);
        let of_days =
            |from: f64, to: f64| (calendar.instant_at(to) - calendar.instant_at(from)).num_hours();
        assert!(of_days(0.0, 0.5) > of_days(0.5, 1.0));
    }
}
