//! `dm smoke`.

use std::path::PathBuf;

use clap::Args;
use dm_core::error::{ExitStatus, Result, UserError};
use dm_core::error_code::ErrorCode;
use dm_operations::smoke;
use dm_smoke::junit;
use dm_smoke::report::{StepCounts, StepResult};
use dm_terminal::Printer;
use serde::Serialize;
use thiserror::Error;

use crate::arguments::smoke_test::SmokeArgs;
use crate::context::Context;
use crate::views;

/// Run the end-to-end smoke test.
///
/// Runs the business flow on the running stack, from a lead to a notification. Users sign in
/// through the pages of Keycloak. Every response is checked against the contract, and so are the
/// requests that must be refused. Each run creates its own lead, order and expense, so that the
/// test can be repeated.
///
/// Exit code 1 if a step fails.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Examples:
  dm smoke
  dm smoke --repeat 3 --junit smoke.xml")]
pub(crate) struct Arguments {
    #[command(flatten)]
    smoke: SmokeArgs,
    /// Write the result to this file as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// The document of `dm smoke --json`.
#[derive(Debug, Serialize)]
struct SmokeDocument<'a> {
    ok: bool,
    #[serde(flatten)]
    counts: StepCounts,
    runs: &'a [Vec<StepResult>],
}

/// The JUnit report could not be written.
#[derive(Debug, Error)]
enum SmokeError {
    #[error("could not write {}: {source}", path.display())]
    Junit {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("could not serialize the JUnit report: {0}")]
    Serialize(#[from] quick_junit::SerializeError),
}

impl UserError for SmokeError {
    fn code(&self) -> ErrorCode {
        ErrorCode::ReportWrite
    }

    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Usage
    }
}

/// Prints the steps of a smoke test.
struct StepPrinter<'a>(&'a Printer);

impl smoke::StepObserver for StepPrinter<'_> {
    fn on_step(&mut self, step: &StepResult) {
        views::smoke::print_step(self.0, step);
    }

    fn on_run_step(&mut self, _: usize, _: &StepResult) -> Result<()> {
        Ok(())
    }
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<ExitStatus> {
    let (session, printer) = (&context.session, &context.printer);
    let project = session.project()?;
    let engine = session.engine(project.config()).await?;
    let smoke_test = smoke::SmokeTest::from(arguments.smoke);
    let runs = smoke_test
        .run(session, &project, &engine, &mut StepPrinter(printer))
        .await?;
    let counts = StepCounts::from_steps(runs.iter().flatten());
    if let Some(path) = &arguments.junit {
        let xml = junit::to_xml(&runs).map_err(SmokeError::from)?;
        tokio::fs::write(path, xml)
            .await
            .map_err(|source| SmokeError::Junit {
                path: path.clone(),
                source,
            })?;
    }
    let document = SmokeDocument {
        ok: counts.all_passed(),
        counts,
        runs: &runs,
    };
    printer.print_result(&dm_core::document::SMOKE, &document, |_| {
        counts.summary(runs.len())
    })?;
    Ok(if session.interrupt.is_cancelled() {
        ExitStatus::Interrupted
    } else if counts.all_passed() {
        ExitStatus::Success
    } else {
        ExitStatus::Findings
    })
}
