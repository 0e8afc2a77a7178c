//! A running stack is proved by its business flow.

use dm_core::error::Result;
use dm_engine::Engine;
use dm_engine::logs::LogQuery;
use dm_gateway_client::{RequestFailure, StackEndpoints};
use dm_smoke::report::{StepCounts, StepOutcome, StepResult};
use futures_util::TryStreamExt as _;

use crate::session::{Project, Session, existing_ports};

/// How many log lines of a failed trace are shown.
const MAX_LOG_LINES: usize = 40;

/// How a running stack is proved.
#[derive(Debug, Clone)]
pub struct SmokeTest {
    /// How often; the first failure ends it.
    pub repeat: u16,
    /// The password of the people who sign in.
    pub password: String,
}

/// What follows the steps of a proof.
pub trait StepObserver {
    /// A step has ended, and all is known of it.
    fn on_step(&mut self, step: &StepResult);

    /// The same, once the whole run has ended, with the number of the run, from 1.
    ///
    /// # Errors
    /// Ends the proof.
    fn on_run_step(&mut self, run: usize, step: &StepResult) -> Result<()>;
}

impl SmokeTest {
    /// Runs the scenario as often as was asked, or until it fails.
    ///
    /// # Errors
    /// Unreadable ports, a failing engine, and what the watcher answers.
    pub async fn run(
        &self,
        session: &Session,
        project: &Project,
        engine: &Engine,
        watcher: &mut dyn StepObserver,
    ) -> Result<Vec<Vec<StepResult>>> {
        let ports = existing_ports(project, engine).await?;
        let config = project.config();
        let site = StackEndpoints::new(
            &ports,
            config.keycloak.realm.as_str(),
            &self.password,
            config.services.all().map(|(name, _)| name),
        );
        let mut runs = Vec::new();
        for number in 1..=usize::from(self.repeat) {
            if self.repeat > 1 {
                let run = format!("run {number} of {}", self.repeat);
                session.frontend.note(&run);
            }
            let mut steps = dm_smoke::run(&site, &session.interrupt, |step| {
                if !matches!(step.outcome, StepOutcome::Failed(_)) {
                    watcher.on_step(step);
                }
            })
            .await;
            for step in &mut steps {
                if let StepOutcome::Failed(fault) = &mut step.outcome {
                    fault.log = trace_log_lines(project, engine, fault).await;
                    watcher.on_step(step);
                }
                watcher.on_run_step(number, step)?;
            }
            let ok = StepCounts::from_steps(&steps).all_passed();
            runs.push(steps);
            if !ok {
                break;
            }
        }
        Ok(runs)
    }
}

/// What all containers logged under the trace of a fault, oldest first. Where it
/// can't be read the fault is told without.
async fn trace_log_lines(
    project: &Project,
    engine: &Engine,
    fault: &RequestFailure,
) -> Vec<String> {
    let Some(trace) = &fault.trace_id else {
        return Vec::new();
    };
    let Ok(containers) = engine
        .list_containers(&project.instance.label_filter())
        .await
    else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for container in containers {
        let query = LogQuery {
            tail: Some(2_000),
            ..LogQuery::default()
        };
        let lines = engine.log_lines(&container.name, &query);
        let lines: Vec<_> = lines.try_collect().await.unwrap_or_default();
        found.extend(
            lines
                .into_iter()
                .filter(|line| line.text.contains(trace.as_str()))
                .map(|line| (line.time, format!("{}  {}", container.component, line.text))),
        );
    }
    found.sort_by_key(|(time, _)| *time);
    let skipped = found.len().saturating_sub(MAX_LOG_LINES);
    found
        .into_iter()
        .skip(skipped)
        .map(|(_, line)| line)
        .collect()
}
