//! The CI job: its stages, and which of them follow after a failure.

use std::path::{Path, PathBuf};
use std::time::Duration;

use dm_core::error::{Error, ExitStatus, Result, UserError};
use dm_core::error_code::ErrorCode;
use dm_core::mask::Masker;
use dm_doctor::bundle::BundleError;
use dm_engine::Engine;
use dm_host::lock::LockHolder;
use dm_smoke::report::StepResult;
use dm_stack::executor::RunOutcome;
use dm_stack::timings::Timings;
use thiserror::Error;
use tokio::time::Instant;

use super::event::CiEvent;
use super::leftover_instances;
use super::report::{CiReport, StageName, StageReport, node_reports};
use crate::down::take_down;
use crate::run_recording::RunRecording;
use crate::session::{PortUse, Project, Session};
use crate::stack_run::{RunError, RunPhase, StackRun};
use crate::{doctor, smoke};

/// The instance exists already.
#[derive(Debug, Error)]
#[error(
    "could not start the CI job: instance `{name}` exists already, and the job would remove it"
)]
struct InstanceExists {
    name: String,
}

impl UserError for InstanceExists {
    fn code(&self) -> ErrorCode {
        ErrorCode::InstanceExists
    }

    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Usage
    }

    fn suggestions(&self) -> Vec<String> {
        vec![
            "run dm ci without --instance, so that it chooses another name".into(),
            format!(
                "or remove the instance: dm down --instance {} --volumes",
                self.name
            ),
        ]
    }
}

/// The options of a job.
#[derive(Debug, Clone)]
pub struct CiRequest {
    /// The smoke test.
    pub smoke_test: smoke::SmokeTest,
    /// Whether the instance is kept after the job.
    pub keep_instance: bool,
    /// Whether missing software is installed without a question.
    pub assume_yes: bool,
    /// The time limit for the components and for the instance lock. Defaults: the limit of
    /// the configuration, and half an hour.
    pub wait_timeout: Option<Duration>,
    /// The path of the diagnostics bundle, if not the default.
    pub bundle_path: Option<PathBuf>,
}

/// Observes a job.
pub trait CiObserver {
    /// Called for each event of the job.
    ///
    /// # Errors
    /// An error ends the current stage.
    fn on_event(&mut self, event: &CiEvent<'_>) -> Result<()>;

    /// Called when a step of the smoke test has ended and its result is complete.
    fn on_step(&mut self, step: &StepResult);

    /// Called when an error has ended a stage, but not the job.
    fn on_error(&mut self, error: &Error);

    /// Called when the diagnostics bundle is written.
    fn on_bundle_written(&mut self, path: &Path);
}

/// The result of a job.
#[derive(Debug)]
pub struct CiResult {
    /// The report.
    pub report: CiReport,
    /// The exit status for the process.
    pub exit: ExitStatus,
    /// The duration.
    pub took: Duration,
}

/// Runs a job: creates the instance, brings it up, tests it, and removes it in any case.
///
/// # Errors
/// If the job cannot start. Later failures are in the report.
pub async fn run(
    session: &Session,
    project: &Project,
    request: &CiRequest,
    observer: &mut dyn CiObserver,
) -> Result<CiResult> {
    let started_at = Instant::now();
    let session = &job_session(session, &project.instance.name, request.keep_instance);
    let consent = session.consent(request.assume_yes);
    let engine = session.engine_or_start(project, &consent).await?;
    remove_leftover_instances(session, project, &engine).await?;
    let _guard = session
        .lock_within(project, "dm ci", request.wait_timeout)
        .await?;
    refuse_existing_instance(project, &engine).await?;
    let instance = &project.instance.name;
    observer.on_event(&CiEvent::Started { instance })?;
    let job = CiJob {
        session,
        stages: EngineStages {
            session,
            project,
            engine,
            request,
        },
        keep_instance: request.keep_instance,
        masker: doctor::secret_masker(Some(&project.loaded)),
        observer,
        report: CiReport {
            instance: instance.clone(),
            ..CiReport::default()
        },
    };
    let (report, exit) = job.run(started_at).await;
    Ok(CiResult {
        report,
        exit,
        took: started_at.elapsed(),
    })
}

/// Returns the session of a job. Its suggested commands name the instance of the job, which may
/// have a generated name. A job that removes the instance suggests no command for it.
fn job_session(session: &Session, instance: &str, keep_instance: bool) -> Session {
    if keep_instance {
        session.with_instance(instance)
    } else {
        session.for_scratch_instance(instance)
    }
}

/// Removes the instances of killed jobs. An instance whose lock is held belongs to a running
/// job.
async fn remove_leftover_instances(
    session: &Session,
    project: &Project,
    engine: &Engine,
) -> Result<()> {
    for name in leftover_instances::find_leftovers(engine, &project.instance.project).await? {
        let leftover = session.project_for_instance(&name)?;
        let lock = leftover
            .state
            .instance_lock(&leftover.instance.project, &name);
        let Some(_guard) = lock.try_lock(&LockHolder::current_process("dm ci"))? else {
            continue;
        };
        session
            .frontend
            .note(&format!("removing {name}, a leftover of a killed job"));
        take_down(session, &leftover, engine.clone(), true).await?;
    }
    Ok(())
}

/// Fails if the named instance exists: the job would remove it at its end.
async fn refuse_existing_instance(project: &Project, engine: &Engine) -> Result<()> {
    let filter = project.instance.label_filter();
    let exists = !engine.list_containers(&filter).await?.is_empty()
        || !engine.list_volumes(&filter).await?.is_empty();
    if exists {
        let name = project.instance.name.clone();
        return Err(InstanceExists { name }.into());
    }
    Ok(())
}

/// The stages of a job.
trait CiStages {
    /// Brings the stack up.
    async fn up(&mut self) -> Result<(RunOutcome, RunRecording)>;

