//! The way back of dead letters.
//!
//! The set is frozen in the audit before anything is done. Each message is read and
//! not acknowledged, published to where it goes and confirmed, noted in the audit, and
//! acknowledged at last. Killed in between, it is still a dead letter: where the audit
//! has it as replayed, resuming only acknowledges it; where it has not, it goes again
//! under the same id, and the inbox absorbs one of the two.

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

/// What is to be replayed, and how.
#[derive(Debug, Clone, Serialize)]
pub struct ReplayRequest {
    /// From the dead letters of these work queues.
    pub queues: Vec<&'static str>,
    /// Which of them.
    pub filter: DeadLetterFilter,
    /// At most so many, from the head of each queue on.
    pub limit: Option<usize>,
    /// To every queue that takes its routing key, and not to the one that failed.
    pub to_exchange: bool,
    /// Messages that were replayed so often stay where they are.
    pub most_rounds: u64,
    /// How long the inbox of each queue remembers. What failed longer ago stays where it
    /// is: it would be taken twice. A queue that is not in here has no inbox to ask.
    #[serde(skip)]
    pub inbox_retention: BTreeMap<String, Duration>,
}

/// How fast.
#[derive(Debug, Clone, Copy)]
pub struct ReplayLimits {
    /// At most so many a second.
    pub max_per_second: Option<u32>,
    /// At most so many that are published and not yet acknowledged.
    pub max_in_flight: u16,
}

/// Why a letter is not replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReplayRefusal {
    /// It went round as often as is allowed.
    Rounds,
    /// The inbox of its queue may have forgotten it.
    Age,
}

/// A set of dead letters, frozen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReplayPlan {
    /// What would go back, in order.
    pub letters: Vec<DeadLetter>,
    /// What would stay, and why.
    pub refused: Vec<(DeadLetter, ReplayRefusal)>,
    /// Over the fingerprints of what would go back.
    pub digest: String,
}

impl ReplayRequest {
    fn check_refusal(&self, letter: &DeadLetter, now: DateTime<Utc>) -> Option<ReplayRefusal> {
        let age = letter
            .failed_at
            .map(|at| (now - at).to_std().unwrap_or_default());
        if letter.replays >= self.most_rounds {
            Some(ReplayRefusal::Rounds)
        } else if let (Some(age), Some(memory)) = (age, self.inbox_retention.get(&letter.queue))
            && age > *memory
        {
            Some(ReplayRefusal::Age)
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
    fn what_went_round_too_often_or_is_too_old_stays() {
        let request = ReplayRequest {
            queues: Vec::new(),
            filter: DeadLetterFilter::default(),
            limit: None,
            to_exchange: false,
            most_rounds: 3,
            inbox_retention: [("q".to_owned(), Duration::from_secs(3600))].into(),
        };
        let now = time::parse("2026-02-03T12:00:00Z").unwrap();
        for (replays, failed_at, refusal) in [
            (0, "2026-02-03T11:30:00Z", None),
            (2, "2026-02-03T11:00:00Z", None),
            (3, "2026-02-03T11:30:00Z", Some(ReplayRefusal::Rounds)),
            (0, "2026-02-03T10:59:59Z", Some(ReplayRefusal::Age)),
            // A clock that is ahead makes nothing old.
            (0, "2026-02-03T13:00:00Z", None),
            (0, "never", None),
        ] {
            assert_eq!(
                request.check_refusal(&letter(replays, failed_at), now),
                refusal
            );
        }
        let elsewhere = DeadLetter {
            queue: "other".into(),
            ..letter(0, "2020-01-01T00:00:00Z")
        };
        assert_eq!(
            request.check_refusal(&elsewhere, now),
            None,
            "it has no inbox"
        );
    }

    #[test]
    fn another_set_has_another_digest() {
        let (mut one, mut other) = (letter(0, ""), letter(0, ""));
        one.fingerprint = "a".into();
        other.fingerprint = "b".into();
        let both = [one.clone(), other.clone()];
        assert_eq!(plan_digest(&both), plan_digest(&both));
        assert_ne!(plan_digest(&both), plan_digest(&[other, one.clone()]));
        assert_ne!(plan_digest(&both), plan_digest(&[one]));
        assert_eq!(plan_digest(&[]).len(), 12);
    }
}
