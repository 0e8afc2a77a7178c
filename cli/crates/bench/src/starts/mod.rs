//! The suite `up`: how long people wait for a start, and for what they do then, beside the same
//! stack under docker-compose.
//!
//! ```text
//! compose       the same stack under docker-compose
//! composefile   the file that somebody would write for it
//! ```

mod compose;
mod composefile;

use std::sync::Arc;

use dm_bench_request::UpCase;
use dm_components::Component;
use dm_core::error::Result;
use dm_core::instance::Instance;
use dm_host::packages::{self, Package};
use dm_operations::Session;
use dm_stack::Stack;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::error::BenchError;
use crate::figure::Figure;
use crate::program::{Dm, Run};
use crate::rounds::{Round, Suite};
use crate::{Bench, INSTANCE};
use compose::{Compose, Program};

/// `dm up`, to the end of its table; the golden images are made beforehand.
const UP: &[&str] = &["up"];
const UP_WITHOUT_GOLDEN: &[&str] = &["up", "--no-golden"];
const DOWN: &[&str] = &["down", "--volumes"];

/// How often something is measured in a round that is short and so varies more.
const REPEATS: usize = 3;
/// The same for what takes milliseconds.
const HELP_REPEATS: usize = 10;

/// How often docker-compose looks whether a container is healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Checks {
    /// Every 10 s, as is customary.
    Customary,
    /// Every second, in a file that is otherwise the same.
    Tuned,
}

impl Checks {
    /// Both, in the order in which they run.
    const ALL: [Self; 2] = [Self::Customary, Self::Tuned];

    /// The name in projects and folders.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Customary => "customary",
            Self::Tuned => "tuned",
        }
    }

    /// Seconds between two of them.
    const fn interval(self) -> u32 {
        match self {
            Self::Customary => 10,
            Self::Tuned => 1,
        }
    }

    /// Whether one of the cases is compared with docker-compose and these checks.
    fn is_needed(self, cases: &[UpCase]) -> bool {
        match self {
            Self::Customary => cases.contains(&UpCase::Golden) || cases.contains(&UpCase::First),
            Self::Tuned => cases.contains(&UpCase::Golden),
        }
    }

    /// The time until healthy, and the memory then.
    const fn figures(self) -> (Figure, Figure) {
        match self {
            Self::Customary => (Figure::CustomaryTime, Figure::CustomaryMemory),
            Self::Tuned => (Figure::TunedTime, Figure::TunedMemory),
        }
    }
}

/// The ratios: whose case, and the time that is a share of another one in the same round.
const RATIOS: [(UpCase, Figure, Figure, Figure); 4] = [
    (
        UpCase::Golden,
        Figure::GoldenOfCustomary,
        Figure::GoldenTime,
        Figure::CustomaryTime,
    ),
    (
        UpCase::Golden,
        Figure::GoldenOfTuned,
        Figure::GoldenTime,
        Figure::TunedTime,
    ),
    (
        UpCase::First,
        Figure::FirstOfCustomary,
        Figure::FirstTime,
        Figure::CustomaryTime,
    ),
    (
        UpCase::Reset,
        Figure::ResetOfGolden,
        Figure::ResetTime,
        Figure::GoldenTime,
    ),
];

/// docker-compose, where one of the cases is compared with it; installed first where it is
/// missing and there is consent.
pub(crate) async fn docker_compose(
    session: &Session,
    cases: &[UpCase],
    yes: bool,
) -> Result<Option<Program>> {
    if !Checks::ALL.iter().any(|checks| checks.is_needed(cases)) {
        return Ok(None);
    }
    if let Some(program) = Program::find().await {
        return Ok(Some(program));
    }
    let note = |line: &str| session.frontend.note(line);
    packages::ensure(
        &[Package::COMPOSE],
        &session.consent(yes),
        &session.interrupt,
        &note,
    )
    .await?;
    let program = Program::find().await;
    Ok(Some(program.ok_or_else(|| BenchError::Spawn {
        program: Package::COMPOSE.program.to_owned(),
        source: std::io::ErrorKind::NotFound.into(),
    })?))
}

