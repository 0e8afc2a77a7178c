//! What an event says, as far as it matters here. Fields that are not read may be
//! anything or missing.

use serde_json::Value;
use thiserror::Error;

/// Mandatory data is missing.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("{event_type} has no usable {field}")]
pub(crate) struct MissingField {
    event_type: String,
    field: &'static str,
}

/// The texts in an event's data.
#[derive(Debug, Clone, Copy)]
pub(super) struct EventData<'a> {
    event_type: &'a str,
    data: &'a Value,
}

impl<'a> EventData<'a> {
    pub(super) const fn new(event_type: &'a str, data: &'a Value) -> Self {
        Self { event_type, data }
    }

    /// A text; `None` where there is none, or a blank one, or one that the database
    /// can't hold.
    pub(super) fn optional_text(self, field: &str) -> Option<&'a str> {
        self.data
            .get(field)
            .and_then(Value::as_str)
            .map(str::trim)
            .filter(|text| !text.is_empty() && !text.contains('\0'))
    }

    /// A text that must be there.
    pub(super) fn required_text(self, field: &'static str) -> Result<&'a str, MissingField> {
        self.optional_text(field).ok_or_else(|| MissingField {
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
    fn only_texts_with_something_in_them_count() {
        let data = json!({"a": " x ", "b": " ", "c": 7, "d": null, "e": "x\0y"});
        let facts = EventData::new("t", &data);
        assert_eq!(facts.required_text("a"), Ok("x"));
        for field in ["b", "c", "d", "e", "f"] {
            assert_eq!(facts.optional_text(field), None, "{field}");
            assert_eq!(
                facts.required_text(field).unwrap_err().to_string(),
                format!("t has no usable {field}")
            );
        }
        for data in [json!(null), json!([]), json!("x"), json!(7)] {
            assert_eq!(EventData::new("t", &data).optional_text("a"), None);
        }
    }
}
