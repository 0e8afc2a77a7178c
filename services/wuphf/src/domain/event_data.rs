//! Access to the data of an event. Fields that are not read may be missing or have any type.

use serde_json::Value;
use thiserror::Error;

/// A required field is missing or invalid.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("field {field} of {event_type} is missing or invalid")]
pub(crate) struct InvalidField {
    event_type: String,
    field: &'static str,
}

/// The data of an event.
#[derive(Debug, Clone, Copy)]
pub(super) struct EventData<'a> {
    event_type: &'a str,
    data: &'a Value,
}

impl<'a> EventData<'a> {
    pub(super) const fn new(event_type: &'a str, data: &'a Value) -> Self {
        Self { event_type, data }
    }

    /// Returns a text, or `None` if it is missing, blank, or has a NUL, which PostgreSQL cannot
    /// store.
    pub(super) fn optional_text(self, field: &str) -> Option<&'a str> {
        self.data
            .get(field)
            .and_then(Value::as_str)
            .map(str::trim)
            .filter(|text| !text.is_empty() && !text.contains('\0'))
    }

    /// Returns a required text.
    ///
    /// # Errors
    /// Returns [`InvalidField`] if the text is missing or invalid.
    pub(super) fn required_text(self, field: &'static str) -> Result<&'a str, InvalidField> {
        self.optional_text(field).ok_or_else(|| InvalidField {
            event_type: self.event_type.to_owned(),
            field,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn blank_or_non_text_field_is_missing() {
        let data = json!({"a": " x ", "b": " ", "c": 7, "d": null, "e": "x\0y"});
        let fields = EventData::new("t", &data);
        assert_eq!(fields.required_text("a"), Ok("x"));
        for name in ["b", "c", "d", "e", "f"] {
            assert_eq!(fields.optional_text(name), None, "{name}");
            assert_eq!(
                fields.required_text(name).unwrap_err().to_string(),
                format!("field {name} of t is missing or invalid")
            );
        }
        for data in [json!(null), json!([]), json!("x"), json!(7)] {
            assert_eq!(EventData::new("t", &data).optional_text("a"), None);
        }
    }
}
