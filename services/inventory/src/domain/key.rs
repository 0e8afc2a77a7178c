//! Idempotency keys.

/// The longest key: PostgreSQL's index on it takes no more than some 2700 bytes.
const LONGEST: usize = 255;

/// A key that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong;

/// The key of a header; `None` where it is missing or blank.
pub(crate) fn key(header: Option<&[u8]>) -> Result<Option<String>, TooLong> {
    let text = String::from_utf8_lossy(header.unwrap_or_default());
    let key = text.trim();
    if key.chars().count() > LONGEST {
        return Err(TooLong);
    }
    Ok(Some(key.to_owned()).filter(|key| !key.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_is_none_and_a_page_is_no_key() {
        assert_eq!(key(None), Ok(None));
        assert_eq!(key(Some(b"  ")), Ok(None));
        assert_eq!(
            key(Some(b" wm_dispatch_1_ab ")),
            Ok(Some("wm_dispatch_1_ab".into()))
        );
        assert_eq!(key(Some(b"\xff")), Ok(Some("\u{fffd}".into())));
        assert_eq!(key(Some("x".repeat(256).as_bytes())), Err(TooLong));
    }
}
