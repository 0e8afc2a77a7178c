//! `dm smoke`.

use std::path::PathBuf;

use clap::Args;
use dm_core::error::{Coded, Exit, Result};
use dm_engine::Engine;
use dm_engine::logs::LogQuery;
use dm_gateway_client::{Fault, Site};
use dm_smoke::junit;
use dm_smoke::report::{Counts, Outcome, SCHEMA, Step};
use futures_util::TryStreamExt as _;
use serde::Serialize;
use thiserror::Error;

use super::context::{Context, Project, existing_ports};
use crate::views;

/// How many log lines of a failed trace are shown.
const LOG_LINES: usize = 40;

/// Prove the running stack: from a lead to a notification, as real users.
///
/// People sign in through Keycloak's pages; every answer is held against the
/// contract, and so is what must be refused. A run makes its own lead, order and
/// expense and can be repeated at will.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    #[command(flatten)]
    proof: Proof,
    /// Write the result as a JUnit file, too.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// How a running stack is proved.
#[derive(Debug, Clone, Args)]
pub struct Proof {
    /// Run it so many times; the first failure ends it.
    #[arg(long, default_value_t = 1, value_name = "TIMES", value_parser = clap::value_parser!(u16).range(1..))]
    repeat: u16,
    /// The password of the people who sign in.
    #[arg(
        long,
        env = "DM_TOKEN_PASSWORD",
        default_value = "password",
        hide_env_values = true,
        allow_hyphen_values = true
    )]
    password: String,
}

/// `dm smoke --json`.
#[derive(Debug, Serialize)]
struct Document<'a> {
    ok: bool,
    #[serde(flatten)]
    counts: Counts,
    runs: &'a [Vec<Step>],
}

/// A report that can't be written.
#[derive(Debug, Error)]
enum SmokeError {
    #[error("could not write {}: {source}", path.display())]
    Junit {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the JUnit file could not be made: {0}")]
    Serialize(#[from] quick_junit::SerializeError),
}

impl Coded for SmokeError {
    fn code(&self) -> &'static str {
        "junit"
    }

    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let project = context.project()?;
    let engine = context.engine(project.config()).await?;
    let runs = arguments
        .proof
        .run(context, &project, &engine, |_, _| Ok(()))
        .await?;
    let counts = Counts::of(runs.iter().flatten());
    if let Some(path) = &arguments.junit {
        let xml = junit::xml(&runs).map_err(SmokeError::from)?;
        tokio::fs::write(path, xml)
            .await
            .map_err(|source| SmokeError::Junit {
                path: path.clone(),
                source,
            })?;
    }
    if context.printer.is_json() {
        let document = Document {
            ok: counts.ok(),
            counts,
            runs: &runs,
        };
        context.printer.document(SCHEMA, &document)?;
    } else {
        context
            .printer
            .data(&views::smoke::summary(counts, runs.len()))?;
    }
    Ok(if context.interrupt.is_cancelled() {
        Exit::Interrupted
    } else if counts.ok() {
        Exit::Success
    } else {
        Exit::Found
    })
}

impl Proof {
    /// Runs the scenario as often as was asked, or until it fails, and shows the
    /// steps. Each is handed to `told` with the number of its run, from 1, once all
    /// is known of it.
    ///
    /// # Errors
    /// Unreadable ports, a failing engine, and what `told` answers.
    pub async fn run(
        &self,
        context: &Context,
        project: &Project,
        engine: &Engine,
        mut told: impl FnMut(usize, &Step) -> Result<()>,
    ) -> Result<Vec<Vec<Step>>> {
        let ports = existing_ports(project, engine).await?;
        let config = project.config();
        let site = Site::new(
            &ports,
            config.keycloak.realm.as_str(),
            &self.password,
            config.services.all().map(|(name, _)| name),
        );
        let printer = &context.printer;
        let canvas = printer.err();
        let mut runs = Vec::new();
        for number in 1..=usize::from(self.repeat) {
            if self.repeat > 1 {
                printer.note(&format!("run {number} of {}", self.repeat));
            }
            let mut steps = dm_smoke::run(&site, &context.interrupt, |step| {
                if !matches!(step.outcome, Outcome::Failed(_)) {
                    printer.message(&views::smoke::step(step, &canvas));
                }
            })
            .await;
            for step in &mut steps {
                if let Outcome::Failed(fault) = &mut step.outcome {
                    fault.log = logged(project, engine, fault).await;
                    printer.message(&views::smoke::step(step, &canvas));
                    if let Some(annotation) = views::smoke::annotation(step) {
                        printer.annotate(&annotation);
                    }
                }
                told(number, step)?;
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
