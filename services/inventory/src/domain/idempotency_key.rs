//! Idempotency keys.

use dm_contracts::validation::MAX_IDEMPOTENCY_KEY_LENGTH;

/// The reason for which a key is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InvalidKey {
    /// It is too long.
    TooLong,
    /// It contains other characters than printable ASCII characters.
    NotPrintable,
}

impl InvalidKey {
    /// Returns the message for the caller.
    pub(crate) const fn message(self) -> &'static str {
        match self {
            Self::TooLong => "Idempotency-Key header is too long",
            Self::NotPrintable => {
                "Idempotency-Key header must consist of printable ASCII characters"
            }
        }
    }
}

/// Parses the key of a header. Returns `None` if it is missing or blank.
///
/// # Errors
/// Returns [`InvalidKey`] if the key is too long or contains other characters than printable ASCII
/// characters: other bytes have no defined meaning, so that different keys could become equal.
pub(crate) fn parse_key(header: Option<&[u8]>) -> Result<Option<String>, InvalidKey> {
    let bytes = header.unwrap_or_default();
    if bytes.len() > MAX_IDEMPOTENCY_KEY_LENGTH {
        return Err(InvalidKey::TooLong);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| InvalidKey::NotPrintable)?;
    if !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(InvalidKey::NotPrintable);
    }
    Ok(Some(text.trim().to_owned()).filter(|key| !key.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_key_is_none_and_key_above_255_characters_is_an_error() {
        assert_eq!(parse_key(None), Ok(None));
        assert_eq!(parse_key(Some(b"  ")), Ok(None));
        assert_eq!(
            parse_key(Some(b" wm_dispatch_1_ab ")),
            Ok(Some("wm_dispatch_1_ab".into()))
        );
        let longest = "x".repeat(255);
        assert_eq!(
            parse_key(Some(longest.as_bytes())),
            Ok(Some(longest.clone()))
        );
        let longer = format!("{longest}x");
        assert_eq!(parse_key(Some(longer.as_bytes())), Err(InvalidKey::TooLong));
    }

    #[test]
    fn key_with_other_characters_than_printable_ascii_is_an_error() {
        for key in [&b"\xff"[..], "ü".as_bytes(), b"a\tb", b"\x7f"] {
            assert_eq!(parse_key(Some(key)), Err(InvalidKey::NotPrintable));
        }
    }
}
