//! Replays of dead letters.
//!
//! The letters of a run are recorded in the audit before the first one is published. Each letter
//! is read without an acknowledgement, published and confirmed, recorded in the audit, and
//! acknowledged last. After a kill it is still a dead letter: if the audit has it as replayed,
//! resuming only acknowledges it; otherwise it is published again with the same id, and the
//! inbox absorbs one of the two.

mod executor;
mod republish;
mod selection;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use data_encoding::HEXLOWER;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{DeadLetter, DeadLetterFilter};

pub use executor::{ReplayContext, ReplayProgress, ReplaySummary, resume, run};
pub use selection::{ReplaySelection, select_letters};

/// A request for a replay.
#[derive(Debug, Clone, Serialize)]
pub struct ReplayRequest {
    /// The work queues whose dead letters are replayed.
    pub queues: Vec<&'static str>,
    /// The conditions that the letters must meet.
    pub filter: DeadLetterFilter,
    /// The maximum number of letters, from the head of each queue.
    pub limit: Option<usize>,
    /// Whether to publish to every queue bound to the routing key instead of the work queue that
    /// failed.
    pub to_exchange: bool,
    /// The number of replays after which a letter is refused. The audit stores this name.
    #[serde(rename = "most_rounds")]
    pub max_rounds: u64,
    /// The inbox retention by queue. Letters that failed earlier are refused, since they could be
    /// processed twice. A queue without an entry has no inbox.
    #[serde(skip)]
    pub inbox_retention: BTreeMap<String, Duration>,
}

/// The rate limits of a replay.
#[derive(Debug, Clone, Copy)]
pub struct ReplayLimits {
    /// The maximum number of messages per second.
    pub max_per_second: Option<u32>,
    /// The maximum number of published messages that are not yet confirmed.
    pub max_in_flight: u16,
}

/// The reason for which a letter is not replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReplayRefusal {
    /// It was replayed the maximum number of times.
    MaxRoundsReached,
    /// It failed longer ago than the retention of the inbox.
    RetentionExceeded,
}

/// The letters of a replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReplayPlan {
    /// The letters to replay, in order.
    pub letters: Vec<DeadLetter>,
    /// The refused letters, with the reason.
    pub refused: Vec<(DeadLetter, ReplayRefusal)>,
    /// The digest of the fingerprints of the letters to replay.
    pub digest: String,
}

impl ReplayRequest {
    fn check_refusal(&self, letter: &DeadLetter, now: DateTime<Utc>) -> Option<ReplayRefusal> {
        let age = letter
            .failed_at
            .map(|at| (now - at).to_std().unwrap_or_default());
        if letter.replays >= self.max_rounds {
            Some(ReplayRefusal::MaxRoundsReached)
        } else if let (Some(age), Some(retention)) = (age, self.inbox_retention.get(&letter.queue))
            && age > *retention
        {
            Some(ReplayRefusal::RetentionExceeded)
        } else {
            None
        }
    }
}

fn plan_digest(letters: &[DeadLetter]) -> String {
    let mut hash = Sha256::new();
    for letter in letters {
        hash.update(&letter.queue);
        hash.update([0]);
        hash.update(&letter.fingerprint);
    }
    HEXLOWER.encode(&hash.finalize()[..6])
}

#[cfg(test)]
mod tests {
    use dm_contracts::time;
    use lapin::BasicProperties;

    use super::*;

    fn letter(replays: u64, failed_at: &str) -> DeadLetter {
        let mut letter = DeadLetter::from_message("q", 1, &BasicProperties::default(), b"");
        letter.replays = replays;
        letter.failed_at = time::parse(failed_at);
        letter
    }

    #[test]
    fn check_refusal_refuses_exhausted_and_old_letters() {
        let request = ReplayRequest {
            queues: Vec::new(),
            filter: DeadLetterFilter::default(),
            limit: None,
            to_exchange: false,
            max_rounds: 3,
            inbox_retention: [("q".to_owned(), Duration::from_secs(3600))].into(),
        };
        let now = time::parse("2026-02-03T12:00:00Z").unwrap();
        for (replays, failed_at, refusal) in [
            (0, "2026-02-03T11:30:00Z", None),
            (2, "2026-02-03T11:00:00Z", None),
            (
                3,
                "2026-02-03T11:30:00Z",
                Some(ReplayRefusal::MaxRoundsReached),
            ),
            (
                0,
                "2026-02-03T10:59:59Z",
                Some(ReplayRefusal::RetentionExceeded),
            ),
            // A failure in the future is not old.
            (0, "2026-02-03T13:00:00Z", None),
            (0, "never", None),
        ] {
            assert_eq!(
                request.check_refusal(&letter(replays, failed_at), now),
                refusal
            );
        }
        let other_queue = DeadLetter {
            queue: "other".into(),
            ..letter(0, "2020-01-01T00:00:00Z")
        };
        assert_eq!(
            request.check_refusal(&other_queue, now),
            None,
            "the queue has no inbox"
        );
    }

    #[test]
    fn plan_digest_depends_on_letters_and_order() {
        let (mut one, mut other) = (letter(0, ""), letter(0, ""));
        one.fingerprint = "a".into();
        other.fingerprint = "b".into();
        let both = [one.clone(), other.clone()];
        assert_eq!(plan_digest(&both), "cb717065f23f");
        assert_ne!(plan_digest(&both), plan_digest(&[other, one.clone()]));
        assert_ne!(plan_digest(&both), plan_digest(&[one]));
        assert_eq!(plan_digest(&[]), "e3b0c44298fc");
    }
}
