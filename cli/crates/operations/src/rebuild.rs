//! Compiles the services and restarts those whose binary changed.

use std::sync::Arc;
use std::time::Duration;

use dm_core::error::Result;
use dm_host::consent::Consent;
use dm_stack::up;
use serde::{Serialize, Serializer};

use crate::session::{PortUse, Project, Session};
use crate::stack_run::{RunPhase, RunResult, StackRun, up_request};

/// A request to rebuild services.
pub struct Rebuild<'a> {
    /// The command that started the run, e.g. `rebuild`.
    pub command: &'static str,
    /// Only these components and their dependencies; all if empty.
    pub only: &'a [String],
    /// The time limit for the components. Default: the one of the configuration.
    pub wait_timeout: Option<Duration>,
}

impl Rebuild<'_> {
    /// Compiles first: if the sources do not compile, the old services keep running. The
    /// caller holds the instance lock.
    ///
    /// # Errors
    /// If the run fails before its first node. Failures of nodes are in the outcome.
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

/// The result of a rebuild.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RebuildResult {
    /// True if all requested components run the current sources.
    pub ok: bool,
    /// The components that were recreated or started, in order.
    pub restarted: Vec<String>,
    /// The number of compiler errors.
    pub compile_errors: usize,
    /// The components that failed.
    pub failed: Vec<String>,
    /// The time from the change, or from the call, to the end.
    #[serde(rename = "seconds", serialize_with = "serialize_seconds")]
    pub took: Duration,
}

impl RebuildResult {
    /// The result of a run that took this long.
    #[must_use]
    pub fn new(run: &RunResult, took: Duration) -> Self {
        let failures = &run.outcome.failures;
        Self {
            ok: run.outcome.is_success(),
            restarted: run.recording.started_services(),
            compile_errors: failures
                .iter()
                .map(|failure| failure.source_errors.len())
                .sum(),
            failed: failures
                .iter()
                .map(|failure| failure.name.clone())
                .collect(),
            took,
        }
    }
}

fn serialize_seconds<S: Serializer>(
    duration: &Duration,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_f64((duration.as_secs_f64() * 1000.0).round() / 1000.0)
}
