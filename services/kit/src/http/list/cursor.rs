//! Cursors: positions in a list as text, which clients only pass on.
//!
//! A cursor contains a version, a tag and the key of an item. The tag is a digest of the list, its
//! filters, the direction and the key, so that neither the cursor of another list nor a changed one
//! is valid. The tag is no secret: a caller that makes up a cursor reads another part of a list
//! that the caller can read anyway.

use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest as _, Sha256};

use super::filter::{ListDigest, truncate};
use super::key::ListKey;
use super::order::Direction;

/// The first byte of a cursor.
const VERSION: u8 = 1;

/// Number of bytes of a tag.
const TAG_BYTES: usize = size_of::<ListDigest>();

/// Returns the cursor for the items of a list after a position.
pub(super) fn encode<K: ListKey>(list: &ListDigest, direction: Direction, key: &K) -> String {
    let key = key.to_bytes();
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&tag(list, direction, &key));
    bytes.extend_from_slice(&key);
    BASE64URL_NOPAD.encode(&bytes)
}

/// Returns the position of a cursor, or `None` if it is not a cursor of this list in this
/// direction.
pub(super) fn decode<K: ListKey>(
    list: &ListDigest,
    direction: Direction,
    cursor: &str,
) -> Option<K> {
    let bytes = BASE64URL_NOPAD.decode(cursor.as_bytes()).ok()?;
    let (version, rest) = bytes.split_first()?;
    let (found, key) = rest.split_first_chunk::<TAG_BYTES>()?;
    let is_valid = *version == VERSION && *found == tag(list, direction, key);
    is_valid.then(|| K::from_bytes(key)).flatten()
}

fn tag(list: &ListDigest, direction: Direction, key: &[u8]) -> ListDigest {
    let mut hash = Sha256::new();
    hash.update([VERSION]);
    hash.update(list);
    hash.update(direction.operator());
    hash.update(key);
    truncate(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::key::IdKey;
    use super::*;

    const LIST: ListDigest = [1; 16];

    fn decode_id(list: ListDigest, direction: Direction, cursor: &str) -> Option<String> {
        decode::<IdKey>(&list, direction, cursor).map(|key| key.0)
    }

    #[test]
    fn cursor_of_another_list_or_direction_is_rejected() {
        let cursor = encode(&LIST, Direction::Descending, &IdKey("ord_9001".into()));
        assert_eq!(
            decode_id(LIST, Direction::Descending, &cursor).as_deref(),
            Some("ord_9001")
        );
        assert_eq!(decode_id(LIST, Direction::Ascending, &cursor), None);
        assert_eq!(decode_id([2; 16], Direction::Descending, &cursor), None);
    }

    #[test]
    fn text_that_is_no_cursor_is_rejected() {
        for text in ["", "A", "AQ", "ord_9001", "1000", "AQ==", "\u{e9}", "../x"] {
            assert_eq!(decode_id(LIST, Direction::Ascending, text), None, "{text}");
        }
        // A correct tag does not make a key valid.
        let cursor = encode(&LIST, Direction::Ascending, &IdKey("\0".into()));
        assert_eq!(decode_id(LIST, Direction::Ascending, &cursor), None);
    }

    proptest! {
        #[test]
        fn cursor_is_url_safe_and_round_trips(id in "[^\0]{0,30}") {
            let cursor = encode(&LIST, Direction::Ascending, &IdKey(id.clone()));
            let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            prop_assert!(cursor.bytes().all(is_safe));
            prop_assert_eq!(decode_id(LIST, Direction::Ascending, &cursor), Some(id));
        }

        #[test]
        fn changed_cursor_is_rejected(id in "[a-z0-9_]{1,12}", at: prop::sample::Index, bit in 0..8) {
            let cursor = encode(&LIST, Direction::Ascending, &IdKey(id));
            let mut bytes = BASE64URL_NOPAD.decode(cursor.as_bytes()).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            let changed = BASE64URL_NOPAD.encode(&bytes);
            prop_assert_eq!(decode_id(LIST, Direction::Ascending, &changed), None);
        }

        #[test]
        fn any_text_is_decoded_without_a_panic(text in "\\PC{0,60}") {
            prop_assert_eq!(decode_id(LIST, Direction::Ascending, &text), None);
        }
    }
}
