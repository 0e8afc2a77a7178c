//! A job: its parts, and which of them follow when one fails.

use std::path::{Path, PathBuf};
use std::time::Duration;

use dm_core::error::{Coded, Error, Exit, Result};
use dm_core::error_code::ErrorCode;
use dm_core::mask::Masker;
use dm_doctor::bundle::BundleError;
use dm_engine::Engine;
use dm_host::lock::Holder;
use dm_smoke::report::Step;
use dm_stack::executor::Outcome;
use dm_stack::timings::Timings;
use thiserror::Error;
use tokio::time::Instant;

use super::leftovers;
use super::line::Line;
use super::report::{Report, Stage, StageName, components};
use crate::down::take_down;
use crate::recording::Recording;
use crate::run::{Phase, Run, RunError};
use crate::session::{PortUse, Project, Session};
use crate::{doctor, smoke};

/// The instance is somebody's.
#[derive(Debug, Error)]
#[error(
    "could not start the CI job: instance `{name}` exists already, and the job would remove it"
)]
struct InstanceExists {
    name: String,
}

impl Coded for InstanceExists {
    fn code(&self) -> ErrorCode {
        ErrorCode::InstanceExists
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

/// What a job is to do.
#[derive(Debug, Clone)]
pub struct Request {
    /// How the stack is proved.
    pub proof: smoke::Proof,
    /// Whether the instance stays in the end.
    pub keep: bool,
    /// Whether what is missing on this machine is installed without asking.
    pub yes: bool,
    /// How long the components may take, and how long to wait for the instance; the
    /// configuration's time, and half an hour, where none is given.
    pub wait: Option<Duration>,
    /// Where the bundle about a failure goes, if not to the usual place.
    pub bundle: Option<PathBuf>,
}

/// What follows a job.
pub trait Watcher {
    /// Something of the job has begun or ended.
    ///
    /// # Errors
    /// Ends the part that is under way.
    fn line(&mut self, line: &Line<'_>) -> Result<()>;

    /// A step of the smoke test has ended, and all is known of it.
    fn step(&mut self, step: &Step);

    /// An error has ended a part of the job, and not the job.
    fn failed(&mut self, error: &Error);

    /// A bundle about a failure is written.
    fn bundled(&mut self, path: &Path);
}

/// A job that has ended.
#[derive(Debug)]
pub struct Ended {
    /// What came out of it.
    pub report: Report,
    /// How the process is to end.
    pub exit: Exit,
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
    request: &Request,
    watcher: &mut dyn Watcher,
) -> Result<Ended> {
    let began = Instant::now();
    let consent = session.consent(request.yes);
    let engine = session.engine_or_start(project, &consent).await?;
    sweep(session, project, &engine).await?;
    let _guard = session.lock_within(project, "dm ci", request.wait).await?;
    refuse_existing(project, &engine).await?;
    let instance = &project.instance.name;
    watcher.line(&Line::Begun { instance })?;
    let job = Job {
        session,
        parts: OnEngine {
            session,
            project,
            engine,
            request,
        },
        keep: request.keep,
        masker: doctor::masker(Some(&project.loaded)),
        watcher,
        report: Report {
            instance: instance.clone(),
            ..Report::default()
        },
    };
    let (report, exit) = job.run(began).await;
    Ok(Ended {
        report,
        exit,
        took: began.elapsed(),
    })
}

/// Removes the instances of jobs that were killed. One whose lock is taken is of a
/// job at work.
async fn sweep(session: &Session, project: &Project, engine: &Engine) -> Result<()> {
    for name in leftovers::find(engine, &project.instance.project).await? {
        let left = session.project_of(&name)?;
        let lock = left.state.instance_lock(&left.instance.project, &name);
        let Some(_guard) = lock.try_lock(&Holder::this_process("dm ci"))? else {
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

/// What a job does to its instance.
trait Parts {
    /// Brings the stack up.
    async fn up(&mut self) -> Result<(Outcome, Recording)>;

    /// Proves it.
    async fn smoke(&mut self, watcher: &mut dyn smoke::Watcher) -> Result<Vec<Vec<Step>>>;

    /// Writes a bundle while there is something to look at. Answers where it is.
    async fn bundle(&mut self) -> Result<PathBuf, BundleError>;

    /// Removes the instance, also where the job was interrupted.
    async fn down(&mut self) -> Result<()>;
}

/// The parts as an engine does them.
struct OnEngine<'a> {
    session: &'a Session,
    project: &'a Project,
    engine: Engine,
    request: &'a Request,
}

impl Parts for OnEngine<'_> {
    async fn up(&mut self) -> Result<(Outcome, Recording)> {
        let consent = self.session.consent(self.request.yes);
        let brought = Run::new("ci", self.project)
            .ports(PortUse::Allocate {
                free: true,
                only: &[],
            })
            .bundle(self.request.bundle.clone())
            .phase(Phase::up(self.project, &[], self.request.wait))
            .execute(self.session, self.engine.clone(), consent)
            .await?;
        Ok((brought.outcome, brought.recording))
    }

    async fn smoke(&mut self, watcher: &mut dyn smoke::Watcher) -> Result<Vec<Vec<Step>>> {
        let proof = &self.request.proof;
        proof
            .run(self.session, self.project, &self.engine, watcher)
            .await
    }

    async fn bundle(&mut self) -> Result<PathBuf, BundleError> {
        let path = self.request.bundle.clone();
        let path = path.unwrap_or_else(|| doctor::failure_bundle(self.project));
        doctor::bundle_failure(self.project, &path).await?;
        Ok(path)
    }

    async fn down(&mut self) -> Result<()> {
        let session = self.session.undisturbed();
        take_down(&session, self.project, self.engine.clone(), true)
            .await
            .map(drop)
    }
}

/// A job under way.
struct Job<'a, P> {
    session: &'a Session,
    parts: P,
    keep: bool,
    /// Masks what the files of the job quote.
    masker: Masker,
    watcher: &'a mut dyn Watcher,
    report: Report,
}

/// The steps of the smoke test as lines of the job.
struct Steps<'a>(&'a mut dyn Watcher);

impl smoke::Watcher for Steps<'_> {
    fn step(&mut self, step: &Step) {
        self.0.step(step);
    }

    fn ended(&mut self, run: usize, step: &Step) -> Result<()> {
        self.0.line(&Line::Step { run, step })
    }
}

impl<P: Parts> Job<'_, P> {
    /// Does the parts. The instance is removed whatever became of those before. Answers how
    /// the process is to end; what failed is in the report.
    async fn run(mut self, began: Instant) -> (Report, Exit) {
        let mut exit = self.up(began).await;
        if exit == Exit::Success {
            exit = self.smoke().await;
            if exit == Exit::Found && !self.is_interrupted() {
                self.bundle().await;
            }
        }
        self.report.interrupted = self.is_interrupted();
        if self.report.interrupted {
            exit = Exit::Interrupted;
        }
        if self.keep {
            let name = &self.report.instance;
            self.session.frontend.note(&format!(
                "the instance was kept; remove it: dm down --instance {name} --volumes"
            ));
        } else {
            let removed = self.down().await;
            if exit == Exit::Success {
                exit = removed;
            }
        }
        (self.report, exit)
    }

