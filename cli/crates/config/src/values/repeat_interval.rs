//! How often something is done by itself.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{BoundedDuration, InvalidValue, deserialize_quantity};

/// The word for never.
const OFF: &str = "off";

/// How often something is done by itself: every length of time from `MIN` to `MAX`
/// milliseconds, or never, which is `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepeatInterval<const MIN: u64, const MAX: u64> {
    /// Never.
    Off,
    /// So often.
    Every(BoundedDuration<MIN, MAX>),
}

impl<const MIN: u64, const MAX: u64> RepeatInterval<MIN, MAX> {
    /// The length of time between two; none where it is never done.
    #[must_use]
    pub const fn as_duration(self) -> Option<Duration> {
        match self {
            Self::Off => None,
            Self::Every(period) => Some(period.as_duration()),
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
            .map_err(|refusal| {
                let help = refusal.help.unwrap_or_default();
                InvalidValue::new(refusal.reason).with_help(format!("{help}, or `{OFF}`"))
            })
    }
}

impl<const MIN: u64, const MAX: u64> std::fmt::Display for RepeatInterval<MIN, MAX> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Off => f.write_str(OFF),
            Self::Every(period) => period.fmt(f),
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
        let period = BoundedDuration::<MIN, MAX>::json_schema(generator);
        let title = period.get("title").and_then(|title| title.as_str());
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

    type It = RepeatInterval<1_000, 60_000>;

    #[test]
    fn a_time_or_off() {
        let read = |text: &str| It::try_from(text.to_owned());
        assert_eq!(read("off").unwrap().as_duration(), None);
        assert_eq!(
            read("5s").unwrap().as_duration(),
            Some(Duration::from_secs(5))
        );
        for text in ["", "never", "5", "1ms", "2m"] {
            let refusal = read(text).unwrap_err();
            assert!(refusal.help.unwrap().ends_with("or `off`"), "{text}");
        }
        assert_eq!(It::Off.to_string(), "off");
    }
}
