//! Lines and letters of a text.

use std::cell::Cell;

use super::Spot;

/// Where lines begin, and what was counted last: a line may be as long as the file, and isn't
/// counted from its beginning for each of its values.
pub(super) struct Places<'a> {
    text: &'a str,
    begins: Vec<usize>,
    /// A byte, and how many letters of its line are before it.
    last: Cell<(usize, u64)>,
}

impl<'a> Places<'a> {
    /// The places of a text.
    pub(super) fn of(text: &'a str) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            text,
            begins: std::iter::once(0).chain(ends).collect(),
            last: Cell::new((0, 0)),
        }
    }

    /// Where a byte is, at which a letter begins or the text ends.
    pub(super) fn of_byte(&self, at: usize) -> Spot {
        let line = self.begins.partition_point(|begin| *begin <= at).max(1);
        let begin = self.begins[line - 1];
        let letters = |from: usize, to: usize| self.text[from..to].chars().count() as u64;
        let (last, counted) = self.last.get();
        let before = if (begin..=at).contains(&last) {
            counted + letters(last, at)
        } else if last > at && last - at < at - begin && !self.text[at..last].contains('\n') {
            counted - letters(at, last)
        } else {
            letters(begin, at)
        };
        self.last.set((at, before));
        Spot {
            line: line as u64,
            letter: Some(before + 1),
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
            let places = Places::of(&text);
            for at in asked {
                let at = text.floor_char_boundary(at.index(text.len() + 1));
                let before = &text[..at];
                let line = 1 + before.matches('\n').count() as u64;
                let letter = 1 + before.rsplit('\n').next().unwrap().chars().count() as u64;
                prop_assert_eq!(places.of_byte(at), Spot { line, letter: Some(letter) });
            }
        }
    }
}
