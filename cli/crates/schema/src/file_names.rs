//! The names of the files of documents.

use std::fmt::Write as _;

use super::object::{SchemaDocument, SnapshotFormat};
use super::pg_dump;

/// Returns the name of the file of a document.
pub(super) fn file_name(document: &SchemaDocument) -> String {
    format!("{}.{}", file_stem(document), document.format.extension())
}

/// Returns the name of the file of a document, without extension. Characters of a schema name that
/// may have a meaning in a file system are escaped as `%2f`.
pub(super) fn file_stem(document: &SchemaDocument) -> String {
    let mut stem = String::new();
    let is_reserved =
        document.format == SnapshotFormat::Sql && document.name == pg_dump::DATABASE_DOCUMENT;
    for (index, byte) in document.name.bytes().enumerate() {
        let is_plain = byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
        if is_plain && !(is_reserved && index == 0) {
            stem.push(byte.into());
        } else {
            // Writing to a string can't fail.
            let _ = write!(stem, "%{byte:02x}");
        }
    }
    stem
}
