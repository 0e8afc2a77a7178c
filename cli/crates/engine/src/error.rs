//! Errors of the engine and of its discovery.

use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use thiserror::Error;

use super::refusal::EngineRefusal;

/// A failure of the engine, or of finding one.
#[derive(Debug, Error)]
pub enum EngineError {
    /// No engine answered at any of the default addresses.
    #[error("no container engine answers{}", format_tried_endpoints(.tried))]
    NotFound {
        /// The tried addresses and their outcomes.
        tried: Vec<String>,
        /// Suggested commands or actions on this machine.
        suggestions: Vec<String>,
    },
    /// The engine stopped answering: it ended, or hangs.
    #[error("could not {action}: the engine stopped answering")]
    Unreachable {
        /// The failed action and its object.
        action: String,
        /// The error of the connection.
        #[source]
        source: bollard::errors::Error,
    },
    /// The engine's API is older than what `dm` needs.
    #[error("the engine at {address} has API version {found}, and dm requires {needed} or later")]
    TooOld {
        /// Its address.
        address: String,
        /// Its API version.
        found: String,
        /// The oldest version that works.
        needed: &'static str,
    },
    /// Installing or starting an engine failed.
    #[error("could not {action}: {reason}")]
    Setup {
        /// The failed action, e.g. `start dockerd`.
        action: String,
        /// Why it failed.
        reason: String,
        /// Suggested commands or actions.
        suggestions: Vec<String>,
    },
    /// One call to the engine failed.
    #[error("could not {action}")]
    Api {
        /// The failed action and its object, e.g. `start container dm-x-postgres`.
        action: String,
        /// The answer of the engine.
        #[source]
        source: bollard::errors::Error,
    },
}

impl EngineError {
    /// Returns the message of the engine, if it answered with an error.
    #[must_use]
    pub fn engine_message(&self) -> Option<&str> {
        use bollard::errors::Error;
        let Self::Api { source, .. } = self else {
            return None;
        };
        match source {
            Error::DockerResponseServerError { message, .. } => Some(message),
            Error::DockerStreamError { error } => Some(error),
            _ => None,
        }
    }
}

/// Formats the tried addresses for an error, without the long list of missing sockets.
fn format_tried_endpoints(tried: &[String]) -> String {
    let relevant: Vec<&str> = tried
        .iter()
        .map(String::as_str)
        .filter(|line| tried.len() == 1 || !line.ends_with("no such socket"))
        .collect();
    if !relevant.is_empty() {
        format!(" ({})", relevant.join("; "))
    } else if tried.is_empty() {
        String::new()
    } else {
        format!(" at any of the {} usual addresses", tried.len())
    }
}

/// Returns whether the engine answered with this error, as opposed to a failed connection.
fn is_engine_response(error: &bollard::errors::Error) -> bool {
    use bollard::errors::Error;
    !matches!(
        error,
        Error::HyperResponseError { .. }
            | Error::HyperLegacyError { .. }
            | Error::IOError { .. }
            | Error::RequestTimeoutError
    )
}

impl EngineError {
    /// Returns a function for `map_err` that wraps the failure of a call with its action.
    pub(crate) fn api(action: impl Into<String>) -> impl FnOnce(bollard::errors::Error) -> Self {
        let action = action.into();
        move |source| {
            if is_engine_response(&source) {
                Self::Api { action, source }
            } else {
                Self::Unreachable { action, source }
            }
        }
    }

    /// Returns the reason for which the engine refused the call, if it answered.
    #[must_use]
    pub fn refusal(&self) -> Option<EngineRefusal> {
        match self {
            Self::Api { source, .. } => EngineRefusal::from_error(source),
            _ => None,
        }
    }
}

impl UserError for EngineError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound { .. } => ErrorCode::EngineNotFound,
            Self::Unreachable { .. } => ErrorCode::EngineUnreachable,
            Self::TooOld { .. } => ErrorCode::EngineTooOld,
            Self::Setup { .. } => ErrorCode::EngineSetup,
            Self::Api { .. } => ErrorCode::EngineCall,
        }
    }

    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Engine
    }

    fn suggestions(&self) -> Vec<String> {
        match self {
            Self::NotFound { suggestions, .. } | Self::Setup { suggestions, .. } => {
                suggestions.clone()
            }
            Self::Unreachable { .. } => vec!["dm engine status".into(), "dm up".into()],
            Self::TooOld { .. } => vec!["dm doctor".into()],
            Self::Api { .. } => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_found_error_omits_missing_sockets() {
        let text = |tried: &[&str]| {
            EngineError::NotFound {
                tried: tried.iter().map(|line| (*line).to_owned()).collect(),
                suggestions: Vec::new(),
            }
            .to_string()
        };
        let absent = "unix:///a: no such socket";
        let denied = "unix:///b: this user may not open the socket";
        insta::assert_snapshot!(
            [text(&[absent, absent]), text(&[absent, denied]), text(&[absent])].join("\n"),
            @r"
        no container engine answers at any of the 2 usual addresses
        no container engine answers (unix:///b: this user may not open the socket)
        no container engine answers (unix:///a: no such socket)
        "
        );
    }
}
