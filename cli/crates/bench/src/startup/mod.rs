//! The suite `up`: how long people wait for a start, and for what they do then, beside the same
//! stack under docker-compose.
//!
//! ```text
//! compose       the same stack under docker-compose
//! composefile   the file that somebody would write for it
//! ```

mod compose;
mod compose_file;

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

use crate::command::{CommandRun, DmCommand};
use crate::error::BenchError;
use crate::metric::Metric;
use crate::rounds::{BenchRound, BenchSuite};
use crate::{BENCH_INSTANCE, BenchContext};
use compose::{ComposeProgram, ComposeProject};

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
enum HealthChecks {
    /// Every 10 s, as is customary.
    Customary,
    /// Every second, in a file that is otherwise the same.
    Tuned,
}

impl HealthChecks {
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
    const fn interval_seconds(self) -> u32 {
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
    const fn metrics(self) -> (Metric, Metric) {
        match self {
            Self::Customary => (Metric::CustomaryTime, Metric::CustomaryMemory),
            Self::Tuned => (Metric::TunedTime, Metric::TunedMemory),
        }
    }
}

/// The ratios: whose case, and the time that is a share of another one in the same round.
const RATIOS: [(UpCase, Metric, Metric, Metric); 4] = [
    (
        UpCase::Golden,
        Metric::GoldenOfCustomary,
        Metric::GoldenTime,
        Metric::CustomaryTime,
    ),
    (
        UpCase::Golden,
        Metric::GoldenOfTuned,
        Metric::GoldenTime,
        Metric::TunedTime,
    ),
    (
        UpCase::First,
        Metric::FirstOfCustomary,
        Metric::FirstTime,
        Metric::CustomaryTime,
    ),
    (
        UpCase::Reset,
        Metric::ResetOfGolden,
        Metric::ResetTime,
        Metric::GoldenTime,
    ),
];

/// docker-compose, where one of the cases is compared with it; installed first where it is
/// missing and there is consent.
pub(crate) async fn find_or_install_compose(
    session: &Session,
    cases: &[UpCase],
    yes: bool,
) -> Result<Option<ComposeProgram>> {
    if !HealthChecks::ALL
        .iter()
        .any(|checks| checks.is_needed(cases))
    {
        return Ok(None);
    }
    if let Some(program) = ComposeProgram::find().await {
        return Ok(Some(program));
    }
    let note = |line: &str| session.frontend.note(line);
    packages::ensure_installed(
        &[Package::COMPOSE],
        &session.consent(yes),
        &session.interrupt,
        &note,
    )
    .await?;
    let program = ComposeProgram::find().await;
    Ok(Some(program.ok_or_else(|| BenchError::Spawn {
        program: Package::COMPOSE.program.to_owned(),
        source: std::io::ErrorKind::NotFound.into(),
    })?))
}

/// The suite.
pub(crate) struct StartupSuite<'a> {
    context: &'a BenchContext,
    cases: Vec<UpCase>,
    dm: DmCommand,
    /// The stack of the instance `bench`, which is never brought up: its images, and what its
    /// containers would be.
    stack: Stack,
    components: Vec<Arc<dyn Component>>,
    compose: Option<ComposeProgram>,
    /// Where the generated files go.
    directory: TempDir,
}

impl<'a> StartupSuite<'a> {
    /// The suite on a bench, with docker-compose where a case is compared with it.
    pub(crate) async fn new(
        bench: &'a BenchContext,
        cases: Vec<UpCase>,
        compose: Option<ComposeProgram>,
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
            .map_err(|source| BenchError::WriteFile {
                path: std::env::temp_dir(),
                source,
            })?;
        Ok(Self {
            dm: bench.dm_command(overrides),
            stack: bench.session.stack_for_inspection(project).await?,
            components: dm_components::infrastructure_components(
                project.config(),
                &project.loaded.root,
            ),
            context: bench,
            cases,
            compose,
            directory: folder,
        })
    }

    /// Removes the generated files, or says where they are.
    pub(crate) fn close(self, keep_files: bool) {
        if keep_files {
            let path = self.directory.keep();
            let note = format!("the compose files are in {}", path.display());
            self.context.session.frontend.note(&note);
        }
    }

    fn has_case(&self, case: UpCase) -> bool {
        self.cases.contains(&case)
    }

    /// True where the time of a golden start is asked for, or something is compared with it.
    fn needs_golden_start(&self) -> bool {
        self.has_case(UpCase::Golden) || self.has_case(UpCase::Reset)
    }

    /// All cases that need a stack share one, which starts fresh in each round.
    async fn measure_on_one_stack(&self, round: &mut BenchRound<'_>) -> Result<()> {
        let others = [UpCase::Noop, UpCase::Status, UpCase::Down];
        if !self.needs_golden_start() && !others.iter().any(|case| self.has_case(*case)) {
            return Ok(());
        }
        let instance = scratch_instance("golden");
        let up = self.run(&instance, UP).await?;
        if self.needs_golden_start() {
            round.record(vec![(Metric::GoldenTime, up.duration.as_secs_f64())]);
            round.record_breakdown(Metric::GoldenTime, &up);
        }
        if self.has_case(UpCase::Golden) {
            let memory = self.memory(&instance).await?;
            round.record(vec![(Metric::GoldenMemory, memory)]);
        }
        for (case, figure, command, repeats) in [
            (UpCase::Noop, Metric::NoopTime, UP, REPEATS),
            (UpCase::Status, Metric::StatusTime, &["status"][..], REPEATS),
            (UpCase::Reset, Metric::ResetTime, &["reset", "--yes"][..], 1),
            (UpCase::Down, Metric::DownTime, DOWN, 1),
        ] {
            if self.has_case(case) {
                let mut times = Vec::new();
                for _ in 0..repeats {
                    let run = self.run(&instance, command).await?;
                    times.push((figure, run.duration.as_secs_f64()));
                    round.record_breakdown(figure, &run);
                }
                round.record(times);
            }
        }
        self.run(&instance, DOWN).await?;
        Ok(())
    }

