//! What becomes of a message that could not be handled.

use dm_contracts::envelope::EnvelopeError;
use dm_contracts::topology::Tier;

use super::HandlerError;

/// How often an event is tried before it is a dead letter: nine times, over about
/// two and a half minutes.
const ATTEMPTS: u32 = 9;

/// A failed attempt.
#[derive(Debug)]
pub(super) struct Failure {
    /// A stable word for it.
    pub(super) reason: &'static str,
    /// What went wrong.
    pub(super) error: String,
    /// Whether another attempt may help.
    pub(super) transient: bool,
}

impl Failure {
    /// A message that is no event: another attempt won't help.
    pub(super) fn of(error: &EnvelopeError) -> Self {
        Self {
            reason: error.code(),
            error: error.to_string(),
            transient: false,
        }
    }
}

impl From<&HandlerError> for Failure {
    fn from(error: &HandlerError) -> Self {
        let (reason, transient) = match error {
            HandlerError::Permanent { reason, .. } => (*reason, false),
            HandlerError::Transient(_) => ("attempts-exhausted", true),
            HandlerError::Database(_) => ("database", true),
            HandlerError::Panicked(_) => ("panicked", true),
        };
        Self {
            reason,
            error: error.to_string(),
            transient,
        }
    }
}

/// Where a failed message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Back to its queue, after a while.
    Retry(Tier),
    /// To the dead letters.
    Dead,
}

/// The fate of a message that failed so often, this time included.
pub(super) fn fate(failure: &Failure, attempts: u32) -> Fate {
    if failure.transient && attempts < ATTEMPTS {
        Fate::retry(attempts)
    } else {
        Fate::Dead
    }
}

impl Fate {
    /// Tried again, after so many failures.
    pub(super) const fn retry(attempts: u32) -> Self {
        Self::Retry(Tier::after(attempts))
    }
}

/// Headers share a frame: an error as long as a page has no place there.
pub(super) fn shorten(error: &str) -> String {
    const LONGEST: usize = 1000;
    match error.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &error[..end]),
        None => error.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(transient: bool) -> Failure {
        Failure {
            reason: "database",
            error: "it went away".into(),
            transient,
        }
    }

    #[test]
    fn a_fault_of_the_event_is_dead_at_once_and_others_are_tried_nine_times() {
        assert_eq!(fate(&failure(false), 1), Fate::Dead);
        assert_eq!(fate(&failure(true), 1), Fate::Retry(Tier::Second));
        assert_eq!(fate(&failure(true), 8), Fate::Retry(Tier::Minute));
        assert_eq!(fate(&failure(true), 9), Fate::Dead);
    }

    #[test]
    fn a_long_error_is_cut_between_characters() {
        let short = shorten(&"ü".repeat(2000));
        assert_eq!(short.chars().count(), 1001);
    }
}
