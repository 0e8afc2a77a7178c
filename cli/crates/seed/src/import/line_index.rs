//! Lines and letters of a text.

use std::cell::Cell;

use super::TextPosition;

/// Where lines begin, and what was counted last: a line may be as long as the file, and isn't
/// counted from its beginning for each of its values.
pub(super) struct LineIndex<'a> {
    text: &'a str,
    line_starts: Vec<usize>,
    /// A byte, and how many letters of its line are before it.
    last_lookup: Cell<(usize, u64)>,
}

impl<'a> LineIndex<'a> {
    /// The places of a text.
    pub(super) fn new(text: &'a str) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            text,
            line_starts: std::iter::once(0).chain(ends).collect(),
            last_lookup: Cell::new((0, 0)),
        }
    }

    /// Where a byte is, at which a letter begins or the text ends.
    pub(super) fn position_at(&self, at: usize) -> TextPosition {
        let line = self
            .line_starts
            .partition_point(|begin| *begin <= at)
            .max(1);
        let begin = self.line_starts[line - 1];
        let letters = |from: usize, to: usize| self.text[from..to].chars().count() as u64;
        let (last, counted) = self.last_lookup.get();
        let before = if (begin..=at).contains(&last) {
            counted + letters(last, at)
        } else if last > at && last - at < at - begin && !self.text[at..last].contains('\n') {
            counted - letters(at, last)
        } else {
            letters(begin, at)
        };
        self.last_lookup.set((at, before));
        TextPosition {
            line: line as u64,
            character: Some(before + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// In whatever order places are asked for, each is what counting from the beginning
        /// gives.
        #[test]
        fn places_are_counted_right(
            text in "[a☕é\n]{0,30}",
            asked in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12),
        ) {
            let places = LineIndex::new(&text);
            for at in asked {
                let at = text.floor_char_boundary(at.index(text.len() + 1));
                let before = &text[..at];
                let line = 1 + before.matches('\n').count() as u64;
                let letter = 1 + before.rsplit('\n').next().unwrap().chars().count() as u64;
                prop_assert_eq!(places.position_at(at), TextPosition { line, character: Some(letter) });
            }
        }
    }
}