/// The suite.
pub(crate) struct Starts<'a> {
    bench: &'a Bench,
    cases: Vec<UpCase>,
    dm: Dm,
    /// The stack of the instance `bench`, which is never brought up: its images, and what its
    /// containers would be.
    stack: Stack,
    components: Vec<Arc<dyn Component>>,
    compose: Option<Program>,
    /// Where the generated files go.
    folder: TempDir,
}

impl<'a> Starts<'a> {
    /// The suite on a bench, with docker-compose where a case is compared with it.
    pub(crate) async fn new(
        bench: &'a Bench,
        cases: Vec<UpCase>,
        compose: Option<Program>,
    ) -> Result<Self> {
        let project = &bench.project;
        let mut overrides = bench.overrides();
        // However slow the machine is, its figures are wanted.
        overrides.push("timeouts.wait=1800s".to_owned());
        // The compose file has the servers alone.
        let services = project.config().services.all();
        overrides.extend(services.map(|(name, _)| format!("services.{name}.run=false")));
        let folder = tempfile::Builder::new()
            .prefix("dm-bench-")
            .tempdir()
            .map_err(|source| BenchError::Write {
                path: std::env::temp_dir(),
                source,
            })?;
        Ok(Self {
            dm: bench.dm(overrides),
            stack: bench.session.quiet_stack(project).await?,
            components: dm_components::infrastructure(project.config(), &project.loaded.root),
            bench,
            cases,
            compose,
            folder,
        })
    }

    /// Removes the generated files, or says where they are.
    pub(crate) fn close(self, keep_files: bool) {
        if keep_files {
            let path = self.folder.keep();
            let note = format!("the compose files are in {}", path.display());
            self.bench.session.frontend.note(&note);
        }
    }

    fn wants(&self, case: UpCase) -> bool {
        self.cases.contains(&case)
    }

    /// True where the time of a golden start is asked for, or something is compared with it.
    fn wants_golden_start(&self) -> bool {
        self.wants(UpCase::Golden) || self.wants(UpCase::Reset)
    }

    /// All cases that need a stack share one, which starts fresh in each round.
    async fn measure_on_one_stack(&self, round: &mut Round<'_>) -> Result<()> {
        let others = [UpCase::Noop, UpCase::Status, UpCase::Down];
        if !self.wants_golden_start() && !others.iter().any(|case| self.wants(*case)) {
            return Ok(());
        }
        let instance = scratch("golden");
        let up = self.run(&instance, UP).await?;
        if self.wants_golden_start() {
            round.add(vec![(Figure::GoldenTime, up.took.as_secs_f64())]);
            round.add_breakdown(Figure::GoldenTime, &up);
        }
        if self.wants(UpCase::Golden) {
            let memory = self.memory(&instance).await?;
            round.add(vec![(Figure::GoldenMemory, memory)]);
        }
        for (case, figure, command, repeats) in [
            (UpCase::Noop, Figure::NoopTime, UP, REPEATS),
            (UpCase::Status, Figure::StatusTime, &["status"][..], REPEATS),
            (UpCase::Reset, Figure::ResetTime, &["reset", "--yes"][..], 1),
            (UpCase::Down, Figure::DownTime, DOWN, 1),
        ] {
            if self.wants(case) {
                let mut times = Vec::new();
                for _ in 0..repeats {
                    let run = self.run(&instance, command).await?;
                    times.push((figure, run.took.as_secs_f64()));
                    round.add_breakdown(figure, &run);
                }
                round.add(times);
            }
        }
        self.run(&instance, DOWN).await?;
        Ok(())
    }

    async fn measure_first_start(&self, round: &mut Round<'_>) -> Result<()> {
        let instance = scratch("first");
        let up = self.run(&instance, UP_WITHOUT_GOLDEN).await?;
        round.add_breakdown(Figure::FirstTime, &up);
        let memory = self.memory(&instance).await?;
        round.add(vec![
            (Figure::FirstTime, up.took.as_secs_f64()),
            (Figure::FirstMemory, memory),
        ]);
        self.run(&instance, DOWN).await?;
        Ok(())
    }

