//! Events that were published and not handled, by every id that they go by.

use std::collections::{BTreeMap, HashMap};

/// An event that was published, and that the snapshot doesn't know to be handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UnprocessedEvent {
    /// Its type.
    pub(super) event_type: String,
    /// Its aggregate.
    pub(super) subject: String,
    /// The ids that it got when it was edited and replayed, the latest last.
    pub(super) edited_ids: Vec<String>,
}

/// Those of a queue.
#[derive(Debug, Default)]
pub(super) struct UnprocessedEvents {
    events: BTreeMap<String, UnprocessedEvent>,
    /// The event that each id of an edit stands for.
    original_ids: HashMap<String, String>,
}

impl UnprocessedEvents {
    /// Adds an event.
    pub(super) fn add(&mut self, id: String, event: UnprocessedEvent) {
        for edit in &event.edited_ids {
            self.original_ids.insert(edit.clone(), id.clone());
        }
        self.events.insert(id, event);
    }

    /// Takes an event off the list, by any of its ids. `false` where it is not on it.
    pub(super) fn remove(&mut self, id: &str) -> bool {
        let id = self.original_ids.get(id).map_or(id, String::as_str);
        self.events.remove(id).is_some()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Every id that one of them goes by.
    pub(super) fn ids(&self) -> Vec<String> {
        let edits = |event: &UnprocessedEvent| event.edited_ids.clone();
        self.events
            .iter()
            .flat_map(|(id, event)| [id.clone()].into_iter().chain(edits(event)))
            .collect()
    }

    /// Each of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &UnprocessedEvent)> {
        self.events.iter().map(|(id, event)| (id.as_str(), event))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn open(edits: &[&str]) -> UnprocessedEvent {
        UnprocessedEvent {
            event_type: "t".into(),
            subject: "order/1".into(),
            edited_ids: edits.iter().map(|edit| (*edit).to_owned()).collect(),
        }
    }

    #[test]
    fn an_event_is_found_by_any_of_its_ids_and_once() {
        for id in ["a", "a1", "a2"] {
            let mut opened = UnprocessedEvents::default();
            opened.add("a".into(), open(&["a1", "a2"]));
            opened.add("b".into(), open(&[]));
            assert!(opened.remove(id));
            for again in ["a", "a1", "a2"] {
                assert!(!opened.remove(again));
            }
            assert_eq!((opened.len(), opened.ids()), (1, vec!["b".to_owned()]));
        }
    }

    proptest! {
        /// Whatever is found in whatever order and however often, each event counts once, and
        /// what is left is what nothing was found of.
        #[test]
        fn what_is_found_and_what_is_left_is_all(
            edits in prop::collection::vec(0..4_usize, 1..12),
            found in prop::collection::vec((0..14_usize, 0..5_usize), 0..40),
        ) {
            let name = |event: usize, edit: usize| match edit {
                0 => format!("evt_{event}"),
                edit => format!("evt_{event}_{edit}"),
            };
            let mut opened = UnprocessedEvents::default();
            for (event, count) in edits.iter().enumerate() {
                let ids: Vec<String> = (1..=*count).map(|edit| name(event, edit)).collect();
                opened.add(name(event, 0), UnprocessedEvent { edited_ids: ids, ..open(&[]) });
            }
            let taken = found.iter().filter(|(event, edit)| opened.remove(&name(*event, *edit)));
            let taken = taken.count();
            let is_found = |event: &usize| found.iter().any(|(other, edit)| {
                other == event && edits.get(*event).is_some_and(|count| edit <= count)
            });
            let expected = (0..edits.len()).filter(is_found).count();
            prop_assert_eq!(taken, expected);
            prop_assert_eq!(opened.len(), edits.len() - expected);
        }
    }
}
