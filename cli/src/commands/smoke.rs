//! `dm smoke`.

use std::path::PathBuf;

use clap::Args;
use dm_core::error::{Coded, Exit, Result};
use dm_core::error_code::ErrorCode;
use dm_operations::smoke;
use dm_smoke::junit;
use dm_smoke::report::{Counts, Step};
use dm_terminal::Printer;
use serde::Serialize;
use thiserror::Error;

use crate::arguments::proof::Proof;
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
    proof: Proof,
    /// Write the result to this file as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
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
    #[error("could not serialize the JUnit report: {0}")]
    Serialize(#[from] quick_junit::SerializeError),
}

impl Coded for SmokeError {
    fn code(&self) -> ErrorCode {
        ErrorCode::ReportWrite
    }

    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// Shows the steps of a proof.
struct Shown<'a>(&'a Printer);

impl smoke::Watcher for Shown<'_> {
    fn step(&mut self, step: &Step) {
        views::smoke::show(self.0, step);
    }

    fn ended(&mut self, _: usize, _: &Step) -> Result<()> {
        Ok(())
    }
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let (session, printer) = (&context.session, &context.printer);
    let project = session.project()?;
    let engine = session.engine(project.config()).await?;
    let proof = smoke::Proof::from(arguments.proof);
    let runs = proof
        .run(session, &project, &engine, &mut Shown(printer))
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
    let document = Document {
        ok: counts.ok(),
        counts,
        runs: &runs,
    };
    printer.result(&dm_core::document::SMOKE, &document, |_| counts.summary(runs.len()))?;
    Ok(if session.interrupt.is_cancelled() {
        Exit::Interrupted
    } else if counts.ok() {
        Exit::Success
    } else {
        Exit::Found
    })
}