    async fn measure_compose(&self, checks: Checks, round: &mut Round<'_>) -> Result<()> {
        let Some(compose) = self.compose(checks) else {
            return Ok(());
        };
        compose.write(self).await?;
        let expected = self.components.len();
        let took = compose.up(expected, &self.bench.session.interrupt).await?;
        let memory = compose.memory().await?;
        let (time, bytes) = checks.figures();
        round.add(vec![(time, took.as_secs_f64()), (bytes, memory)]);
        compose.down().await?;
        Ok(())
    }

    async fn measure_help(&self, round: &mut Round<'_>) -> Result<()> {
        let mut times = Vec::new();
        for _ in 0..HELP_REPEATS {
            let run = self.dm.help(&self.bench.session.interrupt).await?;
            times.push((Figure::HelpTime, run.took.as_secs_f64()));
        }
        round.add(times);
        Ok(())
    }

    fn compose(&self, checks: Checks) -> Option<Compose<'_>> {
        let program = self.compose.as_ref()?;
        Some(Compose::new(self, program, checks))
    }

    async fn run(&self, instance: &str, arguments: &[&str]) -> Result<Run> {
        let interrupt = &self.bench.session.interrupt;
        Ok(self.dm.run(instance, arguments, interrupt).await?)
    }

    /// The memory of all containers of an instance, in bytes.
    async fn memory(&self, instance: &str) -> Result<f64> {
        let instance = Instance {
            name: instance.to_owned(),
            ..self.bench.project.instance.clone()
        };
        Ok(compose::memory(&self.bench.engine, &instance.filter()).await?)
    }
}

impl Suite for Starts<'_> {
    type Prepared = ();

    fn name(&self) -> &'static str {
        "up"
    }

    fn compose_version(&self) -> Option<String> {
        let program = self.compose.as_ref()?;
        Some(program.version.clone())
    }

    /// Sees to it that all images are there: none of the cases measures a build.
    async fn prepare(&self) -> Result<()> {
        let instance = scratch("first");
        let mut missing = false;
        for component in &self.components {
            let image = self.stack.images.local(component.name()).await;
            missing |= image.map_err(BenchError::from)?.is_none();
        }
        let frontend = &self.bench.session.frontend;
        if missing {
            frontend.note("obtaining the images (not measured)");
            self.run(&instance, UP_WITHOUT_GOLDEN).await?;
            self.run(&instance, DOWN).await?;
        }
        if self.wants_golden_start() {
            frontend.note("preparing the golden images (not measured)");
            self.run(&instance, &["golden", "make"]).await?;
        }
        Ok(())
    }

    async fn measure(&self, (): &(), round: &mut Round<'_>) -> Result<()> {
        self.measure_on_one_stack(round).await?;
        if self.wants(UpCase::First) {
            self.measure_first_start(round).await?;
        }
        for checks in Checks::ALL {
            if checks.is_needed(&self.cases) {
                self.measure_compose(checks, round).await?;
            }
        }
        if self.wants(UpCase::Help) {
            self.measure_help(round).await?;
        }
        for (case, figure, ours, theirs) in RATIOS {
            if self.wants(case) {
                let ratios = round.ratios(ours, theirs).into_iter();
                round.add(ratios.map(|ratio| (figure, ratio)).collect());
            }
        }
        Ok(())
    }

    async fn remove_stacks(&self) -> Result<()> {
        // Not with the run's token: an interrupted run is cleaned up all the same.
        let always = CancellationToken::new();
        for purpose in ["golden", "first"] {
            self.dm.run(&scratch(purpose), DOWN, &always).await?;
        }
        for checks in Checks::ALL {
            if let Some(compose) = self.compose(checks) {
                compose.down().await?;
            }
        }
        Ok(())
    }
}

/// The name of a scratch instance.
fn scratch(purpose: &str) -> String {
    format!("{INSTANCE}-{purpose}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compose_runs_only_where_something_is_compared_with_it() {
        assert!(Checks::Customary.is_needed(&[UpCase::First]));
        assert!(!Checks::Tuned.is_needed(&[UpCase::First]));
        let others = [UpCase::Help, UpCase::Noop, UpCase::Down];
        assert!(!Checks::Customary.is_needed(&others));
    }
}
