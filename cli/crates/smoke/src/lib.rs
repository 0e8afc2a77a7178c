//! The smoke test: the business flow from a lead to a notification, over HTTP, by
//! real people who sign in through Keycloak's pages (see [`dm_gateway_client`]).
//!
//! ```text
//! scenario   the steps
//! report     what came out, as values; junit: as a file
//! ```
//!
//! Nothing is cleaned up afterwards, and nothing needs to be: every run makes its
//! own lead, order and expense and looks for those alone.

#![expect(
    clippy::result_large_err,
    reason = "a fault is made once a run, and ends it"
)]

pub mod junit;
pub mod report;
mod scenario;

use std::time::{Duration, Instant};

use dm_gateway_client::StackEndpoints;
use tokio_util::sync::CancellationToken;

use report::{StepOutcome, StepResult};
use scenario::{STEPS, ScenarioState};

/// What every lead, order and expense of a run says of itself.
pub const DATA_MARKER: &str = "dm smoke";

/// How long something that flows through events may take to be seen. The contract
/// says 15 s for the slowest of them.
const EVENT_TIMEOUT: Duration = Duration::from_secs(15);

/// Runs the scenario once. Each step is told as soon as it ended; those after one
/// that failed are skipped, since they build on it.
pub async fn run(
    endpoints: &StackEndpoints,
    cancel: &CancellationToken,
    mut on_step: impl FnMut(&StepResult),
) -> Vec<StepResult> {
    let mut world = ScenarioState::new(endpoints.clone());
    let mut steps = Vec::new();
    let mut failed = false;
    for definition in STEPS {
        let began = Instant::now();
        let outcome = if failed || cancel.is_cancelled() {
            StepOutcome::Skipped
        } else {
            tokio::select! {
                () = cancel.cancelled() => StepOutcome::Skipped,
                result = definition.run(&mut world) => match result {
                    Ok(()) => StepOutcome::Passed,
                    Err(fault) => StepOutcome::Failed(fault),
                },
            }
        };
        failed |= matches!(outcome, StepOutcome::Failed(_));
        let step = StepResult {
            service: definition.service,
            name: definition.name,
            duration: began.elapsed(),
            outcome,
        };
        on_step(&step);
        steps.push(step);
    }
    steps
}
