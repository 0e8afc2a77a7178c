//! Faults in a row, from a file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use dm_config::values::Period;
use dm_core::error::{Coded, Exit};
use dm_core::error_code::ErrorCode;
use serde::Deserialize;
use thiserror::Error;

use super::Fault;

/// How long a fault lasts unless it says so.
const CUSTOMARY: Duration = Duration::from_secs(5);

/// A fault, and how long to wait before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// How long after the step before it.
    pub after: Duration,
    /// The fault.
    pub fault: Fault,
}

/// Faults in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// The steps.
    pub steps: Vec<Step>,
}

/// Why a file is no scenario.
#[derive(Debug, Error)]
pub enum ScenarioError {
    /// It can't be read.
    #[error("could not read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is something else.
    #[error("could not read scenario {}: {what}", path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

impl Coded for ScenarioError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::File { .. } => ErrorCode::FileAccess,
            Self::Text { .. } => ErrorCode::ScenarioInvalid,
        }
    }

    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn next(&self) -> Vec<String> {
        match self {
            Self::File { .. } => Vec::new(),
            Self::Text { .. } => vec!["see the example fixtures/demo/broker-outage.toml".into()],
        }
    }
}

/// Up to an hour.
type Time = Period<0, 3_600_000>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    step: Vec<StepText>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StepText {
    fault: Word,
    /// The component, or the queue.
    target: Option<String>,
    after: Option<Time>,
    #[serde(rename = "for")]
    time: Option<Time>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Word {
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
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let text = std::fs::read_to_string(path).map_err(|source| ScenarioError::File {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text).map_err(|what| ScenarioError::Text {
            path: path.to_owned(),
            what,
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let text: Text = toml::from_str(text).map_err(|error| error.to_string())?;
        let steps = text.step.into_iter().enumerate().map(|(at, step)| {
            step.understand()
                .map_err(|what| format!("step {}: {what}", at + 1))
        });
        Ok(Self {
            steps: steps.collect::<Result<_, _>>()?,
        })
    }
}

impl StepText {
    fn understand(self) -> Result<Step, String> {
        let lasts = matches!(self.fault, Word::Kill | Word::Pause | Word::Cut);
        if self.time.is_some() && !lasts {
            return Err("this fault has no duration: remove `for`".into());
        }
        if self.target.is_some() && self.fault == Word::Disconnect {
            return Err("`disconnect` closes every connection: remove `target`".into());
        }
        let target = || {
            self.target
                .clone()
                .ok_or("`target` is missing: set it to a component or a queue")
        };
        let time = self.time.map(|time| time.get());
        let while_it_lasts = time.unwrap_or(CUSTOMARY);
        let fault = match self.fault {
            Word::Kill => Fault::Kill {
                component: target()?,
                time,
            },
            Word::Pause => Fault::Pause {
                component: target()?,
                time: while_it_lasts,
            },
            Word::Cut => Fault::Cut {
                component: target()?,
                time: while_it_lasts,
            },
            Word::Restart => Fault::Restart {
                component: target()?,
            },
            Word::Disconnect => Fault::Disconnect,
            Word::Poison => Fault::Poison { queue: target()? },
        };
        Ok(Step {
            after: self.after.map(|time| time.get()).unwrap_or_default(),
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
            time: Some(Duration::from_secs(3)),
        };
        let scenario = Scenario::parse(text).unwrap();
        assert_eq!(
            scenario.steps[0],
            Step {
                after: Duration::from_secs(5),
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
