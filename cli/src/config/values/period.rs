//! Lengths of time.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Refusal, deserialize_with_unit};

/// A length of time from `MIN` to `MAX` milliseconds, written with its unit:
/// `75ms`, `10s`, `2m 30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period<const MIN: u64, const MAX: u64>(Duration);

impl<const MIN: u64, const MAX: u64> Period<MIN, MAX> {
    /// The length as the standard library has it.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl<const MIN: u64, const MAX: u64> TryFrom<String> for Period<MIN, MAX> {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        let length = humantime::parse_duration(&text).map_err(|_| {
            let refusal = Refusal::new("this is no length of time");
            match text.trim() {
                "" => refusal.help("write a number with its unit, for example `90s`"),
                number if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                    refusal.help(format!("add the unit: \"{number}s\" or \"{number}ms\""))
                }
                _ => refusal.help("write numbers with units, for example `75ms`, `90s`, `2m 30s`"),
            }
        })?;
        let (min, max) = (Duration::from_millis(MIN), Duration::from_millis(MAX));
        if (min..=max).contains(&length) {
            return Ok(Self(length));
        }
        let side = if length < min { "short" } else { "long" };
        Err(Refusal::new(format!(
            "{} is too {side} a time here",
            humantime::format_duration(length)
        ))
        .help(format!(
            "write {} to {}",
            humantime::format_duration(min),
            humantime::format_duration(max)
        )))
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Period<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_with_unit(deserializer)
    }
}

impl<const MIN: u64, const MAX: u64> std::fmt::Display for Period<MIN, MAX> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl<const MIN: u64, const MAX: u64> Serialize for Period<MIN, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<const MIN: u64, const MAX: u64> JsonSchema for Period<MIN, MAX> {
    fn schema_name() -> Cow<'static, str> {
        format!("Duration_{MIN}_{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let title = format!(
            "Duration, {} to {}",
            humantime::format_duration(Duration::from_millis(MIN)),
            humantime::format_duration(Duration::from_millis(MAX)),
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
