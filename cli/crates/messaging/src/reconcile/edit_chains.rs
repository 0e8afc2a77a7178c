//! The ids that dead letters got when they were edited, over any number of rounds: a letter
//! that was edited, replayed, failed again and was edited again is still the event in the
//! outbox.

use std::collections::{HashMap, HashSet};

use sqlx::{FromRow, PgConnection};

use crate::MessagingError;

/// An edit of a dead letter: the original id and the id of the replayed event.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(super) struct LetterEdit {
    queue: String,
    event_id: String,
    edited_as: String,
}

/// All edits of dead letters.
#[derive(Debug, Default)]
pub(super) struct EditChains {
    /// The ids into which each id of a queue was edited, in the order of the edits.
    edited_ids: HashMap<(String, String), Vec<String>>,
}

impl EditChains {
    /// Loads the edits from the audit of replays.
    pub(super) async fn load(snapshot: &mut PgConnection) -> Result<Self, MessagingError> {
        let edits: Vec<LetterEdit> = sqlx::query_as(
            "SELECT queue, event_id, edited_as
               FROM dm_ops.replay_messages JOIN dm_ops.replay_runs USING (run_id)
              WHERE edited_as IS NOT NULL AND event_id IS NOT NULL
              ORDER BY began_at, run_id, number",
        )
        .fetch_all(snapshot)
        .await?;
        Ok(Self::from_edits(edits))
    }

    fn from_edits(edits: impl IntoIterator<Item = LetterEdit>) -> Self {
        let mut chains = Self::default();
        for edit in edits {
            let key = (edit.queue, edit.event_id);
            chains
                .edited_ids
                .entry(key)
                .or_default()
                .push(edit.edited_as);
        }
        chains
    }

    /// Returns every id that an event of a queue was edited into, directly or transitively,
    /// oldest first.
    pub(super) fn edited_ids(&self, queue: &str, id: &str) -> Vec<String> {
        let mut edited_ids: Vec<String> = Vec::new();
        let mut seen = HashSet::from([id.to_owned()]);
        let mut frontier = vec![id.to_owned()];
        while !frontier.is_empty() {
            let next = frontier.iter().flat_map(|id| {
                let key = (queue.to_owned(), id.clone());
                self.edited_ids.get(&key).cloned().unwrap_or_default()
            });
            // `dm` assigns an id once; a table that was edited by hand may contain a cycle.
            let next: Vec<String> = next.filter(|id| seen.insert(id.clone())).collect();
            edited_ids.extend(next.iter().cloned());
            frontier = next;
        }
        edited_ids
    }

    /// Returns whether there are no edits.
    pub(super) fn is_empty(&self) -> bool {
        self.edited_ids.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chains(edits: &[(&str, &str, &str)]) -> EditChains {
        EditChains::from_edits(edits.iter().map(|(queue, event_id, edited_as)| LetterEdit {
            queue: (*queue).to_owned(),
            event_id: (*event_id).to_owned(),
            edited_as: (*edited_as).to_owned(),
        }))
    }

    #[test]
    fn edited_ids_follow_the_chain_within_one_queue() {
        let chains = chains(&[
            ("q", "a", "a1"),
            ("q", "a1", "a2"),
            ("q", "a2", "a3"),
            ("p", "a", "x"),
        ]);
        assert_eq!(chains.edited_ids("q", "a"), ["a1", "a2", "a3"]);
        assert_eq!(chains.edited_ids("q", "a2"), ["a3"]);
        assert_eq!(chains.edited_ids("p", "a"), ["x"]);
        assert!(chains.edited_ids("q", "b").is_empty());
    }

    #[test]
    fn edited_ids_end_for_branches_and_cycles() {
        let chains = chains(&[
            ("q", "a", "a1"),
            ("q", "a", "b1"),
            ("q", "b1", "b2"),
            ("q", "b2", "a"),
        ]);
        assert_eq!(chains.edited_ids("q", "a"), ["a1", "b1", "b2"]);
    }
}
