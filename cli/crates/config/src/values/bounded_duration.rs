//! Durations with limits.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{InvalidValue, deserialize_quantity};

/// Formats a duration exactly: `250 ms`, `1 min 30 s`, `6 h`, `2 days`. The result can be parsed
/// as a duration.
#[must_use]
pub fn format_exact_duration(duration: Duration) -> String {
    let mut remaining = duration.as_millis();
    let mut parts = Vec::new();
    for (unit, milliseconds) in UNITS {
        let count = remaining / milliseconds;
        remaining %= milliseconds;
        if count > 0 {
            let plural = if unit == DAY && count > 1 { "s" } else { "" };
            parts.push(format!("{count} {unit}{plural}"));
        }
    }
    if parts.is_empty() {
        return "0 s".to_owned();
    }
    parts.join(" ")
}

/// Formats an interval: `every day`, `every 6 h`.
#[must_use]
pub fn format_interval(interval: Duration) -> String {
    let units = [
        ("day", 86_400),
        ("hour", 3_600),
        ("minute", 60),
        ("second", 1),
    ];
    let single_unit = units
        .into_iter()
        .find(|(_, seconds)| interval == Duration::from_secs(*seconds));
    match single_unit {
        Some((unit, _)) => format!("every {unit}"),
        None => format!("every {}", format_exact_duration(interval)),
    }
}

const DAY: &str = "day";

/// The units of time, in milliseconds.
const UNITS: [(&str, u128); 5] = [
    (DAY, 86_400_000),
    ("h", 3_600_000),
    ("min", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// A duration from `MIN` to `MAX` milliseconds, written with its unit: `75ms`, `10s`, `2m 30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BoundedDuration<const MIN: u64, const MAX: u64>(Duration);

impl<const MIN: u64, const MAX: u64> BoundedDuration<MIN, MAX> {
    /// Returns the value as a [`Duration`].
    #[must_use]
    pub const fn as_duration(self) -> Duration {
        self.0
    }
}

impl<const MIN: u64, const MAX: u64> TryFrom<String> for BoundedDuration<MIN, MAX> {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        let duration = humantime::parse_duration(&text).map_err(|_| {
            let error = InvalidValue::new("not a duration");
            match text.trim() {
                "" => error.with_help("write a number with its unit, for example `90s`"),
                number if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                    error.with_help(format!("add the unit: \"{number}s\" or \"{number}ms\""))
                }
                _ => {
                    error.with_help("write numbers with units, for example `75ms`, `90s`, `2m 30s`")
                }
            }
        })?;
        let (min, max) = (Duration::from_millis(MIN), Duration::from_millis(MAX));
        if (min..=max).contains(&duration) {
            return Ok(Self(duration));
        }
        let adjective = if duration < min { "short" } else { "long" };
        Err(InvalidValue::new(format!(
            "{} is too {adjective}",
            format_exact_duration(duration)
        ))
        .with_help(format!(
            "write {} to {}",
            format_exact_duration(min),
            format_exact_duration(max)
        )))
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for BoundedDuration<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_quantity(deserializer)
    }
}

impl<const MIN: u64, const MAX: u64> std::fmt::Display for BoundedDuration<MIN, MAX> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl<const MIN: u64, const MAX: u64> Serialize for BoundedDuration<MIN, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<const MIN: u64, const MAX: u64> JsonSchema for BoundedDuration<MIN, MAX> {
    fn schema_name() -> Cow<'static, str> {
        format!("Duration_{MIN}_{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let title = format!(
            "Duration, {} to {}",
            format_exact_duration(Duration::from_millis(MIN)),
            format_exact_duration(Duration::from_millis(MAX)),
        );
        json_schema!({
            "title": title,
            "type": "string",
            "pattern": "^\\s*([0-9]+\\s*[a-zµ]+\\s*)+$",
        })
    }

    fn inline_schema() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_and_intervals_are_formatted_with_units() {
        for (seconds, duration_text, interval_text) in [
            (1, "1 s", "every second"),
            (60, "1 min", "every minute"),
            (90, "1 min 30 s", "every 1 min 30 s"),
            (3_600, "1 h", "every hour"),
            (21_600, "6 h", "every 6 h"),
            (86_400, "1 day", "every day"),
            (172_800, "2 days", "every 2 days"),
            (90_061, "1 day 1 h 1 min 1 s", "every 1 day 1 h 1 min 1 s"),
            (31_622_400, "366 days", "every 366 days"),
        ] {
            let duration = Duration::from_secs(seconds);
            assert_eq!(format_exact_duration(duration), duration_text);
            assert_eq!(format_interval(duration), interval_text);
        }
        assert_eq!(format_exact_duration(Duration::ZERO), "0 s");
        assert_eq!(
            format_exact_duration(Duration::from_millis(2_250)),
            "2 s 250 ms"
        );
    }

    proptest! {
        #[test]
        fn formatted_exact_duration_is_parsed_back(milliseconds in 0_u64..100_000_000_000) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(humantime::parse_duration(&format_exact_duration(duration)), Ok(duration));
        }
    }
}
