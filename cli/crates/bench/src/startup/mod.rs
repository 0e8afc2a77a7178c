//! The suite `up`: starts and frequent commands, compared with the same stack under
//! docker-compose.
//!
//! ```text
//! compose       runs the same stack under docker-compose
//! compose_file  generates its compose file
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

/// The arguments of `dm up`. The golden images are prepared beforehand.
const UP: &[&str] = &["up"];
const UP_WITHOUT_GOLDEN: &[&str] = &["up", "--no-golden"];
const DOWN: &[&str] = &["down", "--volumes"];

/// The number of measurements per round of short commands, which vary more.
const REPEATS: usize = 3;
/// The number of measurements per round of `dm --help`, which takes milliseconds.
const HELP_REPEATS: usize = 10;

/// The health checks of docker-compose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HealthChecks {
    /// Every 10 s, as is customary.
    Customary,
    /// Every second, in a file that is otherwise the same.
    Tuned,
}

impl HealthChecks {
    /// Both variants, in the order in which they run.
    const ALL: [Self; 2] = [Self::Customary, Self::Tuned];

    /// Returns the name in compose projects and directories.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Customary => "customary",
            Self::Tuned => "tuned",
        }
    }

    /// Returns the interval in seconds.
    const fn interval_seconds(self) -> u32 {
        match self {
            Self::Customary => 10,
            Self::Tuned => 1,
        }
    }

    /// Returns whether one of the cases is compared with docker-compose and these checks.
    fn is_needed(self, cases: &[UpCase]) -> bool {
        match self {
            Self::Customary => cases.contains(&UpCase::Golden) || cases.contains(&UpCase::First),
            Self::Tuned => cases.contains(&UpCase::Golden),
        }
    }

    /// Returns the metrics of the time until healthy and of the memory.
    const fn metrics(self) -> (Metric, Metric) {
        match self {
            Self::Customary => (Metric::ComposeCustomaryTime, Metric::ComposeCustomaryMemory),
            Self::Tuned => (Metric::ComposeTunedTime, Metric::ComposeTunedMemory),
        }
    }
}

/// The ratios: the case, the metric, and the two times that it compares in the same round.
const RATIOS: [(UpCase, Metric, Metric, Metric); 4] = [
    (
        UpCase::Golden,
        Metric::GoldenToCustomaryRatio,
        Metric::GoldenTime,
        Metric::ComposeCustomaryTime,
    ),
    (
        UpCase::Golden,
        Metric::GoldenToTunedRatio,
        Metric::GoldenTime,
        Metric::ComposeTunedTime,
    ),
    (
        UpCase::First,
        Metric::FirstToCustomaryRatio,
        Metric::FirstTime,
        Metric::ComposeCustomaryTime,
    ),
    (
        UpCase::Reset,
        Metric::ResetToGoldenRatio,
        Metric::ResetTime,
        Metric::GoldenTime,
    ),
];

/// Finds docker-compose if one of the cases is compared with it. With consent, installs it if it is
/// missing.
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

/// The suite `up`.
pub(crate) struct StartupSuite<'a> {
    context: &'a BenchContext,
    cases: Vec<UpCase>,
    dm: DmCommand,
    /// The stack of the instance `bench`, which is never started: its images and its container
    /// specifications.
    stack: Stack,
    components: Vec<Arc<dyn Component>>,
    compose: Option<ComposeProgram>,
    /// The directory of the generated files.
    directory: TempDir,
}

impl<'a> StartupSuite<'a> {
    /// Creates the suite, with docker-compose if a case is compared with it.
    pub(crate) async fn new(
        context: &'a BenchContext,
        cases: Vec<UpCase>,
        compose: Option<ComposeProgram>,
    ) -> Result<Self> {
        let project = &context.project;
        let mut overrides = context.overrides();
        // A slow machine is measured, too.
        overrides.push("timeouts.wait=1800s".to_owned());
        // The compose file contains only the servers.
        let services = project.config().services.all();
        overrides.extend(services.map(|(name, _)| format!("services.{name}.run=false")));
        let directory = tempfile::Builder::new()
            .prefix("dm-bench-")
            .tempdir()
            .map_err(|source| BenchError::WriteFile {
                path: std::env::temp_dir(),
                source,
            })?;
        Ok(Self {
            dm: context.dm_command(overrides),
            stack: context.session.stack_for_inspection(project).await?,
            components: dm_components::infrastructure_components(
                project.config(),
                &project.loaded.root,
            ),
            context,
            cases,
            compose,
            directory,
        })
    }

    /// Removes the generated files, or keeps them and prints their directory.
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

    /// Returns whether a case measures a golden start or is compared with one.
    fn needs_golden_start(&self) -> bool {
        self.has_case(UpCase::Golden) || self.has_case(UpCase::Reset)
    }

    /// Measures all cases that need a running stack on one stack, which is created in each round.
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
        for (case, metric, command, repeats) in [
            (UpCase::Noop, Metric::NoopTime, UP, REPEATS),
            (UpCase::Status, Metric::StatusTime, &["status"][..], REPEATS),
            (UpCase::Reset, Metric::ResetTime, &["reset", "--yes"][..], 1),
            (UpCase::Down, Metric::DownTime, DOWN, 1),
        ] {
            if self.has_case(case) {
                let mut times = Vec::new();
                for _ in 0..repeats {
                    let run = self.run(&instance, command).await?;
                    times.push((metric, run.duration.as_secs_f64()));
                    round.record_breakdown(metric, &run);
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
        let duration = compose
            .up(expected, &self.context.session.interrupt)
            .await?;
        let memory = compose.memory().await?;
        let (time_metric, memory_metric) = checks.metrics();
        round.record(vec![
            (time_metric, duration.as_secs_f64()),
            (memory_metric, memory),
        ]);
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

    /// Returns the memory of all containers of an instance, in bytes.
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

    /// Prepares all images, because no case measures a build.
    async fn prepare(&self) -> Result<()> {
        let instance = scratch_instance("first");
        let mut is_missing = false;
        for component in &self.components {
            let image = self.stack.images.find_local(component.name()).await;
            is_missing |= image.map_err(BenchError::from)?.is_none();
        }
        let frontend = &self.context.session.frontend;
        if is_missing {
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
        for (case, metric, time, baseline) in RATIOS {
            if self.has_case(case) {
                let ratios = round.ratios(time, baseline).into_iter();
                round.record(ratios.map(|ratio| (metric, ratio)).collect());
            }
        }
        Ok(())
    }

    async fn remove_stacks(&self) -> Result<()> {
        // Not the token of the session: an interrupted run is cleaned up, too.
        let no_interrupt = CancellationToken::new();
        for purpose in ["golden", "first"] {
            self.dm
                .run_on_instance(&scratch_instance(purpose), DOWN, &no_interrupt)
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

/// Returns the name of a scratch instance.
fn scratch_instance(purpose: &str) -> String {
    format!("{BENCH_INSTANCE}-{purpose}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_checks_are_needed_only_by_compared_cases() {
        assert!(HealthChecks::Customary.is_needed(&[UpCase::First]));
        assert!(!HealthChecks::Tuned.is_needed(&[UpCase::First]));
        let others = [UpCase::Help, UpCase::Noop, UpCase::Down];
        assert!(!HealthChecks::Customary.is_needed(&others));
    }
}
