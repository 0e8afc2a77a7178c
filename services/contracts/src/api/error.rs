//! The error envelope of all services.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Body of an error response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorObject,
}

/// Description of an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorObject {
    /// A stable code, e.g. `VALIDATION_ERROR`.
    pub code: String,
    /// Message for a person.
    pub message: String,
    /// Issues by field. Some services send `null` or omit it.
    #[serde(default, skip_serializing_if = "Details::is_absent")]
    #[schema(value_type = Option<Vec<FieldIssue>>)]
    pub details: Details,
    /// Trace id of the request, as in the logs. Always set.
    #[schema(value_type = String)]
    pub trace_id: Option<String>,
}

/// An issue of one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldIssue {
    /// Path of the field.
    pub field: String,
    /// Text of the issue.
    pub issue: String,
}

impl FieldIssue {
    /// Creates an issue of a field.
    pub fn new(field: impl Into<String>, issue: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            issue: issue.into(),
        }
    }
}

/// The `details` of an error: no key, `null`, or a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Details {
    /// The key is missing.
    #[default]
    Absent,
    /// The key is `null`.
    Null,
    /// A list, which may be empty.
    List(Vec<FieldIssue>),
}

impl Details {
    /// Returns whether the key is missing.
    #[must_use]
    pub(crate) const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

impl Serialize for Details {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absent | Self::Null => serializer.serialize_none(),
            Self::List(issues) => issues.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Details {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Null, Self::List))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_absent_null_or_a_list() {
        for (details, json) in [
            (
                Details::Absent,
                r#"{"code":"C","message":"m","traceId":null}"#,
            ),
            (
                Details::Null,
                r#"{"code":"C","message":"m","details":null,"traceId":null}"#,
            ),
            (
                Details::List(vec![FieldIssue::new("sku", "required")]),
                r#"{"code":"C","message":"m","details":[{"field":"sku","issue":"required"}],"traceId":null}"#,
            ),
        ] {
            let object = ErrorObject {
                code: "C".into(),
                message: "m".into(),
                details,
                trace_id: None,
            };
            assert_eq!(serde_json::to_string(&object).unwrap(), json);
            assert_eq!(serde_json::from_str::<ErrorObject>(json).unwrap(), object);
        }
    }
}
