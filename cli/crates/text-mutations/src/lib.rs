//! Texts that are nearly right, for tests of whatever reads files that others have written.
//!
//! Each begins with one of a corpus and is changed in a few places. proptest prints the case
//! that failed and keeps its seed, and `PROPTEST_CASES` sets how many there are.

use proptest::prelude::*;
use proptest::sample::{Index, select};

/// What parsers stumble over.
const TRICKY_FRAGMENTS: [&str; 24] = [
    "\"",
    "\\",
    "\\u0000",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "true",
    "-1",
    "1e999",
    "99999999999999999999",
    "18446744073709551615",
    "0.1",
    "\n",
    "\r\n",
    "\0",
    "\u{feff}",
    "☕",
    "../../x",
    "#",
    "=",
];

/// A change of a text.
#[derive(Debug, Clone)]
enum Mutation {
    ReplaceByte(Index, u8),
    Remove(Index, usize),
    Repeat(Index, usize),
    Insert(Index, &'static str),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::ReplaceByte(at, byte)),
        (any::<Index>(), 1..24_usize).prop_map(|(at, count)| Mutation::Remove(at, count)),
        (any::<Index>(), 1..24_usize).prop_map(|(at, count)| Mutation::Repeat(at, count)),
        (any::<Index>(), select(TRICKY_FRAGMENTS.to_vec()))
            .prop_map(|(at, it)| Mutation::Insert(at, it)),
    ]
}

/// One of these texts, with up to five changes.
pub fn mutated_bytes(corpus: Vec<String>) -> impl Strategy<Value = Vec<u8>> {
    let changes = proptest::collection::vec(mutation(), 0..=5);
    (select(corpus), changes).prop_map(|(text, changes)| {
        let mut bytes = text.into_bytes();
        for change in changes {
            apply_mutation(&mut bytes, &change);
        }
        bytes
    })
}

fn apply_mutation(bytes: &mut Vec<u8>, change: &Mutation) {
    // One place more than there are bytes: the end.
    let place = |at: &Index, bytes: &[u8]| at.index(bytes.len() + 1);
    match change {
        Mutation::ReplaceByte(at, byte) => {
            let at = place(at, bytes);
            if let Some(there) = bytes.get_mut(at) {
                *there = *byte;
            }
        }
        Mutation::Remove(at, count) => {
            let at = place(at, bytes);
            let end = (at + count).min(bytes.len());
            bytes.drain(at..end);
        }
        Mutation::Repeat(at, count) => {
            let at = place(at, bytes);
            let end = (at + count).min(bytes.len());
            let again = bytes[at..end].to_vec();
            bytes.splice(end..end, again);
        }
        Mutation::Insert(at, piece) => {
            let at = place(at, bytes);
            bytes.splice(at..at, piece.bytes());
        }
    }
}
