//! `dm ci`.

mod render;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use dm_core::error::{Error, ExitStatus, Result};
use dm_core::instance;
use dm_operations::ci::artifacts::{ArtifactError, Artifacts};
use dm_operations::ci::event::CiEvent;
use dm_operations::ci::{self, CiObserver, CiResult, junit};
use dm_smoke::report::StepResult;
use dm_terminal::{Printer, error_report, github_actions, json};

use crate::arguments::smoke_test::SmokeArgs;
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
    smoke: SmokeArgs,
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
    /// The time starts when all images are present. If set, the option also limits the wait for
    /// the instance lock, which is 30 min otherwise.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    wait_timeout: Option<Duration>,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<ExitStatus> {
    let session = &context.session;
    let name = match session.instance() {
        instance::DEFAULT_INSTANCE => ci::new_instance_name(arguments.keep_instance),
        name => name.to_owned(),
    };
    let project = session.project_for_instance(&name)?.without_schedule();
    let step_summary = std::env::var_os("GITHUB_STEP_SUMMARY").map(PathBuf::from);
    let artifacts = Artifacts::prepare(
        arguments.artifacts.as_deref(),
        arguments.junit,
        arguments.summary,
        step_summary,
    )?;
    let request = ci::CiRequest {
        smoke_test: arguments.smoke.into(),
        keep_instance: arguments.keep_instance,
        assume_yes: arguments.yes,
        wait_timeout: arguments.wait_timeout,
        bundle_path: artifacts.bundle.clone(),
    };
    let mut reporter = JobReporter {
        printer: &context.printer,
        artifacts,
    };
    let result = ci::run(session, &project, &request, &mut reporter).await?;
    reporter.write_reports(&result)?;
    Ok(result.exit)
}

/// Prints the progress of a job and writes its files.
struct JobReporter<'a> {
    printer: &'a Printer,
    artifacts: Artifacts,
}

impl JobReporter<'_> {
    /// Writes the reports and prints the result.
    fn write_reports(mut self, result: &CiResult) -> Result<()> {
        let junit = junit::to_xml(&result.report).map_err(ArtifactError::from)?;
        let summary = render::render_markdown(&result.report);
        self.artifacts.write_reports(&junit, &summary)?;
        let files = self.artifacts.files();
        let event = CiEvent::Finished {
            ok: result.report.is_success(),
            seconds: result.took.as_secs_f64(),
            artifacts: files
                .iter()
                .map(|file| file.display().to_string())
                .collect(),
        };
        self.on_event(&event)?;
        if !self.printer.is_json() {
            let canvas = self.printer.stdout_canvas();
            self.printer
                .write_stdout(&render::render_sentence(&result.report, &canvas))?;
        }
        Ok(())
    }
}

impl CiObserver for JobReporter<'_> {
    /// Writes the event to the artifacts, and with `--json` to standard output.
    fn on_event(&mut self, event: &CiEvent<'_>) -> Result<()> {
        let line = match event {
            CiEvent::Started { .. } => json::format_line(&dm_core::document::CI, event)?,
            _ => json::format_continuation_line(&dm_core::document::CI, event)?,
        };
        self.artifacts.write_event_line(&line)?;
        if self.printer.is_json() {
            self.printer.write_stdout(&line)?;
        }
        Ok(())
    }

    fn on_step(&mut self, step: &StepResult) {
        views::smoke::print_step(self.printer, step);
    }

    fn on_error(&mut self, error: &Error) {
        self.printer.write_stderr(&error_report::render_text(
            error,
            &self.printer.stderr_canvas(),
        ));
        let sentence = error.error_chain().join(": ");
        self.printer
            .annotate(&github_actions::error_annotation("dm ci", &sentence, None));
    }

    fn on_bundle_written(&mut self, path: &Path) {
        let line = dm_console::failure::render_bundle_path(path, &self.printer.stderr_canvas());
        self.printer.write_stderr(&line);
    }
}
