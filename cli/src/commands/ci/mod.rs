//! `dm ci`.

mod render;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use dm_core::error::{Coded, Error, Exit, Result};
use dm_core::instance;
use dm_engine::Engine;
use dm_host::lock::Holder;
use dm_stack::executor::Outcome;
use dm_stack::timings::Timings;
use dm_stack::up;
use thiserror::Error;
use tokio::time::Instant;

use super::context::{Context, PortUse, Project};
use super::doctor;
use super::down;
use super::run::{BringUp, RunError};
use super::smoke::Proof;
use crate::ci::artifacts::{ArtifactError, Artifacts};
use crate::ci::line::{Line, SCHEMA};
use crate::ci::report::{Report, Stage, StageName, components};
use crate::ci::{junit, leftovers};
use crate::views;
use crate::views::progress::Recording;
use dm_core::mask::Masker;

/// Do a whole CI job: an own instance, up, smoke, reports, down.
///
/// The instance has free ports and a name that no other job has, so that jobs run
/// beside each other and beside a developer's stack. It is removed whatever happens,
/// Ctrl-C included; what a killed job left is removed by the next one. In GitHub
/// Actions each failure is an annotation, and the summary goes to the step's page.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    #[command(flatten)]
    proof: Proof,
    /// Keep all there is in this folder: JUnit file, summary, JSON lines, and the
    /// diagnostics bundle of a failure.
    #[arg(long, value_name = "DIR")]
    artifacts: Option<PathBuf>,
    /// Write the JUnit file here: a suite a service, a case a step.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write the summary here, in Markdown.
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
    /// Leave the instance as it is at the end.
    #[arg(long)]
    keep: bool,
    /// Install and start what is missing on this machine without asking.
    #[arg(long, short)]
    yes: bool,
    /// How long the components may take to become ready, and how long to wait for another
    /// command on the instance, e.g. `90s` [default: timeouts.wait, and 30 minutes].
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    wait_timeout: Option<Duration>,
}

/// The instance is somebody's.
#[derive(Debug, Error)]
#[error("instance `{name}` exists already, and a job removes its instance in the end")]
struct InstanceExists {
    name: String,
}

impl Coded for InstanceExists {
    fn code(&self) -> &'static str {
        "instance-exists"
    }

    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn next(&self) -> Vec<String> {
        vec![
            "dm ci".into(),
            format!("dm down --instance {} --volumes", self.name),
        ]
    }
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let name = match context.instance() {
        instance::DEFAULT => leftovers::new_name(arguments.keep),
        named => named.to_owned(),
    };
    let project = context.project_of(&name)?.without_schedule();
    let step_summary = std::env::var_os("GITHUB_STEP_SUMMARY").map(PathBuf::from);
    let artifacts = Artifacts::prepare(
        arguments.artifacts.as_deref(),
        arguments.junit.clone(),
        arguments.summary.clone(),
        step_summary,
    )?;
    let consent = context.consent(arguments.yes);
    let began = Instant::now();
    let engine = context.engine_or_start(&project, &consent).await?;
    sweep(context, &project, &engine).await?;
    let _guard = context
        .lock_within(&project, "dm ci", arguments.wait_timeout)
        .await?;
    refuse_existing(&project, &engine).await?;

    let mut job = Job {
        context,
        project: &project,
        engine,
        arguments: &arguments,
        artifacts,
        masker: doctor::masker(Some(&project.loaded)),
        report: Report {
            instance: name.clone(),
            ..Report::default()
        },
    };
    job.tell(&Line::Begun { instance: &name })?;
    let exit = job.prove(began).await;
    let exit = job.tidy_up(exit).await;
    job.end(began.elapsed())?;
    Ok(exit)
}