    async fn measure_first_start(&self, round: &mut BenchRound<'_>) -> Result<()> {
        let instance = scratch_instance("first");
        let up = self.run(&instance, UP_WITHOUT_GOLDEN).await?;
        round.record_breakdown(Metric::FirstTime, &up);
        let memory = self.memory(&instance).await?;
        round.record(vec![
            (Metric::FirstTime, up.duration.as_secs_f64()),
            (Metric::FirstMemory, memory),
        ]);
        self.run(&instance, DOWN).await?;
        Ok(())
    }

    async fn measure_compose(
        &self,
        checks: HealthChecks,
        round: &mut BenchRound<'_>,
    ) -> Result<()> {
        let Some(compose) = self.compose_project(checks) else {
            return Ok(());
        };
        compose.write(self).await?;
        let expected = self.components.len();
        let took = compose
            .up(expected, &self.context.session.interrupt)
            .await?;
        let memory = compose.memory().await?;
        let (time, bytes) = checks.metrics();
        round.record(vec![(time, took.as_secs_f64()), (bytes, memory)]);
        compose.down().await?;
        Ok(())
    }

    async fn measure_help(&self, round: &mut BenchRound<'_>) -> Result<()> {
        let mut times = Vec::new();
        for _ in 0..HELP_REPEATS {
            let run = self.dm.run_help(&self.context.session.interrupt).await?;
            times.push((Metric::HelpTime, run.duration.as_secs_f64()));
        }
        round.record(times);
        Ok(())
    }

    fn compose_project(&self, checks: HealthChecks) -> Option<ComposeProject<'_>> {
        let program = self.compose.as_ref()?;
        Some(ComposeProject::new(self, program, checks))
    }

    async fn run(&self, instance: &str, arguments: &[&str]) -> Result<CommandRun> {
        let interrupt = &self.context.session.interrupt;
        Ok(self
            .dm
            .run_on_instance(instance, arguments, interrupt)
            .await?)
    }

    /// The memory of all containers of an instance, in bytes.
    async fn memory(&self, instance: &str) -> Result<f64> {
        let instance = Instance {
            name: instance.to_owned(),
            ..self.context.project.instance.clone()
        };
        Ok(compose::container_memory(&self.context.engine, &instance.label_filter()).await?)
    }
}

impl BenchSuite for StartupSuite<'_> {
    type Fixture = ();

    fn name(&self) -> &'static str {
        "up"
    }

    fn compose_version(&self) -> Option<String> {
        let program = self.compose.as_ref()?;
        Some(program.version.clone())
    }

    /// Sees to it that all images are there: none of the cases measures a build.
    async fn prepare(&self) -> Result<()> {
        let instance = scratch_instance("first");
        let mut missing = false;
        for component in &self.components {
            let image = self.stack.images.find_local(component.name()).await;
            missing |= image.map_err(BenchError::from)?.is_none();
        }
        let frontend = &self.context.session.frontend;
        if missing {
            frontend.note("obtaining the images (not measured)");
            self.run(&instance, UP_WITHOUT_GOLDEN).await?;
            self.run(&instance, DOWN).await?;
        }
        if self.needs_golden_start() {
            frontend.note("preparing the golden images (not measured)");
            self.run(&instance, &["golden", "make"]).await?;
        }
        Ok(())
    }

    async fn measure(&self, (): &(), round: &mut BenchRound<'_>) -> Result<()> {
        self.measure_on_one_stack(round).await?;
        if self.has_case(UpCase::First) {
            self.measure_first_start(round).await?;
        }
        for checks in HealthChecks::ALL {
            if checks.is_needed(&self.cases) {
                self.measure_compose(checks, round).await?;
            }
        }
        if self.has_case(UpCase::Help) {
            self.measure_help(round).await?;
        }
        for (case, figure, ours, theirs) in RATIOS {
            if self.has_case(case) {
                let ratios = round.ratios(ours, theirs).into_iter();
                round.record(ratios.map(|ratio| (figure, ratio)).collect());
            }
        }
        Ok(())
    }

    async fn remove_stacks(&self) -> Result<()> {
        // Not with the run's token: an interrupted run is cleaned up all the same.
        let always = CancellationToken::new();
        for purpose in ["golden", "first"] {
            self.dm
                .run_on_instance(&scratch_instance(purpose), DOWN, &always)
                .await?;
        }
        for checks in HealthChecks::ALL {
            if let Some(compose) = self.compose_project(checks) {
                compose.down().await?;
            }
        }
        Ok(())
    }
}

/// The name of a scratch instance.
fn scratch_instance(purpose: &str) -> String {
    format!("{BENCH_INSTANCE}-{purpose}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compose_runs_only_where_something_is_compared_with_it() {
        assert!(HealthChecks::Customary.is_needed(&[UpCase::First]));
        assert!(!HealthChecks::Tuned.is_needed(&[UpCase::First]));
        let others = [UpCase::Help, UpCase::Noop, UpCase::Down];
        assert!(!HealthChecks::Customary.is_needed(&others));
    }
}
