//! `dm ci`.

mod render;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use dm_core::error::{Error, Exit, Result};
use dm_core::instance;
use dm_operations::ci::artifacts::{ArtifactError, Artifacts};
use dm_operations::ci::line::Line;
use dm_operations::ci::{self, Ended, Watcher, junit};
use dm_smoke::report::Step;
use dm_terminal::{Printer, annotation, json, report};

use crate::arguments::proof::Proof;
use crate::context::Context;
use crate::views;

/// Run a CI job on an isolated instance.
///
/// Starts an instance, runs the smoke test, writes the reports, and removes the instance. The
/// instance has a unique name and free ports, so that jobs can run in parallel. It is removed
/// in any case, also after Ctrl-C; the next job removes what a killed job has left. An instance
/// that is named by --instance must not exist yet.
///
/// In GitHub Actions, each failure becomes an annotation, and the summary is added to the page
/// of the step.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Examples:
  dm ci --yes --artifacts artifacts
  dm ci --repeat 3 --junit junit.xml
  dm ci --keep-instance")]
pub(crate) struct Arguments {
    #[command(flatten)]
    proof: Proof,
    /// Write all reports to this directory.
    ///
    /// These are the JUnit file, the summary, the JSON lines, and, after a failure, the
    /// diagnostics bundle.
    #[arg(long, value_name = "DIR")]
    artifacts: Option<PathBuf>,
    /// Write the result to this file as JUnit XML: one suite per service, one case per step.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write the summary to this file as Markdown.
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
    /// Keep the instance at the end of the job.
    #[arg(long)]
    keep_instance: bool,
    /// Install and start missing software on this machine without asking.
    #[arg(long, short)]
    yes: bool,
    /// Time limit for the components to become ready, e.g. `90s` [default: timeouts.wait].
    ///
    /// The time starts when all images are present. The same limit applies to the wait for
    /// another command that holds the lock of the instance (30 minutes by default).
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    wait_timeout: Option<Duration>,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let session = &context.session;
    let name = match session.instance() {
        instance::DEFAULT => ci::new_name(arguments.keep_instance),
        named => named.to_owned(),
    };
    let project = session.project_of(&name)?.without_schedule();
    let step_summary = std::env::var_os("GITHUB_STEP_SUMMARY").map(PathBuf::from);
    let artifacts = Artifacts::prepare(
        arguments.artifacts.as_deref(),
        arguments.junit,
        arguments.summary,
        step_summary,
    )?;
    let request = ci::Request {
        proof: arguments.proof.into(),
        keep: arguments.keep_instance,
        yes: arguments.yes,
        wait: arguments.wait_timeout,
        bundle: artifacts.bundle.clone(),
    };
    let mut shown = Shown {
        printer: &context.printer,
        artifacts,
    };
    let ended = ci::run(session, &project, &request, &mut shown).await?;
    shown.end(&ended)?;
    Ok(ended.exit)
}

/// Shows a job, and keeps its files.
struct Shown<'a> {
    printer: &'a Printer,
    artifacts: Artifacts,
}

impl Shown<'_> {
    /// Writes the reports and says how it ended.
    fn end(mut self, ended: &Ended) -> Result<()> {
        let junit = junit::xml(&ended.report).map_err(ArtifactError::from)?;
        let summary = render::markdown(&ended.report);
        self.artifacts.write(&junit, &summary)?;
        let files = self.artifacts.files();
        let line = Line::Ended {
            ok: ended.report.ok(),
            seconds: ended.took.as_secs_f64(),
            artifacts: files.iter().map(|it| it.display().to_string()).collect(),
        };
        self.line(&line)?;
        if !self.printer.is_json() {
            let canvas = self.printer.out();
            self.printer
                .data(&render::sentence(&ended.report, &canvas))?;
        }
        Ok(())
    }
}

impl Watcher for Shown<'_> {
    /// Into the artifacts, and with `--json` on standard output.
    fn line(&mut self, line: &Line<'_>) -> Result<()> {
        let text = match line {
            Line::Begun { .. } => json::line(&dm_core::document::CI, line)?,
            _ => json::further_line(&dm_core::document::CI, line)?,
        };
        self.artifacts.line(&text)?;
        if self.printer.is_json() {
            self.printer.data(&text)?;
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) {
        views::smoke::show(self.printer, step);
    }

    fn failed(&mut self, error: &Error) {
        self.printer
            .message(&report::text(error, &self.printer.err()));
        let sentence = error.chain().join(": ");
        self.printer
            .annotate(&annotation::error("dm ci", &sentence, None));
    }

    fn bundled(&mut self, path: &Path) {
        let line = dm_console::failure::bundle(path, &self.printer.err());
        self.printer.message(&line);
    }
}
