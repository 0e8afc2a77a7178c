//! A suite measured in rounds: every subject once, one after the other.

use std::collections::BTreeMap;

use dm_core::error::Result;
use dm_operations::Frontend;

use super::BenchContext;
use super::command::{self, CommandRun};
use super::machine::MachineInfo;
use super::metric::Metric;
use super::report::{BenchReport, MetricResult, TimeBreakdown};
use super::statistics::{MetricSample, SampleSummary};

/// Cases that are measured together.
pub(crate) trait BenchSuite {
    /// What measuring needs, once everything is prepared.
    type Fixture;

    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// The version of docker-compose, where it is compared with that.
    fn compose_version(&self) -> Option<String> {
        None
    }

    /// Does what has to be done once and is not measured.
    async fn prepare(&self) -> Result<Self::Fixture>;

    /// Measures each case, as a round has them.
    async fn measure(&self, prepared: &Self::Fixture, round: &mut BenchRound<'_>) -> Result<()>;

    /// Removes every scratch stack, whether this bench made it or another one left it, and
    /// whether or not it was interrupted.
    async fn remove_stacks(&self) -> Result<()>;
}

/// A round, and what has been measured in it.
pub(crate) struct BenchRound<'a> {
    number: u32,
    runs: u32,
    frontend: &'a dyn Frontend,
    values: Vec<(Metric, f64)>,
    breakdowns: Vec<TimeBreakdown>,
}

/// Measures a suite in `runs` rounds. Whatever happens, its scratch stacks are removed at the
/// end.
pub(crate) async fn run_suite<S: BenchSuite>(
    bench: &BenchContext,
    suite: &S,
    runs: u32,
) -> Result<BenchReport> {
    // What a killed bench may have left.
    suite.remove_stacks().await?;
    let machine = MachineInfo::detect(&bench.engine, suite.compose_version()).await;
    let began = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let measured = measure_rounds(bench, suite, runs).await;
    let removed = suite.remove_stacks().await;
    let measurements = measured?;
    removed?;
    let figures: Vec<MetricResult> = measurements
        .samples
        .into_iter()
        .filter_map(|(figure, samples)| MetricResult::new(figure, samples))
        .collect();
    Ok(BenchReport {
        suite: suite.name(),
        dm: bench.dm.version.clone(),
        profile: bench.dm.profile.clone(),
        began,
        machine,
        runs,
        breakdowns: select_median_breakdowns(&figures, &measurements.breakdowns),
        figures,
    })
}

/// What has been measured in all rounds so far.
#[derive(Debug, Default)]
struct Measurements {
    samples: BTreeMap<Metric, Vec<MetricSample>>,
    breakdowns: Vec<TimeBreakdown>,
}

async fn measure_rounds<S: BenchSuite>(
    bench: &BenchContext,
    suite: &S,
    runs: u32,
) -> Result<Measurements> {
    let prepared = suite.prepare().await?;
    let mut measurements = Measurements::default();
    for number in 1..=runs {
        let mut round = BenchRound::new(number, runs, bench.session.frontend.as_ref());
        suite.measure(&prepared, &mut round).await?;
        for (figure, value) in round.values {
            let samples = measurements.samples.entry(figure).or_default();
            samples.push(MetricSample {
                round: number,
                value,
            });
        }
        measurements.breakdowns.extend(round.breakdowns);
    }
    Ok(measurements)
}

/// Of each figure the breakdown of the run in the middle; of an even number of runs, of the one
/// nearest to the median.
fn select_median_breakdowns(
    figures: &[MetricResult],
    breakdowns: &[TimeBreakdown],
) -> Vec<TimeBreakdown> {
    figures
        .iter()
        .filter_map(|measured| {
            let distance =
                |it: &&TimeBreakdown| (it.process_seconds - measured.summary.median).abs();
            breakdowns
                .iter()
                .filter(|breakdown| breakdown.figure == measured.figure)
                .min_by(|a, b| distance(a).total_cmp(&distance(b)))
                .cloned()
        })
        .collect()
}

impl<'a> BenchRound<'a> {
    fn new(number: u32, runs: u32, frontend: &'a dyn Frontend) -> Self {
        Self {
            number,
            runs,
            frontend,
            values: Vec::new(),
            breakdowns: Vec::new(),
        }
    }

