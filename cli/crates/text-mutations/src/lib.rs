//! Mutated texts for tests of parsers.
//!
//! Each text is one of a corpus with a few mutations. proptest prints the case that failed and
//! stores its seed. `PROPTEST_CASES` sets the number of cases.

use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Fragments that parsers often mishandle.
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

/// A mutation of a text.
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
            .prop_map(|(at, fragment)| Mutation::Insert(at, fragment)),
    ]
}

/// Returns a strategy for one of the texts, with up to five mutations.
pub fn mutated_bytes(corpus: Vec<String>) -> impl Strategy<Value = Vec<u8>> {
    let mutations = proptest::collection::vec(mutation(), 0..=5);
    (select(corpus), mutations).prop_map(|(text, mutations)| {
        let mut bytes = text.into_bytes();
        for mutation in mutations {
            apply_mutation(&mut bytes, &mutation);
        }
        bytes
    })
}

fn apply_mutation(bytes: &mut Vec<u8>, mutation: &Mutation) {
    // The end of the text is a possible offset, too.
    let offset = |at: &Index, bytes: &[u8]| at.index(bytes.len() + 1);
    match mutation {
        Mutation::ReplaceByte(at, byte) => {
            let start = offset(at, bytes);
            if let Some(target) = bytes.get_mut(start) {
                *target = *byte;
            }
        }
        Mutation::Remove(at, count) => {
            let start = offset(at, bytes);
            let end = (start + count).min(bytes.len());
            bytes.drain(start..end);
        }
        Mutation::Repeat(at, count) => {
            let start = offset(at, bytes);
            let end = (start + count).min(bytes.len());
            let repeated = bytes[start..end].to_vec();
            bytes.splice(end..end, repeated);
        }
        Mutation::Insert(at, fragment) => {
            let start = offset(at, bytes);
            bytes.splice(start..start, fragment.bytes());
        }
    }
}
