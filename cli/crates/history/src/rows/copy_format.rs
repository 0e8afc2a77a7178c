//! The text format of COPY: one line per row, a tab between columns.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use data_encoding::HEXLOWER;
use dm_contracts::time;
use serde::Serialize;

/// A row that is being written.
pub(super) struct CopyRow<'a> {
    bytes: &'a mut Vec<u8>,
    is_first: bool,
}

impl<'a> CopyRow<'a> {
    pub(super) const fn new(bytes: &'a mut Vec<u8>) -> Self {
        Self {
            bytes,
            is_first: true,
        }
    }

    fn write_separator(&mut self) {
        if !std::mem::take(&mut self.is_first) {
            self.bytes.push(b'\t');
        }
    }

    /// Writes a text.
    pub(super) fn text(mut self, text: &str) -> Self {
        self.write_separator();
        for byte in text.bytes() {
            match byte {
                b'\\' => self.bytes.extend(b"\\\\"),
                b'\t' => self.bytes.extend(b"\\t"),
                b'\n' => self.bytes.extend(b"\\n"),
                b'\r' => self.bytes.extend(b"\\r"),
                byte => self.bytes.push(byte),
            }
        }
        self
    }

    /// Writes bytes.
    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.write_separator();
        // The backslash of `\x` is escaped like any other.
        self.bytes.extend(b"\\\\x");
        // Writing to memory does not fail.
        let _ = HEXLOWER.encode_write(bytes, &mut ByteWriter(self.bytes));
        self
    }

    /// Writes a value whose text never needs escaping, such as a number or an id.
    pub(super) fn unescaped(mut self, value: impl std::fmt::Display) -> Self {
        self.write_separator();
        // Writing to memory does not fail.
        let _ = write!(ByteWriter(self.bytes), "{value}");
        self
    }

    /// Writes an instant.
    pub(super) fn instant(self, instant: DateTime<Utc>) -> Self {
        self.text(&time::format(instant))
    }

    /// Writes a value as JSON.
    pub(super) fn json(self, value: &impl Serialize) -> Self {
        // Does not fail for plain structs of texts, numbers and lists.
        self.text(&serde_json::to_string(value).unwrap_or_default())
    }

    /// Writes NULL.
    pub(super) fn null(mut self) -> Self {
        self.write_separator();
        self.bytes.extend(b"\\N");
        self
    }

    /// Writes a value, or NULL if there is none.
    pub(super) fn optional<T>(self, value: Option<T>, write: impl FnOnce(Self, T) -> Self) -> Self {
        match value {
            Some(value) => write(self, value),
            None => self.null(),
        }
    }
}

impl Drop for CopyRow<'_> {
    fn drop(&mut self) {
        self.bytes.push(b'\n');
    }
}

struct ByteWriter<'a>(&'a mut Vec<u8>);

impl std::fmt::Write for ByteWriter<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend(text.bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_row_escapes_texts_to_one_line() {
        let mut bytes = Vec::new();
        CopyRow::new(&mut bytes)
            .text("a\tb\nc\\d\re")
            .null()
            .unescaped(7)
            .json(&["x\ny"])
            .text("\\N")
            .bytes(&[0, 9, 255]);
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(
            text,
            "a\\tb\\nc\\\\d\\re\t\\N\t7\t[\"x\\\\ny\"]\t\\\\N\t\\\\x0009ff\n"
        );
    }
}
