//! The error envelope that all of them answer.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An error as a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorObject,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorObject {
    /// A stable code, e.g. `VALIDATION_ERROR`.
    pub code: String,
    /// For a person.
    pub message: String,
    /// Field by field. Some services answer `null` or leave it out.
    #[serde(default, skip_serializing_if = "Details::is_absent")]
    #[schema(value_type = Option<Vec<FieldIssue>>)]
    pub details: Details,
    /// The trace that the logs have it under.
    pub trace_id: Option<String>,
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldIssue {
    /// The field, as a path.
    pub field: String,
    /// What is wrong with it.
    pub issue: String,
}

impl FieldIssue {
    /// What is wrong with a field.
    pub fn new(field: impl Into<String>, issue: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            issue: issue.into(),
        }
    }
}

/// The details as a body has them: no such key, `null`, or a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Details {
    /// The key is not there.
    #[default]
    Absent,
    /// The key is there and `null`.
    Null,
    /// A list, perhaps an empty one.
    List(Vec<FieldIssue>),
}

impl Details {
    /// Whether the key is not there.
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
    fn details_come_in_three_shapes() {
        for (details, text) in [
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
            assert_eq!(serde_json::to_string(&object).unwrap(), text);
            assert_eq!(serde_json::from_str::<ErrorObject>(text).unwrap(), object);
        }
    }
}
