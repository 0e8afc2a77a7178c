//! A job: its parts, and which of them follow when one fails.

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

/// The instance is somebody's.
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
            "dm ci".into(),
            format!("dm down --instance {} --volumes", self.name),
        ]
    }
}

/// What a job is to do.
#[derive(Debug, Clone)]
pub struct CiRequest {
    /// How the stack is proved.
    pub smoke_test: smoke::SmokeTest,
    /// Whether the instance stays in the end.
    pub keep_instance: bool,
    /// Whether what is missing on this machine is installed without asking.
    pub assume_yes: bool,
    /// How long the components may take, and how long to wait for the instance; the
    /// configuration's time, and half an hour, where none is given.
    pub wait_timeout: Option<Duration>,
    /// Where the bundle about a failure goes, if not to the usual place.
    pub bundle_path: Option<PathBuf>,
}

/// What follows a job.
pub trait CiObserver {
    /// Something of the job has begun or ended.
    ///
    /// # Errors
    /// Ends the part that is under way.
    fn on_event(&mut self, line: &CiEvent<'_>) -> Result<()>;

    /// A step of the smoke test has ended, and all is known of it.
    fn on_step(&mut self, step: &StepResult);

    /// An error has ended a part of the job, and not the job.
    fn on_error(&mut self, error: &Error);

    /// A bundle about a failure is written.
    fn on_bundle_written(&mut self, path: &Path);
}

/// A job that has ended.
#[derive(Debug)]
pub struct CiResult {
    /// What came out of it.
    pub report: CiReport,
    /// How the process is to end.
    pub exit: ExitStatus,
    /// How long it took.
    pub took: Duration,
}

/// Does a whole job: the instance is made, brought up, proved, and removed whatever happens.
///
/// # Errors
/// What keeps the job from beginning; what fails afterwards is in the report.
pub async fn run(
    session: &Session,
    project: &Project,
    request: &CiRequest,
    watcher: &mut dyn CiObserver,
) -> Result<CiResult> {
    let began = Instant::now();
    let consent = session.consent(request.assume_yes);
    let engine = session.engine_or_start(project, &consent).await?;
    remove_leftover_instances(session, project, &engine).await?;
    let _guard = session
        .lock_within(project, "dm ci", request.wait_timeout)
        .await?;
    refuse_existing_instance(project, &engine).await?;
    let instance = &project.instance.name;
    watcher.on_event(&CiEvent::Begun { instance })?;
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
        observer: watcher,
        report: CiReport {
            instance: instance.clone(),
            ..CiReport::default()
        },
    };
    let (report, exit) = job.run(began).await;
    Ok(CiResult {
        report,
        exit,
        took: began.elapsed(),
    })
}

/// Removes the instances of jobs that were killed. One whose lock is taken is of a
/// job at work.
async fn remove_leftover_instances(
    session: &Session,
    project: &Project,
    engine: &Engine,
) -> Result<()> {
    for name in leftover_instances::find_leftovers(engine, &project.instance.project).await? {
        let left = session.project_for_instance(&name)?;
        let lock = left.state.instance_lock(&left.instance.project, &name);
        let Some(_guard) = lock.try_lock(&LockHolder::current_process("dm ci"))? else {
            continue;
        };
        session
            .frontend
            .note(&format!("removing {name}, a leftover of a killed job"));
        take_down(session, &left, engine.clone(), true).await?;
    }
    Ok(())
}

/// An instance that was named must not be anybody's: it is removed in the end.
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

/// What a job does to its instance.
trait CiStages {
    /// Brings the stack up.
    async fn up(&mut self) -> Result<(RunOutcome, RunRecording)>;

    /// Proves it.
    async fn smoke(
        &mut self,
        watcher: &mut dyn smoke::StepObserver,
    ) -> Result<Vec<Vec<StepResult>>>;

    /// Writes a bundle while there is something to look at. Answers where it is.
    async fn bundle(&mut self) -> Result<PathBuf, BundleError>;

    /// Removes the instance, also where the job was interrupted.
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
        let brought = StackRun::new("ci", self.project)
            .with_ports(PortUse::Allocate {
                free: true,
                only: &[],
            })
            .with_bundle_path(self.request.bundle_path.clone())
            .with_phase(RunPhase::up(self.project, &[], self.request.wait_timeout))
            .execute(self.session, self.engine.clone(), consent)
            .await?;
        Ok((brought.outcome, brought.recording))
    }

    async fn smoke(
        &mut self,
        watcher: &mut dyn smoke::StepObserver,
    ) -> Result<Vec<Vec<StepResult>>> {
        let proof = &self.request.smoke_test;
        proof
            .run(self.session, self.project, &self.engine, watcher)
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

/// A job under way.
struct CiJob<'a, P> {
    session: &'a Session,
    stages: P,
    keep_instance: bool,
    /// Masks what the files of the job quote.
    masker: Masker,
    observer: &'a mut dyn CiObserver,
    report: CiReport,
}

