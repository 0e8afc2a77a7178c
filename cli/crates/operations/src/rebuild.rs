//! The services are compiled, and those whose binary changed are restarted.

use std::sync::Arc;
use std::time::Duration;

use dm_core::error::Result;
use dm_host::consent::Consent;
use dm_stack::up;
use serde::{Serialize, Serializer};

use crate::session::{PortUse, Project, Session};
use crate::stack_run::{RunPhase, RunResult, StackRun, up_request};

/// What is to be rebuilt.
pub struct Rebuild<'a> {
    /// What was asked for, e.g. `rebuild`.
    pub command: &'static str,
    /// Only these and what they need; all where empty.
    pub only: &'a [String],
    /// How long components may take; the configuration's time where none is given.
    pub wait_timeout: Option<Duration>,
}

impl Rebuild<'_> {
    /// Compiles first: where the sources don't compile, what ran before keeps running. The
    /// caller has the instance's lock.
    ///
    /// # Errors
    /// What stops the run before its first node; what fails in a node is in the
    /// outcome.
    pub async fn run(
        &self,
        session: &Session,
        project: &Project,
        consent: Arc<Consent>,
    ) -> Result<RunResult> {
        let engine = session.engine_or_start(project, &consent).await?;
        StackRun::new(self.command, project)
            .with_ports(PortUse::Allocate {
                free: false,
                only: self.only,
            })
            .with_phase(RunPhase::Compile)
            .with_phase(RunPhase::Up(up::UpPlanRequest {
                unchanged: up::UnchangedComponents::Skip,
                ..up_request(project, self.only, self.wait_timeout)
            }))
            .execute(session, engine, consent)
            .await
    }
}

/// What became of a rebuild.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RebuildResult {
    /// True where all that was wanted runs as the sources have it.
    pub ok: bool,
    /// The components that were made anew or started, in order.
    pub restarted: Vec<String>,
    /// How many errors the compiler found.
    pub compile_errors: usize,
    /// The components that failed.
    pub failed: Vec<String>,
    /// From the change, or the call, to the end.
    #[serde(rename = "seconds", serialize_with = "as_seconds")]
    pub took: Duration,
}

impl RebuildResult {
    /// What became of a rebuild that took so long.
    #[must_use]
    pub fn new(brought: &RunResult, took: Duration) -> Self {
        let failures = &brought.outcome.failures;
        Self {
            ok: brought.outcome.is_success(),
            restarted: brought.recording.started_services(),
            compile_errors: failures.iter().map(|it| it.source_errors.len()).sum(),
            failed: failures.iter().map(|it| it.name.clone()).collect(),
            took,
        }
    }
}

fn as_seconds<S: Serializer>(
    duration: &Duration,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_f64((duration.as_secs_f64() * 1000.0).round() / 1000.0)
}