    /// Runs the smoke test.
    async fn smoke(
        &mut self,
        observer: &mut dyn smoke::StepObserver,
    ) -> Result<Vec<Vec<StepResult>>>;

    /// Writes a diagnostics bundle before the instance is removed. Returns its path.
    async fn bundle(&mut self) -> Result<PathBuf, BundleError>;

    /// Removes the instance, also after an interrupt.
    async fn down(&mut self) -> Result<()>;
}

/// The parts as an engine does them.
struct EngineStages<'a> {
    session: &'a Session,
    project: &'a Project,
    engine: Engine,
    request: &'a CiRequest,
}

impl CiStages for EngineStages<'_> {
    async fn up(&mut self) -> Result<(RunOutcome, RunRecording)> {
        let consent = self.session.consent(self.request.assume_yes);
        let run = StackRun::new("ci", self.project)
            .with_ports(PortUse::Allocate {
                free: true,
                only: &[],
            })
            .with_bundle_path(self.request.bundle_path.clone())
            .with_phase(RunPhase::up(self.project, &[], self.request.wait_timeout))
            .execute(self.session, self.engine.clone(), consent)
            .await?;
        Ok((run.outcome, run.recording))
    }

    async fn smoke(
        &mut self,
        observer: &mut dyn smoke::StepObserver,
    ) -> Result<Vec<Vec<StepResult>>> {
        let smoke_test = &self.request.smoke_test;
        smoke_test
            .run(self.session, self.project, &self.engine, observer)
            .await
    }

    async fn bundle(&mut self) -> Result<PathBuf, BundleError> {
        let path = self.request.bundle_path.clone();
        let path = path.unwrap_or_else(|| doctor::failure_bundle_path(self.project));
        doctor::write_failure_bundle(self.project, &path).await?;
        Ok(path)
    }

    async fn down(&mut self) -> Result<()> {
        let session = self.session.uninterruptible();
        take_down(&session, self.project, self.engine.clone(), true)
            .await
            .map(drop)
    }
}

/// A running job.
struct CiJob<'a, P> {
    session: &'a Session,
    stages: P,
    keep_instance: bool,
    /// Masks secrets in the files of the job.
    masker: Masker,
    observer: &'a mut dyn CiObserver,
    report: CiReport,
}

/// Forwards the steps of the smoke test as events of the job.
struct StepForwarder<'a>(&'a mut dyn CiObserver);

impl smoke::StepObserver for StepForwarder<'_> {
    fn on_step(&mut self, step: &StepResult) {
        self.0.on_step(step);
    }

    fn on_run_step(&mut self, run: usize, step: &StepResult) -> Result<()> {
        self.0.on_event(&CiEvent::Step { run, step })
    }
}

