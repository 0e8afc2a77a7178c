//! The items of a response that is sorted against the direction in which they are selected.

use std::collections::VecDeque;

/// The positions of the selected items that have not been read yet, in the order of the response.
///
/// All of them are selected at one instant, and their items are read later. Items that were written
/// in the meantime can be between the selected ones. They are not part of the response: each would
/// displace a selected item, which no other response contains.
#[derive(Debug)]
pub(super) struct SelectedKeys<K>(VecDeque<K>);

impl<K: PartialEq> SelectedKeys<K> {
    /// Creates a selection from the positions in the order of the response.
    pub(super) fn new(keys: Vec<K>) -> Self {
        Self(keys.into())
    }

    /// Returns whether no item is left to be read.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes the position of an item, and the positions before it: their items were removed or no
    /// longer fulfil the filter. Returns `false` if the item is not selected.
    pub(super) fn take(&mut self, key: &K) -> bool {
        let Some(index) = self.0.iter().position(|selected| selected == key) else {
            return false;
        };
        self.0.drain(..=index);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn take_skips_missing_items_and_refuses_others() {
        let mut selected = SelectedKeys::new(vec![10, 20, 30, 40]);
        assert!(selected.take(&10));
        assert!(!selected.take(&15), "written after the selection");
        assert!(selected.take(&30), "20 is missing");
        assert!(!selected.take(&20), "out of order");
        assert!(!selected.is_empty());
        assert!(selected.take(&40));
        assert!(selected.is_empty());
        assert!(!selected.take(&50));
    }
}