/// Removes the instances of jobs that were killed. One whose lock is taken is of a
/// job at work.
async fn sweep(context: &Context, project: &Project, engine: &Engine) -> Result<()> {
    for name in leftovers::find(engine, &project.instance.project).await? {
        let left = context.project_of(&name)?;
        let lock = left.state.instance_lock(&left.instance.project, &name);
        let Some(_guard) = lock.try_lock(&Holder::this_process("dm ci"))? else {
            continue;
        };
        context
            .printer
            .note(&format!("removing {name}, which a killed job left"));
        down::take_down(context, &left, engine.clone(), true).await?;
    }
    Ok(())
}

/// An instance that was named must not be anybody's: it is removed in the end.
async fn refuse_existing(project: &Project, engine: &Engine) -> Result<()> {
    let filter = project.instance.filter();
    let exists =
        !engine.containers(&filter).await?.is_empty() || !engine.volumes(&filter).await?.is_empty();
    if exists {
        let name = project.instance.name.clone();
        return Err(InstanceExists { name }.into());
    }
    Ok(())
}

/// A job under way.
struct Job<'a> {
    context: &'a Context,
    project: &'a Project,
    engine: Engine,
    arguments: &'a Arguments,
    artifacts: Artifacts,
    /// Masks what the files of the job quote.
    masker: Masker,
    report: Report,
}

