//! Selects the letters to replay in one pass over the queues.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Utc};
use lapin::Connection;

use super::{ReplayPlan, ReplayRefusal, ReplayRequest, plan_digest};
use crate::MessagingError;
use crate::dead_letters::DeadLetter;
use crate::dead_letters::browse::RequestedIds;
use crate::dead_letters::letter_reader::{LetterReader, UnackedLetter};

/// The maximum size of letters that stay unacknowledged until they are published. A queue that
/// exceeds it is requeued and read again.
const MAX_UNACKED_BYTES: usize = 64 * 1024 * 1024;

/// The estimated memory of a letter without its body.
const LETTER_OVERHEAD_BYTES: usize = 1024;

/// The letters to replay, and those of them that are unacknowledged.
pub struct ReplaySelection {
    /// The letters to replay.
    pub plan: ReplayPlan,
    pub(super) unacked: BTreeMap<String, UnackedQueue>,
}

/// The selected letters of a queue that are unacknowledged.
pub(super) struct UnackedQueue {
    pub(super) reader: LetterReader,
    pub(super) letters: VecDeque<UnackedLetter>,
}

impl ReplaySelection {
    /// Requeues the unacknowledged letters. The plan stays the same, and the letters are read
    /// again when it is executed.
    ///
    /// # Errors
    /// Returns [`MessagingError`] if the broker cannot be reached.
    pub async fn requeue(&mut self) -> Result<(), MessagingError> {
        for (_, queue) in std::mem::take(&mut self.unacked) {
            queue.reader.requeue_and_close().await?;
        }
        Ok(())
    }
}

/// Selects the letters to replay. Removes only copies of a letter.
///
/// # Errors
/// Returns [`MessagingError`] if the broker cannot be reached. Returns
/// [`MessagingError::DeadLetterNotFound`] if an id has no letter.
pub async fn select_letters(
    connection: &Connection,
    request: &ReplayRequest,
    now: DateTime<Utc>,
) -> Result<ReplaySelection, MessagingError> {
    let mut plan = PlanBuilder::new(request, now);
    let (mut unacked, mut free_bytes) = (BTreeMap::new(), MAX_UNACKED_BYTES);
    let mut requested = RequestedIds::from_filter(&request.filter);
    for &queue in &request.queues {
        let mut reader = LetterReader::open(connection, queue).await?;
        // `None` once the size limit is exceeded.
        let mut selected = Some(VecDeque::new());
        while let Some(unacked_letter) = reader.next().await? {
            let letter = &unacked_letter.letter;
            if !request.filter.matches(letter) {
                continue;
            }
            requested.mark_found(letter);
            if !plan.add(letter) {
                continue;
            }
            let size = LETTER_OVERHEAD_BYTES + unacked_letter.delivery.data.len();
            match free_bytes.checked_sub(size) {
                Some(remaining) => {
                    free_bytes = remaining;
                    if let Some(selected) = &mut selected {
                        selected.push_back(unacked_letter);
                    }
                }
                None => selected = None,
            }
        }
        match selected {
            Some(letters) if !letters.is_empty() => {
                unacked.insert(queue.to_owned(), UnackedQueue { reader, letters });
            }
            _ => reader.requeue_and_close().await?,
        }
    }
    requested.ensure_all_found()?;
    Ok(ReplaySelection {
        plan: plan.build(),
        unacked,
    })
}

/// Decides for each dead letter that matches the filter whether it is replayed.
struct PlanBuilder<'r> {
    request: &'r ReplayRequest,
    now: DateTime<Utc>,
    letters: Vec<DeadLetter>,
    refused: Vec<(DeadLetter, ReplayRefusal)>,
}

impl<'r> PlanBuilder<'r> {
    const fn new(request: &'r ReplayRequest, now: DateTime<Utc>) -> Self {
        Self {
            request,
            now,
            letters: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// Adds the next dead letter. Returns whether it is replayed. Refused dead letters do not
    /// count towards the limit, and are reported beyond it.
    fn add(&mut self, letter: &DeadLetter) -> bool {
        if let Some(refusal) = self.request.check_refusal(letter, self.now) {
            self.refused.push((letter.clone(), refusal));
            return false;
        }
        let limit = self.request.limit;
        if limit.is_some_and(|limit| self.letters.len() >= limit) {
            return false;
        }
        self.letters.push(letter.clone());
        true
    }

    fn build(self) -> ReplayPlan {
        ReplayPlan {
            digest: plan_digest(&self.letters),
            letters: self.letters,
            refused: self.refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use dm_contracts::time;
    use dm_contracts::topology::{INVENTORY_QUEUE, ORDER_QUEUE};

    use super::*;
    use crate::dead_letters::DeadLetterFilter;
    use crate::dead_letters::examples::dead_letter;

    /// Returns the ids of the dead letters that are replayed, and of the refused ones, in order.
    fn select(letters: &[DeadLetter], limit: Option<usize>) -> (Vec<String>, Vec<String>) {
        let request = ReplayRequest {
            queues: vec![INVENTORY_QUEUE, ORDER_QUEUE],
            filter: DeadLetterFilter::default(),
            limit,
            to_exchange: false,
            max_rounds: 2,
            inbox_retention: BTreeMap::new(),
        };
        let now = time::parse("2026-02-03T12:00:00Z").unwrap();
        let mut builder = PlanBuilder::new(&request, now);
        let added = letters.iter().filter(|letter| builder.add(letter)).count();
        let plan = builder.build();
        assert_eq!(added, plan.letters.len());
        assert_eq!(plan.digest, plan_digest(&plan.letters));
        let id = |letter: &DeadLetter| letter.id.clone().unwrap_or_default();
        let refused = plan.refused.iter().map(|(letter, _)| id(letter));
        (plan.letters.iter().map(id).collect(), refused.collect())
    }

    #[test]
    fn limit_applies_to_all_queues_and_not_to_refused_letters() {
        let exhausted = |id| DeadLetter {
            replays: 2,
            ..dead_letter(id)
        };
        let of_other_queue = |id| DeadLetter {
            queue: ORDER_QUEUE.to_owned(),
            ..dead_letter(id)
        };
        let letters = [
            exhausted("evt_1"),
            dead_letter("evt_2"),
            of_other_queue("evt_3"),
            of_other_queue("evt_4"),
            exhausted("evt_5"),
        ];
        for (limit, replayed) in [
            (None, &["evt_2", "evt_3", "evt_4"][..]),
            (Some(3), &["evt_2", "evt_3", "evt_4"]),
            (Some(2), &["evt_2", "evt_3"]),
            (Some(1), &["evt_2"]),
        ] {
            let (found, refused) = select(&letters, limit);
            assert_eq!(found, replayed, "{limit:?}");
            assert_eq!(refused, ["evt_1", "evt_5"], "{limit:?}");
        }
    }
}