    async fn up(&mut self, began: Instant) -> Exit {
        let brought = match self.parts.up().await {
            Ok((outcome, recording)) => self.take(&recording).map(|()| outcome),
            Err(error) => Err(error),
        };
        let (error, exit) = match brought {
            Ok(outcome) => match RunError::of(&outcome) {
                None => (None, Exit::Success),
                Some(error) => (Some(error.to_string()), error.exit()),
            },
            Err(error) => self.failed(&error),
        };
        self.ended(StageName::Up, began.elapsed(), error);
        exit
    }

    async fn smoke(&mut self) -> Exit {
        let began = Instant::now();
        let (error, exit) = match self.parts.smoke(&mut Steps(self.watcher)).await {
            Ok(runs) => {
                self.report.smoke = runs;
                let counts = self.report.steps();
                match counts.ok() {
                    true => (None, Exit::Success),
                    false => {
                        let sentence = counts.summary(self.report.smoke.len());
                        (Some(sentence), Exit::Found)
                    }
                }
            }
            Err(error) => self.failed(&error),
        };
        self.ended(StageName::Smoke, began.elapsed(), error);
        exit
    }

    async fn bundle(&mut self) {
        match self.parts.bundle().await {
            Ok(path) => {
                self.watcher.bundled(&path);
                self.report.bundle = Some(path);
            }
            Err(error) => self.session.frontend.warn(&error.to_string()),
        }
    }

