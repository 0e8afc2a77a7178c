//! Quoting for SQL statements that cannot be prepared, and for suggested commands.

use std::path::Path;

/// The characters besides letters and digits that no shell treats specially.
const PLAIN_CHARACTERS: &str = "/._-+=:@%,";

/// Returns a path as one word of a shell command, quoted if it contains a special character.
#[must_use]
pub fn shell_path(path: &Path) -> String {
    let word = path.display().to_string();
    let is_plain =
        |character: char| character.is_ascii_alphanumeric() || PLAIN_CHARACTERS.contains(character);
    if !word.is_empty() && word.chars().all(is_plain) {
        word
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Quotes an SQL identifier.
pub(crate) fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes an SQL string.
pub(crate) fn quote_literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_in_names_and_texts_are_doubled() {
        assert_eq!(quote_identifier(r#"a"b"#), r#""a""b""#);
        assert_eq!(quote_literal("a'b"), "'a''b'");
    }

    #[test]
    fn shell_path_quotes_special_characters_only() {
        for (path, expected) in [
            ("/mnt/backups-2", "/mnt/backups-2"),
            ("../b.d", "../b.d"),
            ("my backups", "'my backups'"),
            ("~", "'~'"),
            ("it's $HOME", r"'it'\''s $HOME'"),
            ("", "''"),
        ] {
            assert_eq!(shell_path(Path::new(path)), expected);
        }
    }
}
