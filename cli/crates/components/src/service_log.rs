//! A line of a service's log, for a person.
//!
//! Services write JSON: a time stamp, a level, a message, and fields.

use serde_json::{Map, Value};

/// What is left out or has a place of its own: the engine tells a line's time.
const OMITTED_FIELDS: [&str; 6] = ["timestamp", "level", "message", "target", "span", "spans"];

/// The line as level, message and fields; a line that is no such JSON as it is.
pub(super) fn format_log_line(line: String) -> String {
    let Ok(Value::Object(entry)) = serde_json::from_str::<Value>(&line) else {
        return line;
    };
    match (
        string_field(&entry, "level"),
        string_field(&entry, "message"),
    ) {
        (None, None) => line,
        (level, message) => {
            let mut parts = vec![
                format!("{:<5}", level.unwrap_or_default()),
                message.unwrap_or_default().to_owned(),
            ];
            let fields = entry
                .iter()
                .filter(|(name, _)| !OMITTED_FIELDS.contains(&name.as_str()));
            // The span has the trace that a line belongs to.
            let span = entry.get("span").and_then(Value::as_object);
            let of_span = span
                .into_iter()
                .flatten()
                .filter(|(name, _)| *name != "name" && !entry.contains_key(*name));
            let all = fields.chain(of_span);
            parts.extend(all.map(|(name, value)| format!("{name}={}", format_value(value))));
            parts.join(" ").trim_end().to_owned()
        }
    }
}

fn string_field<'a>(entry: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    entry.get(name).and_then(Value::as_str)
}

/// A value, in quotes only where it would not be one word.
fn format_value(value: &Value) -> String {
    match value {
        Value::String(text) if !text.is_empty() && !text.contains([' ', '"', '=']) => text.clone(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_level_message_and_fields() {
        let line = r#"{"timestamp":"2026-11-24T22:50:27Z","level":"INFO","message":"order placed","orderId":"ord_1","items":2,"reason":"no stock","target":"order","span":{"name":"request","trace_id":"4bf9"}}"#;
        assert_eq!(
            format_log_line(line.into()),
            "INFO  order placed orderId=ord_1 items=2 reason=\"no stock\" trace_id=4bf9"
        );
    }

    #[test]
    fn other_lines_are_as_they_were() {
        for line in ["thread 'main' panicked", "{", "[1]", r#"{"a":1}"#, ""] {
            assert_eq!(format_log_line(line.into()), line);
        }
    }
}
