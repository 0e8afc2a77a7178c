//! JSON documents and lines. Each begins with a `schema` field, whose version is
//! raised only if a reader of the old format would misread the new one. Fields
//! may be added at any time.

use dm_core::document::DocumentSchema;
use serde::Serialize;

use super::OutputError;

/// A value with the name of its schema.
#[derive(Debug, Serialize)]
struct VersionedDocument<'a, T> {
    schema: &'a DocumentSchema,
    #[serde(flatten)]
    body: &'a T,
}

fn serialization_error(schema: &DocumentSchema) -> impl FnOnce(serde_json::Error) -> OutputError {
    let what = schema.id();
    move |source| OutputError::Json { what, source }
}

/// Formats an indented document, for a person or `jq`. The body must be a struct
/// or a map; its fields follow `schema`.
///
/// # Errors
/// Returns [`OutputError::Json`] if the body is neither a struct nor a map, or cannot be
/// expressed as JSON.
pub fn format_document<T: Serialize>(
    schema: &DocumentSchema,
    body: &T,
) -> Result<String, OutputError> {
    serde_json::to_string_pretty(&VersionedDocument { schema, body })
        .map_err(serialization_error(schema))
}

/// Like [`format_document`], on one line.
///
/// # Errors
/// As for [`format_document`].
pub fn format_line<T: Serialize>(schema: &DocumentSchema, body: &T) -> Result<String, OutputError> {
    serde_json::to_string(&VersionedDocument { schema, body }).map_err(serialization_error(schema))
}

/// Formats a further line of a stream whose first line has the schema.
///
/// # Errors
/// Returns [`OutputError::Json`] if the body cannot be expressed as JSON.
pub fn format_continuation_line<T: Serialize>(
    schema: &DocumentSchema,
    body: &T,
) -> Result<String, OutputError> {
    serde_json::to_string(body).map_err(serialization_error(schema))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: DocumentSchema = DocumentSchema::for_test("dm.x/1");

    #[derive(Serialize)]
    struct Body {
        rows: Vec<u8>,
    }

    #[test]
    fn document_begins_with_the_schema() {
        insta::assert_snapshot!(format_line(&SCHEMA, &Body { rows: vec![1] }).unwrap(), @r#"{"schema":"dm.x/1","rows":[1]}"#);
        assert!(
            format_document(&SCHEMA, &Body { rows: vec![] })
                .unwrap()
                .starts_with("{\n  \"schema\"")
        );
    }

    #[test]
    fn body_without_fields_is_an_error() {
        assert!(
            matches!(format_document(&SCHEMA, &vec![1]), Err(OutputError::Json { what, .. }) if what == "dm.x/1")
        );
    }
}
