//! A sequence of faults from a file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use dm_config::values::BoundedDuration;
use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use serde::Deserialize;
use thiserror::Error;

use super::Fault;

/// The duration of a fault without `for`.
const DEFAULT_FAULT_DURATION: Duration = Duration::from_secs(5);

/// A fault, and the delay before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScenarioStep {
    /// The delay after the previous step.
    pub delay: Duration,
    /// The fault.
    pub fault: Fault,
}

/// A sequence of faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// The steps.
    pub steps: Vec<ScenarioStep>,
}

/// The errors of loading a scenario.
#[derive(Debug, Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("could not read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file is not a valid scenario.
    #[error("could not read scenario {}: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
}

impl UserError for ScenarioError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Read { .. } => ErrorCode::FileAccess,
            Self::Invalid { .. } => ErrorCode::ScenarioInvalid,
        }
    }

    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Usage
    }

    fn suggestions(&self) -> Vec<String> {
        match self {
            Self::Read { .. } => Vec::new(),
            Self::Invalid { .. } => vec!["see the example fixtures/demo/broker-outage.toml".into()],
        }
    }
}

/// A duration of up to one hour.
type StepDuration = BoundedDuration<0, 3_600_000>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScenarioFile {
    step: Vec<StepEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StepEntry {
    fault: FaultName,
    /// The component or the queue.
    target: Option<String>,
    after: Option<StepDuration>,
    #[serde(rename = "for")]
    duration: Option<StepDuration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum FaultName {
    Kill,
    Pause,
    Cut,
    Restart,
    Disconnect,
    Poison,
}

impl Scenario {
    /// Loads a scenario.
    ///
    /// # Errors
    /// Returns [`ScenarioError`] if the file cannot be read or is not a valid scenario.
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        let text = std::fs::read_to_string(path).map_err(|source| ScenarioError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text).map_err(|reason| ScenarioError::Invalid {
            path: path.to_owned(),
            reason,
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let file: ScenarioFile = toml::from_str(text).map_err(|error| error.to_string())?;
        let steps = file.step.into_iter().enumerate().map(|(index, step)| {
            step.into_step()
                .map_err(|reason| format!("step {}: {reason}", index + 1))
        });
        Ok(Self {
            steps: steps.collect::<Result<_, _>>()?,
        })
    }
}

impl StepEntry {
    fn into_step(self) -> Result<ScenarioStep, String> {
        let has_duration = matches!(
            self.fault,
            FaultName::Kill | FaultName::Pause | FaultName::Cut
        );
        if self.duration.is_some() && !has_duration {
            return Err("this fault has no duration: remove `for`".into());
        }
        if self.target.is_some() && self.fault == FaultName::Disconnect {
            return Err("`disconnect` closes every connection: remove `target`".into());
        }
        let target = || {
            self.target
                .clone()
                .ok_or("`target` is missing: set it to a component or a queue")
        };
        let duration = self.duration.map(|duration| duration.as_duration());
        let duration_or_default = duration.unwrap_or(DEFAULT_FAULT_DURATION);
        let fault = match self.fault {
            FaultName::Kill => Fault::Kill {
                component: target()?,
                duration,
            },
            FaultName::Pause => Fault::Pause {
                component: target()?,
                duration: duration_or_default,
            },
            FaultName::Cut => Fault::Cut {
                component: target()?,
                duration: duration_or_default,
            },
            FaultName::Restart => Fault::Restart {
                component: target()?,
            },
            FaultName::Disconnect => Fault::Disconnect,
            FaultName::Poison => Fault::Poison { queue: target()? },
        };
        Ok(ScenarioStep {
            delay: self
                .after
                .map(|delay| delay.as_duration())
                .unwrap_or_default(),
            fault,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn example_file_is_a_valid_scenario() {
        let example = include_str!("../../../../fixtures/demo/broker-outage.toml");
        let scenario = Scenario::parse(example).unwrap();
        assert!(scenario.steps.len() > 2);
    }

    #[test]
    fn step_has_fault_delay_and_duration() {
        let text = r#"
            [[step]]
            fault = "kill"
            target = "rabbitmq"
            after = "5s"
            for = "3s"
            [[step]]
            fault = "disconnect"
        "#;
        let kill = Fault::Kill {
            component: "rabbitmq".into(),
            duration: Some(Duration::from_secs(3)),
        };
        let scenario = Scenario::parse(text).unwrap();
        assert_eq!(
            scenario.steps[0],
            ScenarioStep {
                delay: Duration::from_secs(5),
                fault: kill
            }
        );
        assert_eq!(scenario.steps[1].fault, Fault::Disconnect);
    }

    #[test]
    fn invalid_step_is_reported_with_its_reason() {
        for (step, part) in [
            (r#"fault = "explode""#, "explode"),
            (r#"fault = "kill""#, "step 1: `target`"),
            (r#"fault = "poison""#, "`target`"),
            (
                "fault = \"restart\"\ntarget = \"order\"\nfor = \"1s\"",
                "no duration",
            ),
            (
                "fault = \"disconnect\"\ntarget = \"order\"",
                "remove `target`",
            ),
            ("fault = \"cut\"\ntarget = \"order\"\nwhen = \"1s\"", "when"),
        ] {
            let error = Scenario::parse(&format!("[[step]]\n{step}")).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        assert!(Scenario::parse("").is_err());
    }
}
