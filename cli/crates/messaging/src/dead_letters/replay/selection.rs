//! What is to be replayed, found in one pass over the queues.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Utc};
use lapin::Connection;

use super::{ReplayPlan, ReplayRequest, plan_digest};
use crate::MessagingError;
use crate::dead_letters::browse::RequestedIds;
use crate::dead_letters::letter_reader::{LetterReader, UnackedLetter};

/// How much of the letters is kept in hand until they are sent: more than that is given
/// back, and read again.
const MAX_UNACKED_BYTES: usize = 64 * 1024 * 1024;

/// What a letter takes beside its body.
const LETTER_OVERHEAD_BYTES: usize = 1024;

/// What is to be replayed, and what of it is still in hand.
pub struct ReplaySelection {
    /// The set.
    pub plan: ReplayPlan,
    pub(super) unacked: BTreeMap<String, UnackedQueue>,
}

/// The chosen letters of a queue, read and not given back.
pub(super) struct UnackedQueue {
    pub(super) reader: LetterReader,
    pub(super) letters: VecDeque<UnackedLetter>,
}

impl ReplaySelection {
    /// Gives back what is in hand: the set stays the same, and its letters are read again.
    ///
    /// # Errors
    /// The broker is away.
    pub async fn requeue(&mut self) -> Result<(), MessagingError> {
        for (_, hand) in std::mem::take(&mut self.unacked) {
            hand.reader.requeue_and_close().await?;
        }
        Ok(())
    }
}

/// Looks for what would be replayed. Nothing changes by that.
///
/// # Errors
/// The broker is away, or [`MessagingError::NotFound`] where an id is no letter's.
pub async fn select_letters(
    connection: &Connection,
    request: &ReplayRequest,
    now: DateTime<Utc>,
) -> Result<ReplaySelection, MessagingError> {
    let (mut letters, mut refused) = (Vec::new(), Vec::new());
    let (mut in_hand, mut room) = (BTreeMap::new(), MAX_UNACKED_BYTES);
    let mut named = RequestedIds::from_filter(&request.filter);
    for &queue in &request.queues {
        let mut pass = LetterReader::open(connection, queue).await?;
        let mut hand = Some(VecDeque::new());
        while let Some(found) = pass.next().await? {
            let letter = &found.letter;
            if !request.filter.matches(letter) {
                continue;
            }
            named.mark_found(letter);
            if let Some(refusal) = request.check_refusal(letter, now) {
                refused.push((letter.clone(), refusal));
                continue;
            }
            if request.limit.is_some_and(|limit| letters.len() >= limit) {
                continue;
            }
            letters.push(letter.clone());
            match room.checked_sub(LETTER_OVERHEAD_BYTES + found.delivery.data.len()) {
                Some(left) => {
                    room = left;
                    if let Some(hand) = &mut hand {
                        hand.push_back(found);
                    }
                }
                None => hand = None,
            }
        }
        match hand {
            Some(letters) if !letters.is_empty() => {
                in_hand.insert(
                    queue.to_owned(),
                    UnackedQueue {
                        reader: pass,
                        letters,
                    },
                );
            }
            _ => pass.requeue_and_close().await?,
        }
    }
    named.ensure_all_found()?;
    Ok(ReplaySelection {
        plan: ReplayPlan {
            digest: plan_digest(&letters),
            letters,
            refused,
        },
        unacked: in_hand,
    })
}
