//! Intervals of scheduled tasks.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{BoundedDuration, InvalidValue, deserialize_quantity};

/// The value that disables the schedule.
const OFF: &str = "off";

/// The interval of a scheduled task: a duration from `MIN` to `MAX` milliseconds, or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepeatInterval<const MIN: u64, const MAX: u64> {
    /// The schedule is disabled.
    Off,
    /// The task runs at this interval.
    Every(BoundedDuration<MIN, MAX>),
}

impl<const MIN: u64, const MAX: u64> RepeatInterval<MIN, MAX> {
    /// Returns the interval, or `None` if the schedule is disabled.
    #[must_use]
    pub const fn as_duration(self) -> Option<Duration> {
        match self {
            Self::Off => None,
            Self::Every(interval) => Some(interval.as_duration()),
        }
    }
}

impl<const MIN: u64, const MAX: u64> TryFrom<String> for RepeatInterval<MIN, MAX> {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        if text.trim() == OFF {
            return Ok(Self::Off);
        }
        BoundedDuration::try_from(text)
            .map(Self::Every)
            .map_err(|error| {
                let help = error.help.unwrap_or_default();
                InvalidValue::new(error.reason).with_help(format!("{help}, or `{OFF}`"))
            })
    }
}

impl<const MIN: u64, const MAX: u64> std::fmt::Display for RepeatInterval<MIN, MAX> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Off => f.write_str(OFF),
            Self::Every(interval) => interval.fmt(f),
        }
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for RepeatInterval<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_quantity(deserializer)
    }
}

impl<const MIN: u64, const MAX: u64> Serialize for RepeatInterval<MIN, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<const MIN: u64, const MAX: u64> JsonSchema for RepeatInterval<MIN, MAX> {
    fn schema_name() -> Cow<'static, str> {
        format!("Cadence_{MIN}_{MAX}").into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let duration_schema = BoundedDuration::<MIN, MAX>::json_schema(generator);
        let title = duration_schema
            .get("title")
            .and_then(|title| title.as_str());
        let title = format!("{}, or `\"{OFF}\"`", title.unwrap_or_default());
        json_schema!({
            "title": title,
            "type": "string",
            "pattern": "^\\s*(off|([0-9]+\\s*[a-zµ]+\\s*)+)\\s*$",
        })
    }

    fn inline_schema() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type TestInterval = RepeatInterval<1_000, 60_000>;

    #[test]
    fn repeat_interval_is_a_duration_or_off() {
        let parse = |text: &str| TestInterval::try_from(text.to_owned());
        assert_eq!(parse("off").unwrap().as_duration(), None);
        assert_eq!(
            parse("5s").unwrap().as_duration(),
            Some(Duration::from_secs(5))
        );
        for text in ["", "never", "5", "1ms", "2m"] {
            let error = parse(text).unwrap_err();
            assert!(error.help.unwrap().ends_with("or `off`"), "{text}");
        }
        assert_eq!(TestInterval::Off.to_string(), "off");
    }
}
