//! The events of a running job, printed as JSON lines.

use dm_smoke::report::StepResult;
use serde::Serialize;

use super::report::{NodeReport, StageReport};

/// An event of a job.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum CiEvent<'a> {
    /// The job starts.
    Started {
        /// The instance that the job creates.
        instance: &'a str,
    },
    /// A node of the start has finished.
    Component(&'a NodeReport),
    /// A step of the smoke test has finished.
    Step {
        /// The number of its run, from 1.
        run: usize,
        /// The step.
        #[serde(flatten)]
        step: &'a StepResult,
    },
    /// A stage of the job has finished.
    Stage(&'a StageReport),
    /// The job has finished.
    Finished {
        /// True if all stages succeeded.
        ok: bool,
        /// The duration in seconds.
        seconds: f64,
        /// The files that the job wrote, in order.
        artifacts: Vec<String>,
    },
}
