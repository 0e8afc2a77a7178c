//! Selects the letters to replay in one pass over the queues.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Utc};
use lapin::Connection;

use super::{ReplayPlan, ReplayRequest, plan_digest};
use crate::MessagingError;
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
    let (mut letters, mut refused) = (Vec::new(), Vec::new());
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
            if let Some(refusal) = request.check_refusal(letter, now) {
                refused.push((letter.clone(), refusal));
                continue;
            }
            if request.limit.is_some_and(|limit| letters.len() >= limit) {
                continue;
            }
            letters.push(letter.clone());
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
        plan: ReplayPlan {
            digest: plan_digest(&letters),
            letters,
            refused,
        },
        unacked,
    })
}
