//! Reads the pending events of the outbox.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::postgres::PgListener;

use super::store::{self, PendingEvent, PendingRow};

/// A batch of pending events.
#[derive(Debug)]
pub(super) struct PendingBatch {
    /// The events that can be published now, in order.
    pub(super) due: Vec<PendingEvent>,
    /// The time until the first delayed event is due.
    pub(super) next_due_in: Option<Duration>,
    /// Whether all pending rows were read. Otherwise more can be read at once.
    pub(super) complete: bool,
}

/// Reads pending events, oldest first, until the batch is full.
pub(super) async fn read_pending(
    session: &mut PgListener,
    batch_size: u16,
) -> Result<PendingBatch, sqlx::Error> {
    let mut filter = HoldbackFilter::default();
    let mut due = Vec::new();
    // Always from the beginning, and by state: sequence numbers are assigned in another order
    // than transactions commit.
    let mut after = 0;
    loop {
        let rows = store::fetch_pending(session, after, batch_size.into()).await?;
        let complete = rows.len() < usize::from(batch_size);
        if let Some(last) = rows.last() {
            after = last.pending.sequence;
        }
        due.extend(rows.into_iter().filter_map(|row| filter.admit(row)));
        if complete || due.len() >= usize::from(batch_size) {
            return Ok(PendingBatch {
                due,
                next_due_in: filter.next_due_in,
                complete,
            });
        }
    }
}

/// Admits events that are due. An event waits for earlier events of its aggregate that are
/// delayed, because they were held or refused.
#[derive(Debug, Default)]
struct HoldbackFilter {
    held_subjects: HashSet<String>,
    next_due_in: Option<Duration>,
}

impl HoldbackFilter {
    fn admit(&mut self, row: PendingRow) -> Option<PendingEvent> {
        let delay = row.due_in_seconds.and_then(|seconds| {
            let delay = Duration::try_from_secs_f64(seconds).ok()?;
            (!delay.is_zero()).then_some(delay)
        });
        if let Some(delay) = delay {
            self.next_due_in = Some(self.next_due_in.map_or(delay, |next| next.min(delay)));
            self.held_subjects.insert(row.pending.subject);
            return None;
        }
        (!self.held_subjects.contains(&row.pending.subject)).then_some(row.pending)
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use proptest::prelude::*;

    use super::*;

    fn row(sequence: i64, subject: u8, due_in_seconds: Option<f64>) -> PendingRow {
        PendingRow {
            due_in_seconds,
            pending: PendingEvent {
                sequence,
                event_id: format!("evt_{sequence}"),
                event_type: String::new(),
                routing_key: String::new(),
                subject: subject.to_string(),
                traceparent: None,
                payload: None,
                payload_size: 0,
                attempts: 0,
                created_at: Utc::now(),
                was_delayed: due_in_seconds.is_some(),
            },
        }
    }

    #[test]
    fn next_due_in_is_the_shortest_delay() {
        let mut filter = HoldbackFilter::default();
        for (sequence, delay) in [None, Some(0.7), Some(0.2), Some(-3.0), Some(0.0), Some(5.0)]
            .into_iter()
            .enumerate()
        {
            let is_due = delay.is_none_or(|delay| delay <= 0.0);
            let row = row(sequence as i64, sequence as u8, delay);
            assert_eq!(filter.admit(row).is_some(), is_due, "{delay:?}");
        }
        assert_eq!(filter.next_due_in, Some(Duration::from_millis(200)));
    }

    proptest! {
        /// An event is admitted unless it or an earlier event of its aggregate is delayed.
        #[test]
        fn no_event_overtakes_a_delayed_one_of_its_aggregate(
            rows in proptest::collection::vec((0_u8..4, proptest::option::of(-1.0..1.0_f64)), 0..40),
        ) {
            let mut filter = HoldbackFilter::default();
            for (index, (subject, delay)) in rows.iter().enumerate() {
                let admitted = filter.admit(row(index as i64, *subject, *delay)).is_some();
                let is_delayed = |delay: &Option<f64>| delay.is_some_and(|delay| delay > 0.0);
                let blocked = rows[..=index]
                    .iter()
                    .any(|(other, delay)| other == subject && is_delayed(delay));
                prop_assert_eq!(admitted, !blocked);
            }
        }
    }
}
