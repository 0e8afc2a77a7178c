//! The period that `--since` and `--until` select.

use chrono::{DateTime, Utc};
use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use thiserror::Error;

/// A period that ends before it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("--since is after --until")]
pub(crate) struct ReversedPeriod;

impl UserError for ReversedPeriod {
    fn code(&self) -> ErrorCode {
        ErrorCode::Usage
    }

    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Usage
    }

    fn suggestions(&self) -> Vec<String> {
        vec!["set --since to the earlier time, for example --since 2h --until 1h".into()]
    }
}

/// Checks the order of the two ends of a period.
///
/// # Errors
/// Returns [`ReversedPeriod`] if the period ends before it begins.
pub(crate) fn check_order(
    since: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
) -> Result<(), ReversedPeriod> {
    match (since, until) {
        (Some(since), Some(until)) if since > until => Err(ReversedPeriod),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn period_that_ends_before_it_begins_is_refused() {
        let at = |second| DateTime::from_timestamp(second, 0);
        assert_eq!(check_order(at(2), at(1)), Err(ReversedPeriod));
        for (since, until) in [
            (at(1), at(2)),
            (at(1), at(1)),
            (at(1), None),
            (None, at(1)),
            (None, None),
        ] {
            assert_eq!(check_order(since, until), Ok(()));
        }
    }
}
