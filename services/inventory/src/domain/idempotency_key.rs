//! Idempotency keys.

/// The longest key: PostgreSQL's index on it takes no more than some 2700 bytes.
const MAX_LENGTH: usize = 255;

/// A key that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyTooLong;

/// The key of a header; `None` where it is missing or blank.
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
    fn blank_is_none_and_a_page_is_no_key() {
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
