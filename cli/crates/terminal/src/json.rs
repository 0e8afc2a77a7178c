//! JSON documents and lines. Each begins with a `schema` field, whose number
//! grows only when a reader of the old shape would misread the new one; new
//! fields may appear at any time.

use dm_core::document::DocumentSchema;
use serde::Serialize;

use super::OutputError;

/// A value under the name of its schema.
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

/// One document, indented, for a person or `jq`. The body must be a struct or
/// a map; its fields stand beside `schema`.
///
/// # Errors
/// If the body is no struct or map, or can't be expressed as JSON.
pub fn format_document<T: Serialize>(
    schema: &DocumentSchema,
    body: &T,
) -> Result<String, OutputError> {
    serde_json::to_string_pretty(&VersionedDocument { schema, body })
        .map_err(serialization_error(schema))
}

/// As [`document`], on one line.
///
/// # Errors
/// As for [`document`].
pub fn format_line<T: Serialize>(schema: &DocumentSchema, body: &T) -> Result<String, OutputError> {
    serde_json::to_string(&VersionedDocument { schema, body }).map_err(serialization_error(schema))
}

/// A further line of a stream whose first line named the schema.
///
/// # Errors
/// If the body can't be expressed as JSON.
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
    fn the_schema_comes_first() {
        insta::assert_snapshot!(format_line(&SCHEMA, &Body { rows: vec![1] }).unwrap(), @r#"{"schema":"dm.x/1","rows":[1]}"#);
        assert!(
            format_document(&SCHEMA, &Body { rows: vec![] })
                .unwrap()
                .starts_with("{\n  \"schema\"")
        );
    }

    #[test]
    fn a_body_without_fields_is_refused() {
        assert!(
            matches!(format_document(&SCHEMA, &vec![1]), Err(OutputError::Json { what, .. }) if what == "dm.x/1")
        );
    }
}