    async fn down(&mut self) -> Exit {
        let began = Instant::now();
        let removed = self.parts.down().await;
        let sentence = removed.as_ref().err().map(|error| error.chain().join(": "));
        self.ended(StageName::Down, began.elapsed(), sentence);
        match removed {
            Ok(()) => Exit::Success,
            Err(error) => self.failed(&error).1,
        }
    }

    /// Takes what a run told into the report.
    fn take(&mut self, recording: &Recording) -> Result<()> {
        self.report.timings = Timings::of(&recording.events);
        self.report.components = components(&recording.events, self.report.timings.as_ref());
        for component in &mut self.report.components {
            component.mask(&self.masker);
        }
        self.report.bundle = recording.bundle();
        for component in &self.report.components {
            self.watcher.line(&Line::Component(component))?;
        }
        Ok(())
    }

    /// Tells that a part has ended.
    fn ended(&mut self, name: StageName, took: Duration, error: Option<String>) {
        let interrupted = name != StageName::Down && self.is_interrupted();
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
        if let Err(error) = self.watcher.line(&Line::Stage(&stage)) {
            self.session.frontend.warn(&error.chain().join(": "));
        }
        self.report.stages.push(stage);
    }

    /// Tells of an error that ends no more than a part of the job.
    fn failed(&mut self, error: &Error) -> (Option<String>, Exit) {
        self.watcher.failed(error);
        (Some(error.chain().join(": ")), error.coded().exit())
    }

    fn is_interrupted(&self) -> bool {
        self.session.interrupt.is_cancelled()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dm_gateway_client::Fault;
    use dm_smoke::report::Outcome as StepOutcome;
    use tempfile::TempDir;

    use crate::testing::{self, Script};

    use super::super::examples;
    use super::*;

    /// Parts of which one fails, or is interrupted.
    struct Scripted<'a> {
        session: &'a Session,
        fails: Option<&'static str>,
        interrupted: Option<&'static str>,
        done: &'a mut Vec<&'static str>,
    }

