//! Events that were published and not processed, by each of their ids.

use std::collections::{BTreeMap, HashMap};

/// An event that was published, and was not processed in the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UnprocessedEvent {
    /// The event type.
    pub(super) event_type: String,
    /// The aggregate.
    pub(super) subject: String,
    /// The ids that it got when it was edited and replayed, latest last.
    pub(super) edited_ids: Vec<String>,
}

/// The unprocessed events of a queue.
#[derive(Debug, Default)]
pub(super) struct UnprocessedEvents {
    events: BTreeMap<String, UnprocessedEvent>,
    /// The original id of each edited id.
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

    /// Removes an event by any of its ids. Returns `false` if it is not in the list.
    pub(super) fn remove(&mut self, id: &str) -> bool {
        let id = self.original_ids.get(id).map_or(id, String::as_str);
        self.events.remove(id).is_some()
    }

    /// Returns the number of events.
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// Returns whether there are no events.
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Returns every id of every event.
    pub(super) fn ids(&self) -> Vec<String> {
        let edits = |event: &UnprocessedEvent| event.edited_ids.clone();
        self.events
            .iter()
            .flat_map(|(id, event)| [id.clone()].into_iter().chain(edits(event)))
            .collect()
    }

    /// Returns the events with their original ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &UnprocessedEvent)> {
        self.events.iter().map(|(id, event)| (id.as_str(), event))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(edits: &[&str]) -> UnprocessedEvent {
        UnprocessedEvent {
            event_type: "t".into(),
            subject: "order/1".into(),
            edited_ids: edits.iter().map(|edit| (*edit).to_owned()).collect(),
        }
    }

    #[test]
    fn remove_succeeds_once_by_any_id_of_an_event() {
        for id in ["a", "a1", "a2"] {
            let mut events = UnprocessedEvents::default();
            events.add("a".into(), event(&["a1", "a2"]));
            events.add("b".into(), event(&[]));
            assert!(events.remove(id));
            for again in ["a", "a1", "a2"] {
                assert!(!events.remove(again));
            }
            assert_eq!((events.len(), events.ids()), (1, vec!["b".to_owned()]));
        }
    }

    proptest! {
        /// In any order and with repetitions, each event is removed once, and the remaining
        /// events are those of which no id was removed.
        #[test]
        fn removed_and_remaining_events_are_all_events(
            edits in prop::collection::vec(0..4_usize, 1..12),
            found in prop::collection::vec((0..14_usize, 0..5_usize), 0..40),
        ) {
            let name = |event: usize, edit: usize| match edit {
                0 => format!("evt_{event}"),
                edit => format!("evt_{event}_{edit}"),
            };
            let mut events = UnprocessedEvents::default();
            for (number, count) in edits.iter().enumerate() {
                let ids: Vec<String> = (1..=*count).map(|edit| name(number, edit)).collect();
                events.add(name(number, 0), UnprocessedEvent { edited_ids: ids, ..event(&[]) });
            }
            let removed = found.iter().filter(|(event, edit)| events.remove(&name(*event, *edit)));
            let removed = removed.count();
            let is_found = |event: &usize| found.iter().any(|(other, edit)| {
                other == event && edits.get(*event).is_some_and(|count| edit <= count)
            });
            let expected = (0..edits.len()).filter(is_found).count();
            prop_assert_eq!(removed, expected);
            prop_assert_eq!(events.len(), edits.len() - expected);
        }
    }
}
