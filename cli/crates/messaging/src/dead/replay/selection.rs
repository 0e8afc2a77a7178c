//! What is to be replayed, found in one pass over the queues.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Utc};
use lapin::Connection;

use super::{Plan, Request, digest};
use crate::MessagingError;
use crate::dead::look::Named;
use crate::dead::pass::{Found, Pass};

/// How much of the letters is kept in hand until they are sent: more than that is given
/// back, and read again.
const HAND: usize = 64 * 1024 * 1024;

/// What a letter takes beside its body.
const EACH: usize = 1024;

/// What is to be replayed, and what of it is still in hand.
pub struct Selection {
    /// The set.
    pub plan: Plan,
    pub(super) in_hand: BTreeMap<String, InHand>,
}

/// The chosen letters of a queue, read and not given back.
pub(super) struct InHand {
    pub(super) pass: Pass,
    pub(super) letters: VecDeque<Found>,
}

impl Selection {
    /// Gives back what is in hand: the set stays the same, and its letters are read again.
    ///
    /// # Errors
    /// The broker is away.
    pub async fn give_back(&mut self) -> Result<(), MessagingError> {
        for (_, hand) in std::mem::take(&mut self.in_hand) {
            hand.pass.close().await?;
        }
        Ok(())
    }
}

/// Looks for what would be replayed. Nothing changes by that.
///
/// # Errors
/// The broker is away, or [`MessagingError::NotFound`] where an id is no letter's.
pub async fn select(
    connection: &Connection,
    request: &Request,
    now: DateTime<Utc>,
) -> Result<Selection, MessagingError> {
    let (mut letters, mut refused) = (Vec::new(), Vec::new());
    let (mut in_hand, mut room) = (BTreeMap::new(), HAND);
    let mut named = Named::of(&request.filter);
    for &queue in &request.queues {
        let mut pass = Pass::open(connection, queue).await?;
        let mut hand = Some(VecDeque::new());
        while let Some(found) = pass.next().await? {
            let letter = &found.letter;
            if !request.filter.takes(letter) {
                continue;
            }
            named.met(letter);
            if let Some(refusal) = request.refuses(letter, now) {
                refused.push((letter.clone(), refusal));
                continue;
            }
            if request.limit.is_some_and(|limit| letters.len() >= limit) {
                continue;
            }
            letters.push(letter.clone());
            match room.checked_sub(EACH + found.delivery.data.len()) {
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
                in_hand.insert(queue.to_owned(), InHand { pass, letters });
            }
            _ => pass.close().await?,
        }
    }
    named.check()?;
    Ok(Selection {
        plan: Plan {
            digest: digest(&letters),
            letters,
            refused,
        },
        in_hand,
    })
}
