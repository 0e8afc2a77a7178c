//! Tests a running stack end to end with a business flow.

use dm_core::error::Result;
use dm_engine::Engine;
use dm_engine::logs::LogQuery;
use dm_gateway_client::{RequestFailure, StackEndpoints};
use dm_smoke::report::{StepCounts, StepOutcome, StepResult};
use futures_util::TryStreamExt as _;

use crate::session::{Project, Session, existing_ports};

/// The maximum number of log lines that are shown for a failed trace.
const MAX_LOG_LINES: usize = 40;

/// A smoke test of a running stack.
#[derive(Debug, Clone)]
pub struct SmokeTest {
    /// The number of runs. The first failure ends the test.
    pub repeat: u16,
    /// The password of the users who sign in.
    pub password: String,
}

/// Observes the steps of a smoke test.
pub trait StepObserver {
    /// Called when a step has ended and its result is complete.
    fn on_step(&mut self, step: &StepResult);

    /// Called for each step when the whole run has ended, with the number of the run, from 1.
    ///
    /// # Errors
    /// An error ends the smoke test.
    fn on_run_step(&mut self, run: usize, step: &StepResult) -> Result<()>;
}

impl SmokeTest {
    /// Runs the scenario `repeat` times, or until it fails.
    ///
    /// # Errors
    /// If the ports cannot be read, the engine fails, or the observer returns an error.
    pub async fn run(
        &self,
        session: &Session,
        project: &Project,
        engine: &Engine,
        observer: &mut dyn StepObserver,
    ) -> Result<Vec<Vec<StepResult>>> {
        let ports = existing_ports(project, engine).await?;
        let config = project.config();
        let endpoints = StackEndpoints::new(
            &ports,
            config.keycloak.realm.as_str(),
            &self.password,
            config.services.all().map(|(name, _)| name),
        );
        let mut runs = Vec::new();
        for number in 1..=usize::from(self.repeat) {
            if self.repeat > 1 {
                let sentence = format!("run {number} of {}", self.repeat);
                session.frontend.note(&sentence);
            }
            let mut steps = dm_smoke::run(&endpoints, &session.interrupt, |step| {
                if !matches!(step.outcome, StepOutcome::Failed(_)) {
                    observer.on_step(step);
                }
            })
            .await;
            for step in &mut steps {
                if let StepOutcome::Failed(failure) = &mut step.outcome {
                    failure.log_lines = trace_log_lines(project, engine, failure).await;
                    observer.on_step(step);
                }
                observer.on_run_step(number, step)?;
            }
            let passed = StepCounts::from_steps(&steps).all_passed();
            runs.push(steps);
            if !passed {
                break;
            }
        }
        Ok(runs)
    }
}

/// Returns the log lines of all containers with the trace id of a failure, oldest first.
/// Logs that cannot be read are left out.
async fn trace_log_lines(
    project: &Project,
    engine: &Engine,
    failure: &RequestFailure,
) -> Vec<String> {
    let Some(trace_id) = &failure.trace_id else {
        return Vec::new();
    };
    let Ok(containers) = engine
        .list_containers(&project.instance.label_filter())
        .await
    else {
        return Vec::new();
    };
    let mut trace_lines = Vec::new();
    for container in containers {
        let query = LogQuery {
            tail: Some(2_000),
            ..LogQuery::default()
        };
        let lines = engine.log_lines(&container.name, &query);
        let lines: Vec<_> = lines.try_collect().await.unwrap_or_default();
        trace_lines.extend(
            lines
                .into_iter()
                .filter(|line| line.text.contains(trace_id.as_str()))
                .map(|line| (line.time, format!("{}  {}", container.component, line.text))),
        );
    }
    trace_lines.sort_by_key(|(time, _)| *time);
    let skipped = trace_lines.len().saturating_sub(MAX_LOG_LINES);
    trace_lines
        .into_iter()
        .skip(skipped)
        .map(|(_, line)| line)
        .collect()
}
