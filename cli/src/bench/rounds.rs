//! The rounds: every subject once, one after the other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dm_components::Component;
use dm_core::error::Result;
use dm_core::labels;
use tokio_util::sync::CancellationToken;

use super::compose::{self, Compose};
use super::dm::{self, Dm, Run};
use super::machine::Machine;
use super::report::{Breakdown, CaseResult, Report, RivalResult, Verdict};
use super::statistics::{Sample, Summary};
use super::{Bench, BenchError, Case, INSTANCE, Request, Rival};

/// `dm up`, to the end of its table; the golden images are made beforehand.
const UP: &[&str] = &["up"];
const UP_WITHOUT_GOLDEN: &[&str] = &["up", "--no-golden"];
const DOWN: &[&str] = &["down", "--volumes"];

/// What has been measured so far.
#[derive(Debug, Default)]
struct Measured {
    cases: BTreeMap<Case, Vec<Sample>>,
    breakdowns: BTreeMap<Case, Vec<Breakdown>>,
    memory: BTreeMap<Case, Vec<u64>>,
    rivals: BTreeMap<Rival, Vec<Sample>>,
    rival_memory: BTreeMap<Rival, Vec<u64>>,
}

/// One bench with all that its rounds need.
struct Rounds<'a> {
    bench: &'a Bench,
    components: &'a [Arc<dyn Component>],
    request: &'a Request,
    interrupt: &'a CancellationToken,
    told: &'a (dyn Fn(&str) + Sync),
    dm: Dm,
}

/// Runs all rounds, and removes what they made.
pub(super) async fn run(
    bench: &Bench,
    components: &[Arc<dyn Component>],
    request: &Request,
    interrupt: &CancellationToken,
    told: &(dyn Fn(&str) + Sync),
) -> Result<Report> {
    let mut overrides = bench.overrides.clone();
    // Golden images are made where they are measured, and not behind its back.
    overrides.push("golden.prepare=off".to_owned());
    // A backup in between would be measured, too.
    overrides.push("backup.every=off".to_owned());
    // However slow the machine is, its figures are wanted.
    overrides.push("timeouts.wait=1800s".to_owned());
    // The compose file has the servers alone.
    let services = bench.config.services.all();
    overrides.extend(services.map(|(name, _)| format!("services.{name}.run=false")));
    let rounds = Rounds {
        bench,
        components,
        request,
        interrupt,
        told,
        dm: Dm {
            program: bench.program.clone(),
            root: bench.instance.root.clone(),
            overrides,
        },
    };
    // What a killed bench may have left.
    rounds.tidy().await?;
    let machine = Machine::of(&bench.engine, rounds.compose_version()).await;
    let began = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let measured = rounds.measure().await;
    let tidied = rounds.tidy().await;
    let report = rounds.report(measured?, machine, began);
    tidied?;
    Ok(report)
}

