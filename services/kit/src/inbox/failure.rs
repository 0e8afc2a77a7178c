//! Failed attempts to process a message, and their disposition: retry or dead letter.

use dm_contracts::envelope::EnvelopeError;
use dm_contracts::topology::RetryTier;

use super::HandlerError;

/// Number of attempts before an event is dead-lettered: nine, over about two and a half minutes.
const MAX_ATTEMPTS: u32 = 9;

/// A failed attempt.
#[derive(Debug)]
pub(super) struct ProcessingFailure {
    /// Stable code of the failure.
    pub(super) reason: &'static str,
    /// Error text.
    pub(super) error: String,
    /// Whether another attempt may help.
    pub(super) transient: bool,
}

impl ProcessingFailure {
    /// Returns the failure of a message that is not a valid event, which is not transient.
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

/// Destination of a failed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureDisposition {
    /// Its queue, after the delay of the tier.
    Retry(RetryTier),
    /// The dead-letter queue.
    DeadLetter,
}

/// Returns the disposition of a message after this number of failed attempts.
pub(super) fn decide_disposition(failure: &ProcessingFailure, attempts: u32) -> FailureDisposition {
    if failure.transient && attempts < MAX_ATTEMPTS {
        FailureDisposition::retry_after(attempts)
    } else {
        FailureDisposition::DeadLetter
    }
}

impl FailureDisposition {
    /// Returns the retry after this number of failed attempts.
    pub(super) const fn retry_after(attempts: u32) -> Self {
        Self::Retry(RetryTier::after_failures(attempts))
    }
}

/// Truncates an error text to 1,000 characters, since all headers must fit into one frame.
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
    fn permanent_failure_is_dead_lettered_at_once_and_transient_one_after_nine_attempts() {
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
    fn long_error_is_truncated_between_characters() {
        let truncated = truncate_error(&"ü".repeat(2000));
        assert_eq!(truncated.chars().count(), 1001);
    }
}