/// The steps of the smoke test as lines of the job.
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
    /// Does the parts. The instance is removed whatever became of those before. Answers how
    /// the process is to end; what failed is in the report.
    async fn run(mut self, began: Instant) -> (CiReport, ExitStatus) {
        let mut exit = self.up(began).await;
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

    async fn up(&mut self, began: Instant) -> ExitStatus {
        let brought = match self.stages.up().await {
            Ok((outcome, recording)) => self.record_start(&recording).map(|()| outcome),
            Err(error) => Err(error),
        };
        let (error, exit) = match brought {
            Ok(outcome) => match RunError::from_outcome(&outcome) {
                None => (None, ExitStatus::Success),
                Some(error) => (Some(error.to_string()), error.exit_status()),
            },
            Err(error) => self.report_error(&error),
        };
        self.end_stage(StageName::Up, began.elapsed(), error);
        exit
    }

    async fn smoke(&mut self) -> ExitStatus {
        let began = Instant::now();
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
            Err(error) => self.report_error(&error),
        };
        self.end_stage(StageName::Smoke, began.elapsed(), error);
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
        let began = Instant::now();
        let removed = self.stages.down().await;
        let sentence = removed
            .as_ref()
            .err()
            .map(|error| error.error_chain().join(": "));
        self.end_stage(StageName::Down, began.elapsed(), sentence);
        match removed {
            Ok(()) => ExitStatus::Success,
            Err(error) => self.report_error(&error).1,
        }
    }

    /// Takes what a run told into the report.
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

    /// Tells that a part has ended.
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
        // Nobody reads any more: the instance has to go all the same.
        if let Err(error) = self.observer.on_event(&CiEvent::Stage(&stage)) {
            self.session.frontend.warn(&error.error_chain().join(": "));
        }
        self.report.stages.push(stage);
    }

    /// Tells of an error that ends no more than a part of the job.
    fn report_error(&mut self, error: &Error) -> (Option<String>, ExitStatus) {
        self.observer.on_error(error);
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

    /// Parts of which one fails, or is interrupted.
    struct ScriptedStages<'a> {
        session: &'a Session,
        fails: Option<&'static str>,
        interrupted: Option<&'static str>,
        done: &'a mut Vec<&'static str>,
    }

    impl ScriptedStages<'_> {
        /// Notes that a part is done. Answers whether it fails.
        fn part(&mut self, name: &'static str) -> bool {
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
            if self.part("up") {
                outcome.failures.push(examples::failure("order"));
                examples::events()
                    .into_iter()
                    .for_each(|event| recording.add(event));
            }
            Ok((outcome, recording))
        }

        async fn smoke(
            &mut self,
            watcher: &mut dyn smoke::StepObserver,
        ) -> Result<Vec<Vec<StepResult>>> {
            let outcome = match self.part("smoke") {
                true => StepOutcome::Failed(RequestFailure::new("expected 201")),
                false => StepOutcome::Passed,
            };
            let step = StepResult {
                service: "order",
                name: "an order is placed",
                duration: Duration::ZERO,
                outcome,
            };
            watcher.on_run_step(1, &step)?;
            Ok(vec![vec![step]])
        }

        async fn bundle(&mut self) -> Result<PathBuf, BundleError> {
            self.part("bundle");
            Ok("bundle.tar.zst".into())
        }

        async fn down(&mut self) -> Result<()> {
            match self.part("down") {
                true => Err(RunError::TimedOut(vec!["order".to_owned()]).into()),
                false => Ok(()),
            }
        }
    }

    /// Keeps the lines, by the word that they begin with.
    #[derive(Default)]
    struct RecordedEvents(Vec<&'static str>);

    impl CiObserver for RecordedEvents {
        fn on_event(&mut self, line: &CiEvent<'_>) -> Result<()> {
            self.0.push(match line {
                CiEvent::Begun { .. } => "begun",
                CiEvent::Component(_) => "component",
                CiEvent::Step { .. } => "step",
                CiEvent::Stage(stage) => stage.name.as_str(),
                CiEvent::Ended { .. } => "ended",
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

    /// A job whose parts are scripted.
    struct JobScript {
        fails: Option<&'static str>,
        interrupted: Option<&'static str>,
        keep: bool,
    }

    const SCENE: JobScript = JobScript {
        fails: None,
        interrupted: None,
        keep: false,
    };

    /// What became of it: the parts that were done, the lines, the report and the exit.
    async fn played(
        scene: JobScript,
    ) -> (Vec<&'static str>, Vec<&'static str>, CiReport, ExitStatus) {
        played_before(&ScriptedFrontend::with_answer(None), scene).await
    }

    async fn played_before(
        script: &Arc<ScriptedFrontend>,
        scene: JobScript,
    ) -> (Vec<&'static str>, Vec<&'static str>, CiReport, ExitStatus) {
        let folder = TempDir::new().unwrap();
        let session = test_support::session(Arc::clone(script), folder.path());
        let (mut done, mut lines) = (Vec::new(), RecordedEvents::default());
        let job = CiJob {
            session: &session,
            stages: ScriptedStages {
                session: &session,
                fails: scene.fails,
                interrupted: scene.interrupted,
                done: &mut done,
            },
            keep_instance: scene.keep,
            masker: Masker::default(),
            observer: &mut lines,
            report: CiReport::default(),
        };
        let (report, exit) = job.run(Instant::now()).await;
        (done, lines.0, report, exit)
    }

    #[tokio::test]
    async fn a_job_that_passes_removes_its_instance() {
        let (done, lines, report, exit) = played(SCENE).await;
        assert_eq!(done, ["up", "smoke", "down"]);
        assert_eq!(lines, ["up", "step", "smoke", "down"]);
        assert!(report.is_success());
        assert_eq!(exit, ExitStatus::Success);
    }

    #[tokio::test]
    async fn what_is_not_up_is_not_proved_and_is_removed() {
        let (done, lines, report, exit) = played(JobScript {
            fails: Some("up"),
            ..SCENE
        })
        .await;
        assert_eq!(done, ["up", "down"]);
        assert_eq!(lines, ["component", "component", "component", "up", "down"]);
        assert_eq!(report.stages[0].error.as_deref(), Some("order failed"));
        assert_eq!(exit, ExitStatus::Component);
    }

    #[tokio::test]
    async fn a_proof_that_fails_leaves_a_bundle() {
        let (done, lines, report, exit) = played(JobScript {
            fails: Some("smoke"),
            ..SCENE
        })
        .await;
        assert_eq!(done, ["up", "smoke", "bundle", "down"]);
        assert_eq!(lines, ["up", "step", "smoke", "bundled", "down"]);
        assert_eq!(report.bundle, Some("bundle.tar.zst".into()));
        assert_eq!(exit, ExitStatus::Findings);
    }

    #[tokio::test]
    async fn an_interrupt_ends_the_job_once_the_instance_is_removed() {
        for part in ["up", "smoke"] {
            let (done, _, report, exit) = played(JobScript {
                fails: Some(part),
                interrupted: Some(part),
                keep: false,
            })
            .await;
            assert_eq!(done.last(), Some(&"down"), "{part}");
            assert!(!done.contains(&"bundle"), "{part}");
            let of_part = report.stages.iter().find(|it| it.name.as_str() == part);
            assert_eq!(of_part.unwrap().error.as_deref(), Some("interrupted"));
            assert_eq!(exit, ExitStatus::Interrupted, "{part}");
        }
    }

    #[tokio::test]
    async fn what_can_not_be_removed_fails_the_job() {
        let (_, lines, report, exit) = played(JobScript {
            fails: Some("down"),
            ..SCENE
        })
        .await;
        assert_eq!(lines, ["up", "step", "smoke", "down", "failed"]);
        assert!(!report.is_success());
        assert_eq!(exit, ExitStatus::TimedOut);
    }

    #[tokio::test]
    async fn an_instance_stays_where_that_is_asked_for() {
        let script = ScriptedFrontend::with_answer(None);
        let scene = JobScript {
            keep: true,
            ..SCENE
        };
        let (done, _, report, exit) = played_before(&script, scene).await;
        assert_eq!(done, ["up", "smoke"]);
        let reported = script.reports();
        assert!(
            reported[0].starts_with("the instance was kept; "),
            "{reported:?}"
        );
        assert!(report.is_success());
        assert_eq!(exit, ExitStatus::Success);
    }
}
