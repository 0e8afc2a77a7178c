//! What the files of documents are called.

use std::fmt::Write as _;

use super::dump;
use super::object::{Document, Form};

/// The name of a document's file.
pub(super) fn file_name(document: &Document) -> String {
    format!("{}.{}", stem(document), document.form.extension())
}

/// A schema may be called anything, and a file may not: what could mean something to a file
/// system is written as `%2f`.
pub(super) fn stem(document: &Document) -> String {
    let mut stem = String::new();
    let is_taken = document.form == Form::Sql && document.name == dump::DATABASE;
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
