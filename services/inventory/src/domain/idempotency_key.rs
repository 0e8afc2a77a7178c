//! Idempotency keys.

/// The maximum length of a key: an index row of PostgreSQL is limited to about 2,700 bytes.
const MAX_LENGTH: usize = 255;

/// A key that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyTooLong;

/// Parses the key of a header. Returns `None` if it is missing or blank.
pub(crate) fn parse_key(header: Option<&[u8]>) -> Result<Option<String>, KeyTooLong> {
    let text = String::from_utf8_lossy(header.unwrap_or_default());
    let key = text.trim();
    if key.chars().count() > MAX_LENGTH {
        return Err(KeyTooLong);
    }
    Ok(Some(key.to_owned()).filter(|key| !key.is_empty()))
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
        assert_eq!(parse_key(Some(b"\xff")), Ok(Some("\u{fffd}".into())));
        assert_eq!(parse_key(Some("x".repeat(256).as_bytes())), Err(KeyTooLong));
    }
}
