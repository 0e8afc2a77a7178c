//! Divides a wave into parts, whose events are published together.

use std::collections::VecDeque;

use super::store::PendingEvent;

/// Maximum number of events of a part, which are sent before their confirms are awaited. The
/// broker writes all waiting messages to disk together, so a few large parts are cheaper than many
/// small ones.
const MAX_PART_EVENTS: usize = 500;

/// Maximum size of a part in bytes: it is in memory until it is sent. A larger event is a part by
/// itself.
const MAX_PART_BYTES: i64 = 1 << 20;

/// The events of a wave that have not been sent.
#[derive(Debug)]
pub(super) struct SendQueue {
    queue: VecDeque<QueuedEvent>,
    /// Whether each event is a part by itself.
    one_by_one: bool,
}

#[derive(Debug)]
struct QueuedEvent {
    pending: PendingEvent,
    /// Whether the broker may close the channel because of this event.
    is_suspect: bool,
}

impl SendQueue {
    /// Queues the events of a wave.
    pub(super) fn new(wave: Vec<PendingEvent>, one_by_one: bool) -> Self {
        let queue = wave.into_iter().map(|pending| QueuedEvent {
            // An event that was refused before is likely to be refused again.
            is_suspect: pending.attempts > 0,
            pending,
        });
        Self {
            queue: queue.collect(),
            one_by_one,
        }
    }

    /// Queues the events of a part again, in their order, at the front. The broker closed the
    /// channel because of one of them.
    pub(super) fn requeue_suspects(&mut self, part: Vec<PendingEvent>) {
        for pending in part.into_iter().rev() {
            self.queue.push_front(QueuedEvent {
                pending,
                is_suspect: true,
            });
        }
    }

    /// Returns the next part, which is empty if all events were sent.
    pub(super) fn next_part(&mut self) -> Vec<PendingEvent> {
        let (mut part, mut bytes) = (Vec::new(), 0_i64);
        while let Some(next) = self.queue.front() {
            let is_separate = next.is_suspect || self.one_by_one;
            let size = next.pending.payload_size;
            if !part.is_empty()
                && (is_separate
                    || part.len() == MAX_PART_EVENTS
                    || bytes.saturating_add(size) > MAX_PART_BYTES)
            {
                break;
            }
            bytes = bytes.saturating_add(size);
            part.extend(self.queue.pop_front().map(|queued| queued.pending));
            if is_separate {
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

    fn pending(sequence: i64, payload_size: i64, attempts: i32) -> PendingEvent {
        PendingEvent {
            sequence,
            event_id: format!("evt_{sequence}"),
            event_type: String::new(),
            routing_key: String::new(),
            subject: sequence.to_string(),
            traceparent: None,
            payload: None,
            payload_size,
            attempts,
            created_at: Utc::now(),
            was_delayed: false,
        }
    }

    fn part_sequences(mut queue: SendQueue) -> Vec<Vec<i64>> {
        std::iter::from_fn(|| Some(queue.next_part()).filter(|part| !part.is_empty()))
            .map(|part| part.iter().map(|pending| pending.sequence).collect())
            .collect()
    }

    #[test]
    fn suspect_event_is_a_part_by_itself() {
        let wave = || {
            (0..5)
                .map(|number| pending(number, 1, (number == 2).into()))
                .collect()
        };
        assert_eq!(
            part_sequences(SendQueue::new(wave(), false)),
            [vec![0, 1], vec![2], vec![3, 4]]
        );
        let mut queue = SendQueue::new(wave(), false);
        let first = queue.next_part();
        queue.requeue_suspects(first);
        assert_eq!(
            part_sequences(queue),
            [vec![0], vec![1], vec![2], vec![3, 4]]
        );
        assert_eq!(part_sequences(SendQueue::new(wave(), true)).len(), 5);
    }

    proptest! {
        /// The parts contain all events in their order, and none is larger than allowed unless it
        /// is one event.
        #[test]
        fn parts_keep_order_and_size_limit(
            events in proptest::collection::vec((0_i64..MAX_PART_BYTES * 3 / 2, 0..2_i32), 0..60),
        ) {
            let wave: Vec<_> = events
                .iter()
                .enumerate()
                .map(|(index, (size, attempts))| pending(index as i64, *size, *attempts))
                .collect();
            let parts = part_sequences(SendQueue::new(wave, false));
            let order: Vec<i64> = parts.iter().flatten().copied().collect();
            prop_assert_eq!(order, (0..events.len() as i64).collect::<Vec<_>>());
            for part in parts {
                let bytes: i64 = part.iter().map(|sequence| events[*sequence as usize].0).sum();
                prop_assert!(part.len() == 1 || bytes <= MAX_PART_BYTES);
                let refused = part.iter().any(|sequence| events[*sequence as usize].1 > 0);
                prop_assert!(part.len() == 1 || !refused);
            }
        }
    }
}
