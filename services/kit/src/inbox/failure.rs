//! What becomes of a message that could not be handled.

use dm_contracts::envelope::EnvelopeError;
use dm_contracts::topology::RetryTier;

use super::HandlerError;

/// How often an event is tried before it is a dead letter: nine times, over about
/// two and a half minutes.
const MAX_ATTEMPTS: u32 = 9;

/// A failed attempt.
#[derive(Debug)]
pub(super) struct ProcessingFailure {
    /// A stable word for it.
    pub(super) reason: &'static str,
    /// What went wrong.
    pub(super) error: String,
    /// Whether another attempt may help.
    pub(super) transient: bool,
}

impl ProcessingFailure {
    /// A message that is no event: another attempt won't help.
    pub(super) fn from_envelope_error(error: &EnvelopeError) -> Self {
        Self {
            reason: error.reason(),
            error: error.to_string(),
            transient: false,
        }
    }
}

impl From<&HandlerError> for ProcessingFailure {
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
pub(super) enum FailureDisposition {
    /// Back to its queue, after a while.
    Retry(RetryTier),
    /// To the dead letters.
    DeadLetter,
}

/// The fate of a message that failed so often, this time included.
pub(super) fn decide_disposition(failure: &ProcessingFailure, attempts: u32) -> FailureDisposition {
    if failure.transient && attempts < MAX_ATTEMPTS {
        FailureDisposition::retry_after(attempts)
    } else {
        FailureDisposition::DeadLetter
    }
}

impl FailureDisposition {
    /// Tried again, after so many failures.
    pub(super) const fn retry_after(attempts: u32) -> Self {
        Self::Retry(RetryTier::after_failures(attempts))
    }
}

/// Headers share a frame: an error as long as a page has no place there.
pub(super) fn truncate_error(error: &str) -> String {
    const MAX_CHARACTERS: usize = 1000;
    match error.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => format!("{}…", &error[..end]),
        None => error.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(transient: bool) -> ProcessingFailure {
        ProcessingFailure {
            reason: "database",
            error: "it went away".into(),
            transient,
        }
    }

    #[test]
    fn a_fault_of_the_event_is_dead_at_once_and_others_are_tried_nine_times() {
        assert_eq!(
            decide_disposition(&failure(false), 1),
            FailureDisposition::DeadLetter
        );
        assert_eq!(
            decide_disposition(&failure(true), 1),
            FailureDisposition::Retry(RetryTier::Second)
        );
        assert_eq!(
            decide_disposition(&failure(true), 8),
            FailureDisposition::Retry(RetryTier::Minute)
        );
        assert_eq!(
            decide_disposition(&failure(true), 9),
            FailureDisposition::DeadLetter
        );
    }

    #[test]
    fn a_long_error_is_cut_between_characters() {
        let short = truncate_error(&"ü".repeat(2000));
        assert_eq!(short.chars().count(), 1001);
    }
}
