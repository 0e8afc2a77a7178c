//! Whether `dm` may change the machine. It never does so silently.

use std::ffi::OsStr;

use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use thiserror::Error;

/// A change of the machine that needs consent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposedChange {
    /// What would be done, e.g. `install docker.io and iptables`.
    pub summary: String,
    /// The commands that would be run, as a person would type them.
    pub commands: Vec<String>,
}

/// Asks a person; true is yes. Only what talks to a terminal can provide it.
pub type ConsentPrompt = dyn Fn(&ProposedChange) -> bool + Send + Sync;

/// How consent is come by.
pub enum Consent {
    /// It was given beforehand.
    Granted {
        /// By what, e.g. `--yes`.
        by: &'static str,
    },
    /// A person at a terminal is asked.
    Prompt(Box<ConsentPrompt>),
    /// There is nobody to ask.
    NonInteractive,
    /// It was refused beforehand.
    Refused {
        /// By what, e.g. `engine.install`.
        by: &'static str,
    },
}

impl std::fmt::Debug for Consent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Granted { by } => write!(f, "Given({by})"),
            Self::Prompt(_) => f.write_str("Ask"),
            Self::NonInteractive => f.write_str("Missing"),
            Self::Refused { by } => write!(f, "Refused({by})"),
        }
    }
}

/// A change of the machine that nobody consented to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConsentError {
    /// The person said no.
    #[error("could not {}: you declined", .0.summary)]
    Declined(ProposedChange),
    /// There was nobody to ask.
    #[error("could not {}: your consent is required", .0.summary)]
    Missing(ProposedChange),
    /// It was refused beforehand.
    #[error("could not {}: {by} forbids it", .change.summary)]
    Refused {
        /// What would have been done.
        change: ProposedChange,
        /// By what it was refused.
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
        let (Self::Declined(proposal)
        | Self::Missing(proposal)
        | Self::Refused {
            change: proposal, ..
        }) = self;
        let mut next = vec![format!(
            "run it yourself: {}",
            proposal.commands.join(" && ")
        )];
        if matches!(self, Self::Missing(_)) {
            next.push("or give your consent: add --yes, or set DM_ASSUME_YES=1".into());
        }
        next
    }
}

impl Consent {
    /// Decides from the flag `--yes` and the environment; `ask` is given where
    /// a person sits at a terminal.
    #[must_use]
    pub fn from_environment(assume_yes: bool, ask: Option<Box<ConsentPrompt>>) -> Self {
        let root = rustix::process::geteuid().is_root();
        let variable = |name: &str| std::env::var_os(name);
        Self::decide(
            assume_yes,
            variable("DM_ASSUME_YES").as_deref(),
            variable("CI").as_deref(),
            root,
            ask,
        )
    }

    fn decide(
        assume_yes: bool,
        variable: Option<&OsStr>,
        ci: Option<&OsStr>,
        root: bool,
        ask: Option<Box<ConsentPrompt>>,
    ) -> Self {
        if assume_yes {
            Self::Granted { by: "--yes" }
        } else if variable.is_some_and(is_true) {
            Self::Granted {
                by: "DM_ASSUME_YES",
            }
        } else if root && ci.is_some_and(is_true) {
            // A CI machine's root owns nothing that outlives the job; a user
            // on one is somebody's own runner.
            Self::Granted { by: "CI" }
        } else {
            ask.map_or(Self::NonInteractive, Self::Prompt)
        }
    }

    /// Obtains consent to `proposal`.
    ///
    /// # Errors
    /// [`ConsentError`] with the commands to run by hand.
    pub fn obtain(&self, proposal: &ProposedChange) -> Result<(), ConsentError> {
        match self {
            Self::Granted { .. } => Ok(()),
            Self::Prompt(ask) if ask(proposal) => Ok(()),
            Self::Prompt(_) => Err(ConsentError::Declined(proposal.clone())),
            Self::NonInteractive => Err(ConsentError::Missing(proposal.clone())),
            Self::Refused { by } => Err(ConsentError::Refused {
                change: proposal.clone(),
                by,
            }),
        }
    }

    /// Whether a person is there, who could also type a password.
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

    fn proposal() -> ProposedChange {
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
    fn consent_is_given_by_flag_by_variable_and_in_ci_to_root_alone() {
        assert_eq!(decide(true, None, None, false), "Given(--yes)");
        assert_eq!(
            decide(false, Some("1"), None, false),
            "Given(DM_ASSUME_YES)"
        );
        assert_eq!(decide(false, Some("0"), None, true), "Missing");
        assert_eq!(decide(false, None, Some("true"), true), "Given(CI)");
        assert_eq!(decide(false, None, Some("true"), false), "Missing");
        assert_eq!(decide(false, None, None, true), "Missing");
    }

    #[test]
    fn a_person_is_asked_and_obeyed() {
        let asked =
            |answer| Consent::decide(false, None, None, false, Some(Box::new(move |_| answer)));
        assert!(asked(true).obtain(&proposal()).is_ok());
        let declined = asked(false).obtain(&proposal()).unwrap_err();
        assert_eq!(
            declined.to_string(),
            "could not install docker.io: you declined"
        );
    }

    #[test]
    fn what_is_refused_beforehand_is_not_offered() {
        let consent = Consent::Refused {
            by: "engine.install",
        };
        let error = consent.obtain(&proposal()).unwrap_err();
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
    fn without_anybody_to_ask_the_exact_command_is_told() {
        let error = Consent::NonInteractive.obtain(&proposal()).unwrap_err();
        insta::assert_snapshot!(format!("{error}\n{}", error.suggestions().join("\n")), @r"
        could not install docker.io: your consent is required
        run it yourself: sudo apt-get install -y docker.io
        or give your consent: add --yes, or set DM_ASSUME_YES=1
        ");
    }
}
