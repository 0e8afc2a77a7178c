//! What the files of documents are called.

use std::fmt::Write as _;

use super::object::{SchemaDocument, SnapshotFormat};
use super::pg_dump;

/// The name of a document's file.
pub(super) fn file_name(document: &SchemaDocument) -> String {
    format!("{}.{}", file_stem(document), document.format.extension())
}

/// A schema may be called anything, and a file may not: what could mean something to a file
/// system is written as `%2f`.
pub(super) fn file_stem(document: &SchemaDocument) -> String {
    let mut stem = String::new();
    let is_taken =
        document.format == SnapshotFormat::Sql && document.name == pg_dump::DATABASE_DOCUMENT;
    for (place, byte) in document.name.bytes().enumerate() {
        let is_plain = byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
        if is_plain && !(is_taken && place == 0) {
            stem.push(byte.into());
        } else {
            // Writing to a string can't fail.
            let _ = write!(stem, "%{byte:02x}");
        }
    }
    stem
}
