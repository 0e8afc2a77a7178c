//! Which events of a wave go to the broker together.

use std::collections::VecDeque;

use super::store::PendingEvent;

/// How many are sent before their confirms are waited for. The broker writes to disk
/// what lies before it, so that few large parts cost it less than many small ones.
const MAX_PART_EVENTS: usize = 500;

/// How many bytes they may have: a part is in memory until it is sent. A larger event
/// goes by itself.
const MAX_PART_BYTES: i64 = 1 << 20;

/// The events of a wave that are still to be sent.
#[derive(Debug)]
pub(super) struct SendQueue {
    queue: VecDeque<QueuedEvent>,
    /// Whether each goes by itself.
    one_by_one: bool,
}

#[derive(Debug)]
struct QueuedEvent {
    pending: PendingEvent,
    /// Whether it may be one that costs others their channel.
    is_suspect: bool,
}

impl SendQueue {
    /// The events of a wave.
    pub(super) fn new(wave: Vec<PendingEvent>, one_by_one: bool) -> Self {
        let waiting = wave.into_iter().map(|pending| QueuedEvent {
            // What was refused before is likely to be refused again.
            is_suspect: pending.attempts > 0,
            pending,
        });
        Self {
            queue: waiting.collect(),
            one_by_one,
        }
    }

    /// Gives back, in their order, events of a part whose channel was closed: one of them
    /// is why.
    pub(super) fn requeue_suspects(&mut self, part: Vec<PendingEvent>) {
        for pending in part.into_iter().rev() {
            self.queue.push_front(QueuedEvent {
                pending,
                is_suspect: true,
            });
        }
    }

    /// The next part; empty where all is sent.
    pub(super) fn next_part(&mut self) -> Vec<PendingEvent> {
        let (mut part, mut bytes) = (Vec::new(), 0_i64);
        while let Some(next) = self.queue.front() {
            let alone = next.is_suspect || self.one_by_one;
            let weight = next.pending.weight;
            if !part.is_empty()
                && (alone
                    || part.len() == MAX_PART_EVENTS
                    || bytes.saturating_add(weight) > MAX_PART_BYTES)
            {
                break;
            }
            bytes = bytes.saturating_add(weight);
            part.extend(self.queue.pop_front().map(|waiting| waiting.pending));
            if alone {
                break;
            }
        }
        part
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use proptest::prelude::*;

    use super::*;

    fn pending(sequence: i64, weight: i64, attempts: i32) -> PendingEvent {
        PendingEvent {
            sequence,
            event_id: format!("evt_{sequence}"),
            event_type: String::new(),
            routing_key: String::new(),
            subject: sequence.to_string(),
            traceparent: None,
            payload: None,
            weight,
            attempts,
            created_at: Utc::now(),
            held: false,
        }
    }

    fn all(mut parts: SendQueue) -> Vec<Vec<i64>> {
        std::iter::from_fn(|| Some(parts.next_part()).filter(|part| !part.is_empty()))
            .map(|part| part.iter().map(|pending| pending.sequence).collect())
            .collect()
    }

    #[test]
    fn what_is_suspect_goes_by_itself() {
        let wave = || (0..5).map(|at| pending(at, 1, (at == 2).into())).collect();
        assert_eq!(
            all(SendQueue::new(wave(), false)),
            [vec![0, 1], vec![2], vec![3, 4]]
        );
        let mut parts = SendQueue::new(wave(), false);
        let first = parts.next_part();
        parts.requeue_suspects(first);
        assert_eq!(all(parts), [vec![0], vec![1], vec![2], vec![3, 4]]);
        assert_eq!(all(SendQueue::new(wave(), true)).len(), 5);
    }

    proptest! {
        /// Nothing is lost or turned round, and no part is larger than allowed unless it
        /// is one event.
        #[test]
        fn parts_are_within_their_bounds(
            events in proptest::collection::vec((0_i64..MAX_PART_BYTES * 3 / 2, 0..2_i32), 0..60),
        ) {
            let wave: Vec<_> = events
                .iter()
                .enumerate()
                .map(|(at, (weight, attempts))| pending(at as i64, *weight, *attempts))
                .collect();
            let parts = all(SendQueue::new(wave, false));
            let order: Vec<i64> = parts.iter().flatten().copied().collect();
            prop_assert_eq!(order, (0..events.len() as i64).collect::<Vec<_>>());
            for part in parts {
                let bytes: i64 = part.iter().map(|at| events[*at as usize].0).sum();
                prop_assert!(part.len() == 1 || bytes <= MAX_PART_BYTES);
                let refused = part.iter().any(|at| events[*at as usize].1 > 0);
                prop_assert!(part.len() == 1 || !refused);
            }
        }
    }
}