impl Rounds<'_> {
    async fn measure(&self) -> Result<Measured> {
        self.prepare().await?;
        let mut measured = Measured::default();
        for round in 1..=self.request.runs {
            self.stack_cases(round, &mut measured).await?;
            if self.wants(Case::First) {
                self.first_start(round, &mut measured).await?;
            }
            for rival in Rival::ALL {
                if rival.is_needed(&self.request.cases) {
                    self.rival(round, rival, &mut measured).await?;
                }
            }
            if self.wants(Case::Help) {
                for _ in 0..Case::Help.repeats() {
                    let run = self.dm.help(self.interrupt).await?;
                    measured.sample(Case::Help, round, &run);
                }
                self.tell_median(round, Case::Help, &measured);
            }
        }
        Ok(measured)
    }

    /// Sees to it that all images are there: none of the cases measures a build.
    async fn prepare(&self) -> Result<()> {
        let instance = scratch("first");
        let mut missing = false;
        for component in self.components {
            let image = self.bench.images.local(component.name()).await;
            missing |= image.map_err(BenchError::from)?.is_none();
        }
        if missing {
            (self.told)("getting the images, which is not measured");
            self.dm(&instance, UP_WITHOUT_GOLDEN).await?;
            self.dm(&instance, DOWN).await?;
        }
        if self.wants(Case::Golden) || self.wants(Case::Reset) {
            (self.told)("making sure of the golden images, which is not measured");
            self.dm(&instance, &["golden", "make"]).await?;
        }
        Ok(())
    }

    /// All cases that need a stack share one, which starts fresh in each round.
    async fn stack_cases(&self, round: u32, measured: &mut Measured) -> Result<()> {
        if !self.request.cases.iter().any(|case| case.needs_stack()) {
            return Ok(());
        }
        let instance = scratch("golden");
        let up = self.dm(&instance, UP).await?;
        // Others may be held against it.
        measured.sample(Case::Golden, round, &up);
        self.tell(round, Case::Golden.what(), up.took);
        if self.wants(Case::Golden) {
            let memory = self.memory(&instance).await?;
            measured
                .memory
                .entry(Case::Golden)
                .or_default()
                .push(memory);
        }
        for (case, command) in [
            (Case::Noop, UP),
            (Case::Status, &["status"][..]),
            (Case::Reset, &["reset", "--yes"]),
            (Case::Down, DOWN),
        ] {
            if !self.wants(case) {
                continue;
            }
            for _ in 0..case.repeats() {
                let run = self.dm(&instance, command).await?;
                measured.sample(case, round, &run);
            }
            self.tell_median(round, case, measured);
        }
        self.dm(&instance, DOWN).await?;
        Ok(())
    }

    async fn first_start(&self, round: u32, measured: &mut Measured) -> Result<()> {
        let instance = scratch("first");
        let up = self.dm(&instance, UP_WITHOUT_GOLDEN).await?;
        measured.sample(Case::First, round, &up);
        self.tell(round, Case::First.what(), up.took);
        let memory = self.memory(&instance).await?;
        measured.memory.entry(Case::First).or_default().push(memory);
        self.dm(&instance, DOWN).await?;
        Ok(())
    }

    async fn rival(&self, round: u32, rival: Rival, measured: &mut Measured) -> Result<()> {
        let Some(compose) = self.compose(rival) else {
            return Ok(());
        };
        compose.write(self.bench, self.components, rival).await?;
        let took = compose.up(self.components.len(), self.interrupt).await?;
        let seconds = took.as_secs_f64();
        measured
            .rivals
            .entry(rival)
            .or_default()
            .push(Sample { round, seconds });
        self.tell(
            round,
            &format!("docker-compose, {} checks", rival.as_str()),
            took,
        );
        let memory = compose.memory().await?;
        measured.rival_memory.entry(rival).or_default().push(memory);
        compose.down().await?;
        Ok(())
    }

    /// Removes every scratch stack, whether this bench made it or another one left it.
    async fn tidy(&self) -> Result<()> {
        // Not with the run's token: an interrupted run is tidied up all the same.
        let always = CancellationToken::new();
        for name in ["golden", "first"] {
            self.dm.run(&scratch(name), DOWN, &always).await?;
        }
        for rival in Rival::ALL {
            if let Some(compose) = self.compose(rival) {
                compose.down().await?;
            }
        }
        Ok(())
    }

    fn compose(&self, rival: Rival) -> Option<Compose<'_>> {
        let program = self.bench.compose.as_ref()?;
        Some(Compose::new(self.bench, program, rival))
    }

    fn compose_version(&self) -> Option<String> {
        self.bench
            .compose
            .as_ref()
            .map(|program| program.version.clone())
    }

    async fn dm(&self, instance: &str, arguments: &[&str]) -> Result<Run> {
        Ok(self.dm.run(instance, arguments, self.interrupt).await?)
    }

    async fn memory(&self, instance: &str) -> Result<u64> {
        let labels = [
            (labels::PROJECT, self.bench.instance.project.as_str()),
            (labels::INSTANCE, instance),
        ];
        Ok(compose::memory(&self.bench.engine, &labels).await?)
    }

    fn wants(&self, case: Case) -> bool {
        self.request.cases.contains(&case)
    }

    fn tell(&self, round: u32, what: &str, took: Duration) {
        let runs = self.request.runs;
        (self.told)(&format!(
            "round {round}/{runs}: {what}: {:.3} s",
            took.as_secs_f64()
        ));
    }

    fn tell_median(&self, round: u32, case: Case, measured: &Measured) {
        let samples = measured.cases.get(&case).into_iter().flatten();
        let own = samples.filter(|sample| sample.round == round);
        if let Some(summary) = Summary::of(own.map(|sample| sample.seconds)) {
            let took = Duration::from_secs_f64(summary.median);
            self.tell(round, case.what(), took);
        }
    }

    fn report(&self, measured: Measured, machine: Machine, began: String) -> Report {
        let cases = self
            .request
            .cases
            .iter()
            .filter_map(|&case| measured.case(case))
            .collect();
        let rivals = Rival::ALL
            .into_iter()
            .filter_map(|rival| {
                let samples = measured.rivals.get(&rival)?.clone();
                Some(RivalResult {
                    rival,
                    seconds: Summary::of_samples(&samples)?,
                    samples,
                    memory_bytes: measured
                        .rival_memory
                        .get(&rival)
                        .cloned()
                        .unwrap_or_default(),
                })
            })
            .collect();
        Report {
            dm: env!("CARGO_PKG_VERSION").to_owned(),
            profile: super::report::PROFILE,
            began,
            machine,
            runs: self.request.runs,
            cases,
            rivals,
        }
    }
}

impl Measured {
    fn sample(&mut self, case: Case, round: u32, run: &Run) {
        let seconds = run.took.as_secs_f64();
        self.cases
            .entry(case)
            .or_default()
            .push(Sample { round, seconds });
        if let Some(breakdown) = Breakdown::of(round, run.took, &dm::events(run)) {
            self.breakdowns.entry(case).or_default().push(breakdown);
        }
    }

    fn case(&self, case: Case) -> Option<CaseResult> {
        let samples = self.cases.get(&case)?.clone();
        let seconds = Summary::of_samples(&samples)?;
        // Of an even number of runs, the one nearest to the median.
        let distance = |it: &Breakdown| (it.process - seconds.median).abs();
        let breakdown = self
            .breakdowns
            .get(&case)
            .into_iter()
            .flatten()
            .min_by(|a, b| distance(a).total_cmp(&distance(b)))
            .cloned();
        Some(CaseResult {
            case,
            seconds,
            targets: case
                .bounds()
                .iter()
                .filter_map(|&target| Verdict::of(target, &samples, &self.cases, &self.rivals))
                .collect(),
            samples,
            breakdown,
            memory_bytes: self.memory.get(&case).cloned().unwrap_or_default(),
        })
    }
}

/// The name of a scratch instance.
fn scratch(purpose: &str) -> String {
    format!("{INSTANCE}-{purpose}")
}
