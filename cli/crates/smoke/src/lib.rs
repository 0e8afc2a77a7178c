//! The smoke test: the business flow from a lead to a notification, over HTTP, with users
//! who sign in through Keycloak's pages (see [`dm_gateway_client`]).
//!
//! ```text
//! scenario   the steps
//! report     the results of the steps
//! junit      the results as a JUnit file
//! ```
//!
//! No cleanup is needed: every run creates its own lead, order and expense and checks only
//! these.

#![expect(
    clippy::result_large_err,
    reason = "a failure is created at most once per run, and ends the run"
)]

pub mod junit;
pub mod report;
mod scenario;

use std::time::{Duration, Instant};

use dm_gateway_client::StackEndpoints;
use tokio_util::sync::CancellationToken;

use report::{StepOutcome, StepResult};
use scenario::{STEPS, ScenarioState};

/// The text by which every lead, order and expense of a run is marked.
pub const DATA_MARKER: &str = "dm smoke";

/// The timeout for effects of events. The contract allows 15 s for the slowest effect.
const EVENT_TIMEOUT: Duration = Duration::from_secs(15);

/// Runs the scenario once and returns the results. Calls `on_step` as soon as a step has
/// ended. Steps after a failed step are skipped, since they depend on it.
pub async fn run(
    endpoints: &StackEndpoints,
    cancel: &CancellationToken,
    mut on_step: impl FnMut(&StepResult),
) -> Vec<StepResult> {
    let mut state = ScenarioState::new(endpoints.clone());
    let mut steps = Vec::new();
    let mut failed = false;
    for definition in STEPS {
        let started_at = Instant::now();
        let outcome = if failed || cancel.is_cancelled() {
            StepOutcome::Skipped
        } else {
            tokio::select! {
                () = cancel.cancelled() => StepOutcome::Skipped,
                result = definition.run(&mut state) => match result {
                    Ok(()) => StepOutcome::Passed,
                    Err(failure) => StepOutcome::Failed(failure),
                },
            }
        };
        failed |= matches!(outcome, StepOutcome::Failed(_));
        let step = StepResult {
            service: definition.service,
            name: definition.name,
            duration: started_at.elapsed(),
            outcome,
        };
        on_step(&step);
        steps.push(step);
    }
    steps
}