impl Job<'_> {
    /// Brings the stack up and proves it. Answers how the process is to end; what
    /// failed is in the report.
    async fn prove(&mut self, began: Instant) -> Exit {
        let (up, exit) = match self.bring_up().await {
            Ok(outcome) => match RunError::of(&outcome) {
                None => (None, Exit::Success),
                Some(error) => (Some(error.to_string()), error.exit()),
            },
            Err(error) => (Some(error.chain().join(": ")), self.show(&error)),
        };
        self.ended(StageName::Up, began.elapsed(), up);
        if exit != Exit::Success {
            return exit;
        }
        let began = Instant::now();
        let (error, exit) = match self.smoke().await {
            Ok(()) if self.report.steps().ok() => (None, Exit::Success),
            Ok(()) => {
                let sentence = views::smoke::summary(self.report.steps(), self.report.smoke.len());
                (Some(sentence), Exit::Found)
            }
            Err(error) => (Some(error.chain().join(": ")), self.show(&error)),
        };
        self.ended(StageName::Smoke, began.elapsed(), error);
        if exit == Exit::Found && !self.context.interrupt.is_cancelled() {
            self.bundle().await;
        }
        exit
    }

    async fn bring_up(&mut self) -> Result<Outcome> {
        let request = up::Request {
            only: Vec::new(),
            wait: self
                .arguments
                .wait_timeout
                .unwrap_or_else(|| self.project.config().timeouts.wait.get()),
            golden: up::GoldenUse::Begin,
            kept: up::Kept::Ask,
        };
        let run = BringUp {
            command: "ci",
            project: self.project,
            engine: self.engine.clone(),
            ports: PortUse::Allocate {
                free: true,
                only: &[],
            },
            consent: self.context.consent(self.arguments.yes),
            request,
            bundle: self.artifacts.bundle.clone(),
        };
        let brought = run.run(self.context).await?;
        self.take(&brought.recording)?;
        Ok(brought.outcome)
    }

    /// Takes what a run told into the report.
    fn take(&mut self, recording: &Recording) -> Result<()> {
        self.report.timings = Timings::of(&recording.events);
        self.report.components = components(&recording.events, self.report.timings.as_ref());
        for component in &mut self.report.components {
            component.mask(&self.masker);
        }
        self.report.bundle = recording.bundle();
        for component in self.report.components.clone() {
            self.tell(&Line::Component(&component))?;
        }
        Ok(())
    }

    async fn smoke(&mut self) -> Result<()> {
        let Self {
            context,
            project,
            engine,
            arguments,
            artifacts,
            report,
            ..
        } = self;
        report.smoke = arguments
            .proof
            .run(context, project, engine, |run, step| {
                tell(context, artifacts, &Line::Step { run, step })
            })
            .await?;
        Ok(())
    }

    /// Writes the diagnostics bundle while there is something to look at.
    async fn bundle(&mut self) {
        let path = self
            .artifacts
            .bundle
            .clone()
            .unwrap_or_else(|| doctor::failure_bundle(self.project));
        match doctor::bundle_failure(self.project, &path).await {
            Ok(()) => {
                let canvas = self.context.printer.err();
                let line = views::failure::bundle(&path, &canvas);
                self.context.printer.message(&line);
                self.report.bundle = Some(path);
            }
            Err(error) => {
                self.context.printer.warn(&error.to_string());
            }
        }
    }

    /// Removes the instance, even where the job was interrupted. Answers how the
    /// process is to end.
    async fn tidy_up(&mut self, exit: Exit) -> Exit {
        self.report.interrupted = self.context.interrupt.is_cancelled();
        let exit = if self.report.interrupted {
            Exit::Interrupted
        } else {
            exit
        };
        if self.arguments.keep {
            let name = &self.report.instance;
            self.context.printer.note(&format!(
                "the instance stays; dm down --instance {name} --volumes removes it"
            ));
            return exit;
        }
        let began = Instant::now();
        let context = self.context.undisturbed();
        let removed = down::take_down(&context, self.project, self.engine.clone(), true).await;
        match removed {
            Ok(_) => {
                self.ended(StageName::Down, began.elapsed(), None);
                exit
            }
            Err(error) => {
                let sentence = error.chain().join(": ");
                self.ended(StageName::Down, began.elapsed(), Some(sentence));
                let own = self.show(&error);
                if exit == Exit::Success { own } else { exit }
            }
        }
    }

    /// Writes the reports and says how it ended.
    fn end(&mut self, took: Duration) -> Result<()> {
        let junit = junit::xml(&self.report).map_err(ArtifactError::from)?;
        let summary = render::markdown(&self.report);
        self.artifacts.write(&junit, &summary)?;
        let files = self.artifacts.files();
        let line = Line::Ended {
            ok: self.report.ok(),
            seconds: took.as_secs_f64(),
            artifacts: files.iter().map(|it| it.display().to_string()).collect(),
        };
        self.tell(&line)?;
        let printer = &self.context.printer;
        if !printer.is_json() {
            printer.data(&render::sentence(&self.report, &printer.out()))?;
        }
        Ok(())
    }

    fn ended(&mut self, name: StageName, took: Duration, error: Option<String>) {
        let interrupted = name != StageName::Down && self.context.interrupt.is_cancelled();
        let error = error.map(|error| {
            if interrupted {
                "interrupted".to_owned()
            } else {
                self.masker.text(&error)
            }
        });
        let stage = Stage {
            name,
            ok: error.is_none(),
            took,
            error,
        };
        // Nobody reads any more: the instance has to go all the same.
        if let Err(error) = self.tell(&Line::Stage(&stage)) {
            self.context.printer.warn(&error.chain().join(": "));
        }
        self.report.stages.push(stage);
    }

    /// Shows an error that ends no more than a part of the job.
    fn show(&self, error: &Error) -> Exit {
        let printer = &self.context.printer;
        printer.message(&dm_terminal::report::text(error, &printer.err()));
        let sentence = error.chain().join(": ");
        printer.annotate(&dm_terminal::annotation::error("dm ci", &sentence, None));
        error.coded().exit()
    }

    fn tell(&mut self, line: &Line<'_>) -> Result<()> {
        tell(self.context, &mut self.artifacts, line)
    }
}

/// Tells a line: into the artifacts, and with `--json` on standard output.
fn tell(context: &Context, artifacts: &mut Artifacts, line: &Line<'_>) -> Result<()> {
    let text = match line {
        Line::Begun { .. } => dm_terminal::json::line(SCHEMA, line)?,
        _ => dm_terminal::json::further_line(SCHEMA, line)?,
    };
    artifacts.line(&text)?;
    if context.printer.is_json() {
        context.printer.data(&text)?;
    }
    Ok(())
}
