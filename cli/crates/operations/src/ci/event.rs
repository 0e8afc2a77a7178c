//! What a job tells while it runs: one JSON line each.

use dm_smoke::report::StepResult;
use serde::Serialize;

use super::report::{NodeReport, StageReport};

/// One line.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum CiEvent<'a> {
    /// The job begins.
    Begun {
        /// The instance that it makes for itself.
        instance: &'a str,
    },
    /// A node of the start has ended.
    Component(&'a NodeReport),
    /// A step of the smoke test has ended.
    Step {
        /// The number of its run, from 1.
        run: usize,
        /// The step.
        #[serde(flatten)]
        step: &'a StepResult,
    },
    /// A part of the job has ended.
    Stage(&'a StageReport),
    /// The job is over.
    Ended {
        /// True where everything is as it should be.
        ok: bool,
        /// How long it took.
        seconds: f64,
        /// The files that it left, in order.
        artifacts: Vec<String>,
    },
}