impl<P: CiStages> CiJob<'_, P> {
    /// Runs the stages. The instance is removed in any case. Returns the report, which
    /// contains the failures, and the exit status for the process.
    async fn run(mut self, started_at: Instant) -> (CiReport, ExitStatus) {
        let mut exit = self.up(started_at).await;
        if exit == ExitStatus::Success {
            exit = self.smoke().await;
            if exit == ExitStatus::Findings && !self.is_interrupted() {
                self.bundle().await;
            }
        }
        self.report.interrupted = self.is_interrupted();
        if self.report.interrupted {
            exit = ExitStatus::Interrupted;
        }
        if self.keep_instance {
            let name = &self.report.instance;
            self.session.frontend.note(&format!(
                "the instance was kept; remove it: dm down --instance {name} --volumes"
            ));
        } else {
            let removed = self.down().await;
            if exit == ExitStatus::Success {
                exit = removed;
            }
        }
        (self.report, exit)
    }

    async fn up(&mut self, started_at: Instant) -> ExitStatus {
        let run = match self.stages.up().await {
            Ok((outcome, recording)) => self.record_start(&recording).map(|()| outcome),
            Err(error) => Err(error),
        };
        let (error, exit) = match run {
            Ok(outcome) => match RunError::from_outcome(&outcome) {
                None => (None, ExitStatus::Success),
                Some(error) => (Some(error.to_string()), error.exit_status()),
            },
            Err(error) => self.report_error(error),
        };
        self.end_stage(StageName::Up, started_at.elapsed(), error);
        exit
    }

    async fn smoke(&mut self) -> ExitStatus {
        let started_at = Instant::now();
        let (error, exit) = match self.stages.smoke(&mut StepForwarder(self.observer)).await {
            Ok(runs) => {
                self.report.smoke = runs;
                let counts = self.report.step_counts();
                match counts.all_passed() {
                    true => (None, ExitStatus::Success),
                    false => {
                        let sentence = counts.summary(self.report.smoke.len());
                        (Some(sentence), ExitStatus::Findings)
                    }
                }
            }
            Err(error) => self.report_error(error),
        };
        self.end_stage(StageName::Smoke, started_at.elapsed(), error);
        exit
    }

    async fn bundle(&mut self) {
        match self.stages.bundle().await {
            Ok(path) => {
                self.observer.on_bundle_written(&path);
                self.report.bundle = Some(path);
            }
            Err(error) => self.session.frontend.warn(&error.to_string()),
        }
    }

    async fn down(&mut self) -> ExitStatus {
        let started_at = Instant::now();
        let removed = self.stages.down().await;
        let sentence = removed
            .as_ref()
            .err()
            .map(|error| error.error_chain().join(": "));
        self.end_stage(StageName::Down, started_at.elapsed(), sentence);
        match removed {
            Ok(()) => ExitStatus::Success,
            Err(error) => self.report_error(error).1,
        }
    }

    /// Copies timings, components and bundle of a run to the report.
    fn record_start(&mut self, recording: &RunRecording) -> Result<()> {
        self.report.timings = Timings::from_events(&recording.events);
        self.report.components = node_reports(&recording.events, self.report.timings.as_ref());
        for component in &mut self.report.components {
            component.mask(&self.masker);
        }
        self.report.bundle = recording.bundle_path();
        for component in &self.report.components {
            self.observer.on_event(&CiEvent::Component(component))?;
        }
        Ok(())
    }

    /// Records and reports the end of a stage.
    fn end_stage(&mut self, name: StageName, took: Duration, error: Option<String>) {
        let interrupted = name != StageName::Down && self.is_interrupted();
        let error = error.map(|error| {
            if interrupted {
                "interrupted".to_owned()
            } else {
                self.masker.mask_text(&error)
            }
        });
        let stage = StageReport {
            name,
            ok: error.is_none(),
            took,
            error,
        };
        // The output is closed, but the instance has to be removed all the same.
        if let Err(error) = self.observer.on_event(&CiEvent::Stage(&stage)) {
            self.session.frontend.warn(&error.error_chain().join(": "));
        }
        self.report.stages.push(stage);
    }

    /// Reports an error that ends a stage. Returns its text and its exit status.
    fn report_error(&mut self, error: Error) -> (Option<String>, ExitStatus) {
        let error = self.session.complete_error(error);
        self.observer.on_error(&error);
        (
            Some(error.error_chain().join(": ")),
            error.user_error().exit_status(),
        )
    }

    fn is_interrupted(&self) -> bool {
        self.session.interrupt.is_cancelled()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dm_gateway_client::RequestFailure;
    use dm_smoke::report::StepOutcome;
    use tempfile::TempDir;

    use crate::test_support::{self, ScriptedFrontend};

    use super::super::examples;
    use super::*;

    /// Stages of which one fails or is interrupted.
    struct ScriptedStages<'a> {
        session: &'a Session,
        fails: Option<&'static str>,
        interrupted: Option<&'static str>,
        done: &'a mut Vec<&'static str>,
    }

    impl ScriptedStages<'_> {
        /// Records that a stage was run. Returns whether it fails.
        fn record(&mut self, name: &'static str) -> bool {
            self.done.push(name);
            if self.interrupted == Some(name) {
                self.session.interrupt.cancel();
            }
            self.fails == Some(name)
        }
    }

    impl CiStages for ScriptedStages<'_> {
        async fn up(&mut self) -> Result<(RunOutcome, RunRecording)> {
            let mut recording = RunRecording::default();
            let mut outcome = RunOutcome::default();
            if self.record("up") {
                outcome.failures.push(examples::failure("order"));
                examples::events()
                    .into_iter()
                    .for_each(|event| recording.add(event));
            }
            Ok((outcome, recording))
        }

        async fn smoke(
            &mut self,
            observer: &mut dyn smoke::StepObserver,
        ) -> Result<Vec<Vec<StepResult>>> {
            let outcome = match self.record("smoke") {
                true => StepOutcome::Failed(RequestFailure::new("expected 201")),
                false => StepOutcome::Passed,
            };
            let step = StepResult {
                service: "order",
                name: "an order is placed",
                duration: Duration::ZERO,
                outcome,
            };
            observer.on_run_step(1, &step)?;
            Ok(vec![vec![step]])
        }

        async fn bundle(&mut self) -> Result<PathBuf, BundleError> {
            self.record("bundle");
            Ok("bundle.tar.zst".into())
        }

        async fn down(&mut self) -> Result<()> {
            match self.record("down") {
                true => Err(RunError::TimedOut(vec!["order".to_owned()]).into()),
                false => Ok(()),
            }
        }
    }

    /// Records the kinds of the events.
    #[derive(Default)]
    struct RecordedEvents(Vec<&'static str>);

    impl CiObserver for RecordedEvents {
        fn on_event(&mut self, event: &CiEvent<'_>) -> Result<()> {
            self.0.push(match event {
                CiEvent::Started { .. } => "started",
                CiEvent::Component(_) => "component",
                CiEvent::Step { .. } => "step",
                CiEvent::Stage(stage) => stage.name.as_str(),
                CiEvent::Finished { .. } => "finished",
            });
            Ok(())
        }

        fn on_step(&mut self, _: &StepResult) {}

        fn on_error(&mut self, _: &Error) {
            self.0.push("failed");
        }

        fn on_bundle_written(&mut self, _: &Path) {
            self.0.push("bundled");
        }
    }

    /// Records the suggestions of the errors.
    #[derive(Default)]
    struct RecordedSuggestions(Vec<String>);

    impl CiObserver for RecordedSuggestions {
        fn on_event(&mut self, _: &CiEvent<'_>) -> Result<()> {
            Ok(())
        }

        fn on_step(&mut self, _: &StepResult) {}

        fn on_error(&mut self, error: &Error) {
            self.0.extend(error.suggestions());
        }

        fn on_bundle_written(&mut self, _: &Path) {}
    }

    /// A job with scripted stages.
    struct JobScript {
        fails: Option<&'static str>,
        interrupted: Option<&'static str>,
        keep: bool,
    }

    const PASSING: JobScript = JobScript {
        fails: None,
        interrupted: None,
        keep: false,
    };

    /// Returns the stages that were run, the events, the report and the exit status.
    async fn run_job(
        script: JobScript,
    ) -> (Vec<&'static str>, Vec<&'static str>, CiReport, ExitStatus) {
        run_job_with(&ScriptedFrontend::with_answer(None), script).await
    }

    async fn run_job_with(
        frontend: &Arc<ScriptedFrontend>,
        script: JobScript,
    ) -> (Vec<&'static str>, Vec<&'static str>, CiReport, ExitStatus) {
        let directory = TempDir::new().unwrap();
        let session = test_support::session(Arc::clone(frontend), directory.path());
        let (mut done, mut events) = (Vec::new(), RecordedEvents::default());
        let job = CiJob {
            session: &session,
            stages: ScriptedStages {
                session: &session,
                fails: script.fails,
                interrupted: script.interrupted,
                done: &mut done,
            },
            keep_instance: script.keep,
            masker: Masker::default(),
            observer: &mut events,
            report: CiReport::default(),
        };
        let (report, exit) = job.run(Instant::now()).await;
        (done, events.0, report, exit)
    }

    #[tokio::test]
    async fn passing_job_removes_its_instance() {
        let (done, events, report, exit) = run_job(PASSING).await;
        assert_eq!(done, ["up", "smoke", "down"]);
        assert_eq!(events, ["up", "step", "smoke", "down"]);
        assert!(report.is_success());
        assert_eq!(exit, ExitStatus::Success);
    }

    #[tokio::test]
    async fn job_whose_start_fails_skips_smoke_and_removes_its_instance() {
        let (done, events, report, exit) = run_job(JobScript {
            fails: Some("up"),
            ..PASSING
        })
        .await;
        assert_eq!(done, ["up", "down"]);
        assert_eq!(
            events,
            ["component", "component", "component", "up", "down"]
        );
        assert_eq!(report.stages[0].error.as_deref(), Some("order failed"));
        assert_eq!(exit, ExitStatus::Component);
    }

    #[tokio::test]
    async fn job_whose_smoke_test_fails_writes_a_bundle() {
        let (done, events, report, exit) = run_job(JobScript {
            fails: Some("smoke"),
            ..PASSING
        })
        .await;
        assert_eq!(done, ["up", "smoke", "bundle", "down"]);
        assert_eq!(events, ["up", "step", "smoke", "bundled", "down"]);
        assert_eq!(report.bundle, Some("bundle.tar.zst".into()));
        assert_eq!(exit, ExitStatus::Findings);
    }

    #[tokio::test]
    async fn interrupted_job_removes_its_instance_and_exits_with_interrupted() {
        for stage in ["up", "smoke"] {
            let (done, _, report, exit) = run_job(JobScript {
                fails: Some(stage),
                interrupted: Some(stage),
                keep: false,
            })
            .await;
            assert_eq!(done.last(), Some(&"down"), "{stage}");
            assert!(!done.contains(&"bundle"), "{stage}");
            let mut stages = report.stages.iter();
            let stage_report = stages.find(|report| report.name.as_str() == stage);
            assert_eq!(stage_report.unwrap().error.as_deref(), Some("interrupted"));
            assert_eq!(exit, ExitStatus::Interrupted, "{stage}");
        }
    }

    #[tokio::test]
    async fn job_whose_instance_cannot_be_removed_fails() {
        let (_, events, report, exit) = run_job(JobScript {
            fails: Some("down"),
            ..PASSING
        })
        .await;
        assert_eq!(events, ["up", "step", "smoke", "down", "failed"]);
        assert!(!report.is_success());
        assert_eq!(exit, ExitStatus::TimedOut);
    }

    /// Returns the suggestions after an interrupt of a job on the instance `ci-1`.
    fn suggestions_after_interrupt(keep_instance: bool) -> Vec<String> {
        let directory = TempDir::new().unwrap();
        let frontend = ScriptedFrontend::with_answer(None);
        let session = test_support::session(frontend, directory.path());
        let session = job_session(&session, "ci-1", keep_instance);
        let (mut done, mut suggestions) = (Vec::new(), RecordedSuggestions::default());
        let mut job = CiJob {
            session: &session,
            stages: ScriptedStages {
                session: &session,
                fails: None,
                interrupted: None,
                done: &mut done,
            },
            keep_instance,
            masker: Masker::default(),
            observer: &mut suggestions,
            report: CiReport::default(),
        };
        job.report_error(RunError::Interrupted.into());
        suggestions.0
    }

    #[test]
    fn error_of_a_job_suggests_commands_for_its_instance_only_if_that_is_kept() {
        assert_eq!(
            suggestions_after_interrupt(true),
            [
                "started components keep running; continue: dm --instance ci-1 up",
                "or remove everything: dm --instance ci-1 down"
            ]
        );
        assert_eq!(suggestions_after_interrupt(false), Vec::<String>::new());
    }

    #[test]
    fn existing_instance_is_neither_used_nor_named_in_a_call_without_instance() {
        let exists = InstanceExists {
            name: "review".to_owned(),
        };
        assert_eq!(
            Error::from(exists).for_instance("review").suggestions(),
            [
                "run dm ci without --instance, so that it chooses another name",
                "or remove the instance: dm down --instance review --volumes"
            ]
        );
    }

    #[tokio::test]
    async fn job_with_keep_instance_leaves_the_instance() {
        let frontend = ScriptedFrontend::with_answer(None);
        let script = JobScript {
            keep: true,
            ..PASSING
        };
        let (done, _, report, exit) = run_job_with(&frontend, script).await;
        assert_eq!(done, ["up", "smoke"]);
        let reported = frontend.reports();
        assert!(
            reported[0].starts_with("the instance was kept; "),
            "{reported:?}"
        );
        assert!(report.is_success());
        assert_eq!(exit, ExitStatus::Success);
    }
}
