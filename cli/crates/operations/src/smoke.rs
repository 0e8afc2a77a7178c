//! A running stack is proved by its business flow.

use dm_core::error::Result;
use dm_engine::Engine;
use dm_engine::logs::LogQuery;
use dm_gateway_client::{Fault, Site};
use dm_smoke::report::{Counts, Outcome, Step};
use futures_util::TryStreamExt as _;

use crate::session::{Project, Session, existing_ports};

/// How many log lines of a failed trace are shown.
const LOG_LINES: usize = 40;

/// How a running stack is proved.
#[derive(Debug, Clone)]
pub struct Proof {
    /// How often; the first failure ends it.
    pub repeat: u16,
    /// The password of the people who sign in.
    pub password: String,
}

/// What follows the steps of a proof.
pub trait Watcher {
    /// A step has ended, and all is known of it.
    fn step(&mut self, step: &Step);

    /// The same, once the whole run has ended, with the number of the run, from 1.
    ///
    /// # Errors
    /// Ends the proof.
    fn ended(&mut self, run: usize, step: &Step) -> Result<()>;
}

impl Proof {
    /// Runs the scenario as often as was asked, or until it fails.
    ///
    /// # Errors
    /// Unreadable ports, a failing engine, and what the watcher answers.
    pub async fn run(
        &self,
        session: &Session,
        project: &Project,
        engine: &Engine,
        watcher: &mut dyn Watcher,
    ) -> Result<Vec<Vec<Step>>> {
        let ports = existing_ports(project, engine).await?;
        let config = project.config();
        let site = Site::new(
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
                if !matches!(step.outcome, Outcome::Failed(_)) {
                    watcher.step(step);
                }
            })
            .await;
            for step in &mut steps {
                if let Outcome::Failed(fault) = &mut step.outcome {
                    fault.log = logged(project, engine, fault).await;
                    watcher.step(step);
                }
                watcher.ended(number, step)?;
            }
            let ok = Counts::of(&steps).ok();
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
async fn logged(project: &Project, engine: &Engine, fault: &Fault) -> Vec<String> {
    let Some(trace) = &fault.trace_id else {
        return Vec::new();
    };
    let Ok(containers) = engine.containers(&project.instance.filter()).await else {
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
    let skipped = found.len().saturating_sub(LOG_LINES);
    found
        .into_iter()
        .skip(skipped)
        .map(|(_, line)| line)
        .collect()
}