    impl Scripted<'_> {
        /// Notes that a part is done. Answers whether it fails.
        fn part(&mut self, name: &'static str) -> bool {
            self.done.push(name);
            if self.interrupted == Some(name) {
                self.session.interrupt.cancel();
            }
            self.fails == Some(name)
        }
    }

    impl Parts for Scripted<'_> {
        async fn up(&mut self) -> Result<(Outcome, Recording)> {
            let mut recording = Recording::default();
            let mut outcome = Outcome::default();
            if self.part("up") {
                outcome.failures.push(examples::failure("order"));
                examples::events()
                    .into_iter()
                    .for_each(|event| recording.add(event));
            }
            Ok((outcome, recording))
        }

        async fn smoke(&mut self, watcher: &mut dyn smoke::Watcher) -> Result<Vec<Vec<Step>>> {
            let outcome = match self.part("smoke") {
                true => StepOutcome::Failed(Fault::new("expected 201")),
                false => StepOutcome::Passed,
            };
            let step = Step {
                service: "order",
                name: "an order is placed",
                took: Duration::ZERO,
                outcome,
            };
            watcher.ended(1, &step)?;
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
    struct Lines(Vec<&'static str>);

    impl Watcher for Lines {
        fn line(&mut self, line: &Line<'_>) -> Result<()> {
            self.0.push(match line {
                Line::Begun { .. } => "begun",
                Line::Component(_) => "component",
                Line::Step { .. } => "step",
                Line::Stage(stage) => stage.name.as_str(),
                Line::Ended { .. } => "ended",
            });
            Ok(())
        }

        fn step(&mut self, _: &Step) {}

        fn failed(&mut self, _: &Error) {
            self.0.push("failed");
        }

        fn bundled(&mut self, _: &Path) {
            self.0.push("bundled");
        }
    }

    /// A job whose parts are scripted.
    struct Scene {
        fails: Option<&'static str>,
        interrupted: Option<&'static str>,
        keep: bool,
    }

    const SCENE: Scene = Scene {
        fails: None,
        interrupted: None,
        keep: false,
    };

    /// What became of it: the parts that were done, the lines, the report and the exit.
    async fn played(scene: Scene) -> (Vec<&'static str>, Vec<&'static str>, Report, Exit) {
        played_before(&Script::answering(None), scene).await
    }

    async fn played_before(
        script: &Arc<Script>,
        scene: Scene,
    ) -> (Vec<&'static str>, Vec<&'static str>, Report, Exit) {
        let folder = TempDir::new().unwrap();
        let session = testing::session(Arc::clone(script), folder.path());
        let (mut done, mut lines) = (Vec::new(), Lines::default());
        let job = Job {
            session: &session,
            parts: Scripted {
                session: &session,
                fails: scene.fails,
                interrupted: scene.interrupted,
                done: &mut done,
            },
            keep: scene.keep,
            masker: Masker::default(),
            watcher: &mut lines,
            report: Report::default(),
        };
        let (report, exit) = job.run(Instant::now()).await;
        (done, lines.0, report, exit)
    }

    #[tokio::test]
    async fn a_job_that_passes_removes_its_instance() {
        let (done, lines, report, exit) = played(SCENE).await;
        assert_eq!(done, ["up", "smoke", "down"]);
        assert_eq!(lines, ["up", "step", "smoke", "down"]);
        assert!(report.ok());
        assert_eq!(exit, Exit::Success);
    }

    #[tokio::test]
    async fn what_is_not_up_is_not_proved_and_is_removed() {
        let (done, lines, report, exit) = played(Scene {
            fails: Some("up"),
            ..SCENE
        })
        .await;
        assert_eq!(done, ["up", "down"]);
        assert_eq!(lines, ["component", "component", "component", "up", "down"]);
        assert_eq!(report.stages[0].error.as_deref(), Some("order failed"));
        assert_eq!(exit, Exit::Component);
    }

    #[tokio::test]
    async fn a_proof_that_fails_leaves_a_bundle() {
        let (done, lines, report, exit) = played(Scene {
            fails: Some("smoke"),
            ..SCENE
        })
        .await;
        assert_eq!(done, ["up", "smoke", "bundle", "down"]);
        assert_eq!(lines, ["up", "step", "smoke", "bundled", "down"]);
        assert_eq!(report.bundle, Some("bundle.tar.zst".into()));
        assert_eq!(exit, Exit::Found);
    }

    #[tokio::test]
    async fn an_interrupt_ends_the_job_once_the_instance_is_removed() {
        for part in ["up", "smoke"] {
            let (done, _, report, exit) = played(Scene {
                fails: Some(part),
                interrupted: Some(part),
                keep: false,
            })
            .await;
            assert_eq!(done.last(), Some(&"down"), "{part}");
            assert!(!done.contains(&"bundle"), "{part}");
            let of_part = report.stages.iter().find(|it| it.name.as_str() == part);
            assert_eq!(of_part.unwrap().error.as_deref(), Some("interrupted"));
            assert_eq!(exit, Exit::Interrupted, "{part}");
        }
    }

    #[tokio::test]
    async fn what_can_not_be_removed_fails_the_job() {
        let (_, lines, report, exit) = played(Scene {
            fails: Some("down"),
            ..SCENE
        })
        .await;
        assert_eq!(lines, ["up", "step", "smoke", "down", "failed"]);
        assert!(!report.ok());
        assert_eq!(exit, Exit::TimedOut);
    }

    #[tokio::test]
    async fn an_instance_stays_where_that_is_asked_for() {
        let script = Script::answering(None);
        let scene = Scene {
            keep: true,
            ..SCENE
        };
        let (done, _, report, exit) = played_before(&script, scene).await;
        assert_eq!(done, ["up", "smoke"]);
        let reported = script.reported();
        assert!(
            reported[0].starts_with("the instance was kept; "),
            "{reported:?}"
        );
        assert!(report.ok());
        assert_eq!(exit, Exit::Success);
    }
}
