//! Lines and characters of a text.

use std::cell::Cell;

use super::TextPosition;

/// The starts of the lines, and a cache of the last lookup: a line may be as long as the file, and
/// must not be counted from its beginning for each of its values.
pub(super) struct LineIndex<'a> {
    text: &'a str,
    line_starts: Vec<usize>,
    /// A byte offset, and the number of characters before it in its line.
    last_lookup: Cell<(usize, u64)>,
}

impl<'a> LineIndex<'a> {
    /// Indexes a text.
    pub(super) fn new(text: &'a str) -> Self {
        let starts = text.match_indices('\n').map(|(end, _)| end + 1);
        Self {
            text,
            line_starts: std::iter::once(0).chain(starts).collect(),
            last_lookup: Cell::new((0, 0)),
        }
    }

    /// Returns the position of a byte offset, at which a character begins or the text ends.
    pub(super) fn position_at(&self, offset: usize) -> TextPosition {
        let line = self
            .line_starts
            .partition_point(|start| *start <= offset)
            .max(1);
        let start = self.line_starts[line - 1];
        let count = |from: usize, to: usize| self.text[from..to].chars().count() as u64;
        let (last, last_count) = self.last_lookup.get();
        let before = if (start..=offset).contains(&last) {
            last_count + count(last, offset)
        } else if last > offset
            && last - offset < offset - start
            && !self.text[offset..last].contains('\n')
        {
            last_count - count(offset, last)
        } else {
            count(start, offset)
        };
        self.last_lookup.set((offset, before));
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
        #[test]
        fn position_at_does_not_depend_on_earlier_lookups(
            text in "[a☕é\n]{0,30}",
            lookups in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12),
        ) {
            let index = LineIndex::new(&text);
            for lookup in lookups {
                let offset = text.floor_char_boundary(lookup.index(text.len() + 1));
                let before = &text[..offset];
                let line = 1 + before.matches('\n').count() as u64;
                let character = 1 + before.rsplit('\n').next().unwrap().chars().count() as u64;
                prop_assert_eq!(
                    index.position_at(offset),
                    TextPosition { line, character: Some(character) }
                );
            }
        }
    }
}
