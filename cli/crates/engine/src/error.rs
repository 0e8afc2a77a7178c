//! What can go wrong between `dm` and the engine.

use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use thiserror::Error;

use super::refusal::EngineRefusal;

/// A failure of the engine, or of finding one.
#[derive(Debug, Error)]
pub enum EngineError {
    /// No engine answered at any of the usual places.
    #[error("no container engine answers{}", places(.tried))]
    NotFound {
        /// Where it was looked for, and what came back.
        tried: Vec<String>,
        /// What to do next, by this machine's means.
        next: Vec<String>,
    },
    /// The engine was there and is no longer: it went away, or hangs.
    #[error("could not {doing}: the engine stopped answering")]
    Unreachable {
        /// What was being done to which object.
        doing: String,
        /// What the connection said.
        #[source]
        source: bollard::errors::Error,
    },
    /// The engine's API is older than what `dm` needs.
    #[error("the engine at {at} has API version {found}, and dm requires {needed} or later")]
    TooOld {
        /// Its address.
        at: String,
        /// Its API version.
        found: String,
        /// The oldest version that works.
        needed: &'static str,
    },
    /// Installing or starting an engine failed.
    #[error("could not {doing}: {reason}")]
    Setup {
        /// What was being done, e.g. `start dockerd`.
        doing: String,
        /// Why it failed.
        reason: String,
        /// What to do next.
        next: Vec<String>,
    },
    /// One call to the engine failed.
    #[error("could not {doing}")]
    Api {
        /// What was being done to which object, e.g. `start container dm-x-postgres`.
        doing: String,
        /// What the engine answered.
        #[source]
        source: bollard::errors::Error,
    },
}

impl EngineError {
    /// What the engine answered, as opposed to a failure to reach it.
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

/// What a person needs of what was tried: not the long list of sockets that
/// don't exist.
fn places(tried: &[String]) -> String {
    let telling: Vec<&str> = tried
        .iter()
        .map(String::as_str)
        .filter(|line| tried.len() == 1 || !line.ends_with("no such socket"))
        .collect();
    if !telling.is_empty() {
        format!(" ({})", telling.join("; "))
    } else if tried.is_empty() {
        String::new()
    } else {
        format!(" at any of the {} usual addresses", tried.len())
    }
}

/// True where the engine itself said so, and not the connection to it.
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
    /// For `map_err`: the failure of one call, named by what it was doing.
    pub(crate) fn api(doing: impl Into<String>) -> impl FnOnce(bollard::errors::Error) -> Self {
        let doing = doing.into();
        move |source| {
            if is_engine_response(&source) {
                Self::Api { doing, source }
            } else {
                Self::Unreachable { doing, source }
            }
        }
    }

    /// What the engine refused the call for, if it did answer.
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
            Self::NotFound { next, .. } | Self::Setup { next, .. } => next.clone(),
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
    fn an_absent_engine_is_told_without_the_noise() {
        let text = |tried: &[&str]| {
            EngineError::NotFound {
                tried: tried.iter().map(|line| (*line).to_owned()).collect(),
                next: Vec::new(),
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
