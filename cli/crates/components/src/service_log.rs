//! Formats a line of a service's log for a person.
//!
//! Services write JSON: a time stamp, a level, a message, and fields.

use serde_json::{Map, Value};

/// The fields that are omitted or shown elsewhere: the engine reports the time of a line.
const OMITTED_FIELDS: [&str; 6] = ["timestamp", "level", "message", "target", "span", "spans"];

/// Formats the line as level, message and fields. A line without this JSON stays unchanged.
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
            // The span contains the trace id of the line.
            let span = entry.get("span").and_then(Value::as_object);
            let span_fields = span
                .into_iter()
                .flatten()
                .filter(|(name, _)| *name != "name" && !entry.contains_key(*name));
            let all = fields.chain(span_fields);
            parts.extend(all.map(|(name, value)| format!("{name}={}", format_value(value))));
            parts.join(" ").trim_end().to_owned()
        }
    }
}

fn string_field<'a>(entry: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    entry.get(name).and_then(Value::as_str)
}

/// Formats a value, with quotes only if it is not one word.
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
    fn json_line_is_formatted_as_level_message_and_fields() {
        let line = r#"{"timestamp":"2026-11-24T22:50:27Z","level":"WARN","message":"request rejected","http.route":"/internal/orders","http.response.status_code":409,"error.message":"no stock","target":"dm_kit::http::observe","span":{"name":"request","trace_id":"4bf9"}}"#;
        assert_eq!(
            format_log_line(line.into()),
            "WARN  request rejected http.route=/internal/orders http.response.status_code=409 \
             error.message=\"no stock\" trace_id=4bf9"
        );
    }

    #[test]
    fn other_lines_stay_unchanged() {
        for line in ["thread 'main' panicked", "{", "[1]", r#"{"a":1}"#, ""] {
            assert_eq!(format_log_line(line.into()), line);
        }
    }
}
