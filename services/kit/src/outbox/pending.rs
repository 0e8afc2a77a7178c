//! What a look into the outbox finds.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::postgres::PgListener;

use super::store::{self, PendingEvent, PendingRow};

/// What a look found.
#[derive(Debug)]
pub(super) struct PendingBatch {
    /// What can be published now, in order.
    pub(super) due: Vec<PendingEvent>,
    /// How long until the first of those that are held back is due.
    pub(super) next_due_in: Option<Duration>,
    /// Whether that is all there was. Otherwise there is more to be had at once.
    pub(super) complete: bool,
}

/// Reads what is pending, oldest first, until there is a batch of it.
pub(super) async fn read_pending(
    session: &mut PgListener,
    batch: u16,
) -> Result<PendingBatch, sqlx::Error> {
    let mut sieve = HoldbackFilter::default();
    let mut due = Vec::new();
    // Always from the beginning, and by state: numbers are given in another order than
    // transactions commit.
    let mut after = 0;
    loop {
        let rows = store::fetch_pending(session, after, batch.into()).await?;
        let complete = rows.len() < usize::from(batch);
        if let Some(last) = rows.last() {
            after = last.pending.sequence;
        }
        due.extend(rows.into_iter().filter_map(|row| sieve.admit(row)));
        if complete || due.len() >= usize::from(batch) {
            return Ok(PendingBatch {
                due,
                next_due_in: sieve.next_due_in,
                complete,
            });
        }
    }
}

/// Lets through what is due. An event waits for those of its aggregate that are held
/// back, or were refused, before it.
#[derive(Debug, Default)]
struct HoldbackFilter {
    held_subjects: HashSet<String>,
    next_due_in: Option<Duration>,
}

impl HoldbackFilter {
    fn admit(&mut self, row: PendingRow) -> Option<PendingEvent> {
        let wait = row.wait.and_then(|seconds| {
            let wait = Duration::try_from_secs_f64(seconds).ok()?;
            (!wait.is_zero()).then_some(wait)
        });
        if let Some(wait) = wait {
            self.next_due_in = Some(self.next_due_in.map_or(wait, |next| next.min(wait)));
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

    fn row(sequence: i64, subject: u8, wait: Option<f64>) -> PendingRow {
        PendingRow {
            wait,
            pending: PendingEvent {
                sequence,
                event_id: format!("evt_{sequence}"),
                event_type: String::new(),
                routing_key: String::new(),
                subject: subject.to_string(),
                traceparent: None,
                payload: None,
                weight: 0,
                attempts: 0,
                created_at: Utc::now(),
                held: wait.is_some(),
            },
        }
    }

    #[test]
    fn the_first_that_is_held_back_says_when_to_look_again() {
        let mut sieve = HoldbackFilter::default();
        for (sequence, wait) in [None, Some(0.7), Some(0.2), Some(-3.0), Some(0.0), Some(5.0)]
            .into_iter()
            .enumerate()
        {
            let due = wait.is_none_or(|wait| wait <= 0.0);
            let row = row(sequence as i64, sequence as u8, wait);
            assert_eq!(sieve.admit(row).is_some(), due, "{wait:?}");
        }
        assert_eq!(sieve.next_due_in, Some(Duration::from_millis(200)));
    }

    proptest! {
        /// No event passes one of its aggregate that is held back, and nothing else is
        /// kept.
        #[test]
        fn nothing_overtakes_what_is_held_back(
            rows in proptest::collection::vec((0_u8..4, proptest::option::of(-1.0..1.0_f64)), 0..40),
        ) {
            let mut sieve = HoldbackFilter::default();
            for (at, (subject, wait)) in rows.iter().enumerate() {
                let passed = sieve.admit(row(at as i64, *subject, *wait)).is_some();
                let waits = |wait: &Option<f64>| wait.is_some_and(|wait| wait > 0.0);
                let blocked = rows[..=at]
                    .iter()
                    .any(|(other, wait)| other == subject && waits(wait));
                prop_assert_eq!(passed, !blocked);
            }
        }
    }
}
