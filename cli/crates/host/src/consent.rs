//! The user's consent to changes of the machine. `dm` never changes it without consent.

use std::ffi::OsStr;

use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use thiserror::Error;

/// A change of the machine that requires consent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposedChange {
    /// The change, e.g. `install docker.io and iptables`.
    pub summary: String,
    /// The commands that make the change, as the user would type them.
    pub commands: Vec<String>,
}

/// Asks the user for consent and returns the answer. Requires a terminal.
pub type ConsentPrompt = dyn Fn(&ProposedChange) -> bool + Send + Sync;

/// The source of consent.
pub enum Consent {
    /// Consent was given in advance.
    Granted {
        /// The option that gave consent, e.g. `--yes`.
        by: &'static str,
    },
    /// The user is asked on a terminal.
    Prompt(Box<ConsentPrompt>),
    /// There is no terminal on which to ask.
    NonInteractive,
    /// Consent was refused in advance.
    Refused {
        /// The setting that refused consent, e.g. `engine.install`.
        by: &'static str,
    },
}

impl std::fmt::Debug for Consent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Granted { by } => write!(f, "Granted({by})"),
            Self::Prompt(_) => f.write_str("Prompt"),
            Self::NonInteractive => f.write_str("NonInteractive"),
            Self::Refused { by } => write!(f, "Refused({by})"),
        }
    }
}

/// The error for a change of the machine without consent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConsentError {
    /// The user declined.
    #[error("could not {}: you declined", .0.summary)]
    Declined(ProposedChange),
    /// There was no terminal on which to ask.
    #[error("could not {}: your consent is required", .0.summary)]
    Missing(ProposedChange),
    /// Consent was refused in advance.
    #[error("could not {}: {by} forbids it", .change.summary)]
    Refused {
        /// The proposed change.
        change: ProposedChange,
        /// The setting that refused consent.
        by: &'static str,
    },
}

impl UserError for ConsentError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Declined(_) => ErrorCode::ConsentDeclined,
            Self::Missing(_) => ErrorCode::ConsentMissing,
            Self::Refused { .. } => ErrorCode::ConsentRefused,
        }
    }

    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Engine
    }

    fn suggestions(&self) -> Vec<String> {
        let (Self::Declined(change) | Self::Missing(change) | Self::Refused { change, .. }) = self;
        let mut suggestions = vec![format!("run it yourself: {}", change.commands.join(" && "))];
        if matches!(self, Self::Missing(_)) {
            suggestions.push("or give your consent: add --yes, or set DM_ASSUME_YES=1".into());
        }
        suggestions
    }
}

impl Consent {
    /// Creates the consent from the option `--yes` and the environment. `prompt` is set if a
    /// terminal is available.
    #[must_use]
    pub fn from_environment(assume_yes: bool, prompt: Option<Box<ConsentPrompt>>) -> Self {
        let root = rustix::process::geteuid().is_root();
        let variable = |name: &str| std::env::var_os(name);
        Self::decide(
            assume_yes,
            variable("DM_ASSUME_YES").as_deref(),
            variable("CI").as_deref(),
            root,
            prompt,
        )
    }

    fn decide(
        assume_yes: bool,
        variable: Option<&OsStr>,
        ci: Option<&OsStr>,
        root: bool,
        prompt: Option<Box<ConsentPrompt>>,
    ) -> Self {
        if assume_yes {
            Self::Granted { by: "--yes" }
        } else if variable.is_some_and(is_true) {
            Self::Granted {
                by: "DM_ASSUME_YES",
            }
        } else if root && ci.is_some_and(is_true) {
            // Root on a CI machine means that the machine is discarded after the job. Another
            // user may be on a self-hosted runner.
            Self::Granted { by: "CI" }
        } else {
            prompt.map_or(Self::NonInteractive, Self::Prompt)
        }
    }

    /// Obtains consent to the change.
    ///
    /// # Errors
    /// Returns [`ConsentError`] if there is no consent. Its suggestions contain the commands to
    /// run by hand.
    pub fn obtain(&self, change: &ProposedChange) -> Result<(), ConsentError> {
        match self {
            Self::Granted { .. } => Ok(()),
            Self::Prompt(prompt) if prompt(change) => Ok(()),
            Self::Prompt(_) => Err(ConsentError::Declined(change.clone())),
            Self::NonInteractive => Err(ConsentError::Missing(change.clone())),
            Self::Refused { by } => Err(ConsentError::Refused {
                change: change.clone(),
                by,
            }),
        }
    }

    /// Returns whether a terminal is available, on which the user can also type a password.
    #[must_use]
    pub const fn is_interactive(&self) -> bool {
        matches!(self, Self::Prompt(_))
    }
}

fn is_true(value: &OsStr) -> bool {
    value == "1" || value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample_change() -> ProposedChange {
        ProposedChange {
            summary: "install docker.io".into(),
            commands: vec!["sudo apt-get install -y docker.io".into()],
        }
    }

    fn decide(yes: bool, variable: Option<&str>, ci: Option<&str>, root: bool) -> String {
        let (variable, ci) = (variable.map(OsStr::new), ci.map(OsStr::new));
        format!("{:?}", Consent::decide(yes, variable, ci, root, None))
    }

    #[test]
    fn consent_is_granted_by_flag_by_variable_and_to_root_in_ci() {
        assert_eq!(decide(true, None, None, false), "Granted(--yes)");
        assert_eq!(
            decide(false, Some("1"), None, false),
            "Granted(DM_ASSUME_YES)"
        );
        assert_eq!(decide(false, Some("0"), None, true), "NonInteractive");
        assert_eq!(decide(false, None, Some("true"), true), "Granted(CI)");
        assert_eq!(decide(false, None, Some("true"), false), "NonInteractive");
        assert_eq!(decide(false, None, None, true), "NonInteractive");
    }

    #[test]
    fn obtain_follows_the_answer_of_the_prompt() {
        let consent =
            |answer| Consent::decide(false, None, None, false, Some(Box::new(move |_| answer)));
        assert!(consent(true).obtain(&sample_change()).is_ok());
        let declined = consent(false).obtain(&sample_change()).unwrap_err();
        assert_eq!(
            declined.to_string(),
            "could not install docker.io: you declined"
        );
    }

    #[test]
    fn refused_consent_does_not_suggest_to_consent() {
        let consent = Consent::Refused {
            by: "engine.install",
        };
        let error = consent.obtain(&sample_change()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "could not install docker.io: engine.install forbids it"
        );
        assert_eq!(
            error.suggestions(),
            ["run it yourself: sudo apt-get install -y docker.io"]
        );
    }

    #[test]
    fn missing_consent_suggests_the_exact_command() {
        let error = Consent::NonInteractive
            .obtain(&sample_change())
            .unwrap_err();
        insta::assert_snapshot!(format!("{error}\n{}", error.suggestions().join("\n")), @r"
        could not install docker.io: your consent is required
        run it yourself: sudo apt-get install -y docker.io
        or give your consent: add --yes, or set DM_ASSUME_YES=1
        ");
    }
}