    /// Adds what a case has measured, and reports it: of a figure that was measured several
    /// times, the median.
    pub(crate) fn record(&mut self, values: Vec<(Metric, f64)>) {
        let mut by_figure: BTreeMap<Metric, Vec<f64>> = BTreeMap::new();
        for (figure, value) in &values {
            by_figure.entry(*figure).or_default().push(*value);
        }
        let shown: Vec<String> = by_figure
            .into_iter()
            .filter_map(|(figure, values)| {
                let median = SampleSummary::from_values(values)?.median;
                Some(format!(
                    "{} {}",
                    figure.description(),
                    figure.format_value(median)
                ))
            })
            .collect();
        if !shown.is_empty() {
            let (number, runs) = (self.number, self.runs);
            let shown = shown.join("; ");
            self.frontend
                .note(&format!("round {number}/{runs}: {shown}"));
        }
        self.values.extend(values);
    }

    /// Keeps where the time of a run went, which is a sample of a figure; nothing where the run
    /// told no events.
    pub(crate) fn record_breakdown(&mut self, figure: Metric, run: &CommandRun) {
        let events = command::parse_events(run);
        let breakdown = TimeBreakdown::from_events(figure, self.number, run.duration, &events);
        self.breakdowns.extend(breakdown);
    }

    /// One figure of this round, as shares of another one; nothing where either is missing.
    pub(crate) fn ratios(&self, ours: Metric, theirs: Metric) -> Vec<f64> {
        let of = |wanted: Metric| {
            let values = self.values.iter();
            values.filter_map(move |(figure, value)| (*figure == wanted).then_some(*value))
        };
        match of(theirs).next() {
            Some(theirs) if theirs > 0.0 => of(ours).map(|ours| ours / theirs).collect(),
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dm_operations::RunRecording;
    use dm_stack::event::RunEvent;
    use dm_stack::timings::{CriticalChain, Timings};
    use futures_util::FutureExt as _;
    use futures_util::future::BoxFuture;
    use tokio::sync::mpsc::UnboundedReceiver;

    use super::*;

    /// A frontend that shows nothing.
    struct NoFrontend;

    impl Frontend for NoFrontend {
        fn note(&self, _: &str) {}
        fn warn(&self, _: &str) {}
        fn done(&self, _: &str) {}
        fn can_ask(&self) -> bool {
            false
        }
        fn confirm(&self, _: &str) -> Result<bool> {
            Ok(false)
        }
        fn counter(&self, _: &'static str) -> Box<dyn Fn(u64, u64) + Send + Sync + '_> {
            Box::new(|_, _| {})
        }
        fn follow(
            &self,
            _: UnboundedReceiver<RunEvent>,
            _: Option<Duration>,
        ) -> BoxFuture<'_, RunRecording> {
            async { RunRecording::default() }.boxed()
        }
    }

    #[test]
    fn a_ratio_is_of_two_measurements_in_one_round() {
        let mut round = BenchRound::new(1, 1, &NoFrontend);
        round.record(vec![
            (Metric::GoldenTime, 8.0),
            (Metric::CustomaryTime, 32.0),
        ]);
        let ratios = |ours, theirs| round.ratios(ours, theirs);
        assert_eq!(ratios(Metric::GoldenTime, Metric::CustomaryTime), [0.25]);
        assert!(ratios(Metric::GoldenTime, Metric::TunedTime).is_empty());
        assert!(ratios(Metric::FirstTime, Metric::CustomaryTime).is_empty());
    }

    #[test]
    fn the_run_nearest_to_the_median_is_broken_down() {
        let breakdown = |round, process| TimeBreakdown {
            figure: Metric::NoopTime,
            round,
            process_seconds: process,
            overhead_seconds: 0.0,
            timings: Timings {
                critical_chain: CriticalChain {
                    total: Duration::ZERO,
                    links: Vec::new(),
                },
                spans: Vec::new(),
            },
        };
        let runs = [breakdown(1, 3.0), breakdown(2, 1.0), breakdown(3, 2.2)];
        let samples = runs.iter().map(|run| MetricSample {
            round: run.round,
            value: run.process_seconds,
        });
        let figures = [MetricResult::new(Metric::NoopTime, samples.collect()).unwrap()];
        assert_eq!(
            select_median_breakdowns(&figures, &runs),
            [breakdown(3, 2.2)]
        );
    }
}
