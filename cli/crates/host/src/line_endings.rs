//! Line endings of files from a checkout with CRLF.

/// Returns the text with LF line endings, which programs in containers require: for a shell a
/// carriage return is part of a word, and for slapadd part of the empty line that ends an entry.
#[must_use]
pub fn to_unix_line_endings(text: &[u8]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\r\n") {
            Some(line) => lines.extend([line, b"\n"].concat()),
            None => lines.extend(line),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_unix_line_endings_changes_only_crlf() {
        let text = b"dn: a\r\n\r\ndn: b\n\n\rx\r";
        assert_eq!(to_unix_line_endings(text), b"dn: a\n\ndn: b\n\n\rx\r");
    }
}
