//! Faults in a row, from a file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use dm_config::values::BoundedDuration;
use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use serde::Deserialize;
use thiserror::Error;

use super::Fault;

/// How long a fault lasts unless it says so.
const DEFAULT_FAULT_DURATION: Duration = Duration::from_secs(5);

/// A fault, and how long to wait before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScenarioStep {
    /// How long after the step before it.
    pub delay: Duration,
    /// The fault.
    pub fault: Fault,
}

/// Faults in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// The steps.
    pub steps: Vec<ScenarioStep>,
}

/// Why a file is no scenario.
#[derive(Debug, Error)]
pub enum ScenarioError {
    /// It can't be read.
    #[error("could not read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is something else.
    #[error("could not read scenario {}: {what}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
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

/// Up to an hour.
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
    /// The component, or the queue.
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
    /// Reads a scenario.
    ///
    /// # Errors
    /// It can't be read, or is none.
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        let text = std::fs::read_to_string(path).map_err(|source| ScenarioError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text).map_err(|what| ScenarioError::Invalid {
            path: path.to_owned(),
            what,
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let text: ScenarioFile = toml::from_str(text).map_err(|error| error.to_string())?;
        let steps = text.step.into_iter().enumerate().map(|(at, step)| {
            step.into_step()
                .map_err(|what| format!("step {}: {what}", at + 1))
        });
        Ok(Self {
            steps: steps.collect::<Result<_, _>>()?,
        })
    }
}

impl StepEntry {
    fn into_step(self) -> Result<ScenarioStep, String> {
        let lasts = matches!(
            self.fault,
            FaultName::Kill | FaultName::Pause | FaultName::Cut
        );
        if self.duration.is_some() && !lasts {
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
        let time = self.duration.map(|time| time.as_duration());
        let while_it_lasts = time.unwrap_or(DEFAULT_FAULT_DURATION);
        let fault = match self.fault {
            FaultName::Kill => Fault::Kill {
                component: target()?,
                duration: time,
            },
            FaultName::Pause => Fault::Pause {
                component: target()?,
                duration: while_it_lasts,
            },
            FaultName::Cut => Fault::Cut {
                component: target()?,
                duration: while_it_lasts,
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
                .map(|time| time.as_duration())
                .unwrap_or_default(),
            fault,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_a_scenario() {
        let example = include_str!("../../../../fixtures/demo/broker-outage.toml");
        let scenario = Scenario::parse(example).unwrap();
        assert!(scenario.steps.len() > 2);
    }

    #[test]
    fn a_step_says_what_when_and_for_how_long() {
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
    fn what_is_wrong_is_named() {
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
