//! Measures a suite in rounds. Each round measures every case once, one after the other.

use std::collections::BTreeMap;

use dm_core::error::Result;
use dm_operations::Frontend;

use super::BenchContext;
use super::command::{self, CommandRun};
use super::machine::MachineInfo;
use super::metric::Metric;
use super::report::{BenchReport, MetricResult, TimeBreakdown};
use super::statistics::{MetricSample, SampleSummary};

/// A set of cases that are measured together.
pub(crate) trait BenchSuite {
    /// The prepared environment of the measurements.
    type Fixture;

    /// Returns the name on the command line.
    fn name(&self) -> &'static str;

    /// Returns the version of docker-compose, if the suite compares with it.
    fn compose_version(&self) -> Option<String> {
        None
    }

    /// Prepares the environment once. This is not measured.
    async fn prepare(&self) -> Result<Self::Fixture>;

    /// Measures each case once.
    async fn measure(&self, fixture: &Self::Fixture, round: &mut BenchRound<'_>) -> Result<()>;

    /// Removes every scratch stack, including those of earlier benches, and also after an
    /// interrupt.
    async fn remove_stacks(&self) -> Result<()>;
}

/// A round, with its measurements.
pub(crate) struct BenchRound<'a> {
    number: u32,
    rounds: u32,
    frontend: &'a dyn Frontend,
    values: Vec<(Metric, f64)>,
    breakdowns: Vec<TimeBreakdown>,
}

/// Measures a suite in `rounds` rounds. Its scratch stacks are always removed at the end.
pub(crate) async fn run_suite<S: BenchSuite>(
    context: &BenchContext,
    suite: &S,
    rounds: u32,
) -> Result<BenchReport> {
    // A killed bench may have left stacks.
    suite.remove_stacks().await?;
    let machine = MachineInfo::detect(&context.engine, suite.compose_version()).await;
    let began_at = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let measured = measure_rounds(context, suite, rounds).await;
    let removed = suite.remove_stacks().await;
    let measurements = measured?;
    removed?;
    let metrics: Vec<MetricResult> = measurements
        .samples
        .into_iter()
        .filter_map(|(metric, samples)| MetricResult::new(metric, samples))
        .collect();
    Ok(BenchReport {
        suite: suite.name(),
        dm_version: context.dm.version.clone(),
        profile: context.dm.profile.clone(),
        began_at,
        machine,
        rounds,
        breakdowns: select_median_breakdowns(&metrics, &measurements.breakdowns),
        metrics,
    })
}

/// The measurements of all rounds.
#[derive(Debug, Default)]
struct Measurements {
    samples: BTreeMap<Metric, Vec<MetricSample>>,
    breakdowns: Vec<TimeBreakdown>,
}

async fn measure_rounds<S: BenchSuite>(
    context: &BenchContext,
    suite: &S,
    rounds: u32,
) -> Result<Measurements> {
    let fixture = suite.prepare().await?;
    let mut measurements = Measurements::default();
    for number in 1..=rounds {
        let mut round = BenchRound::new(number, rounds, context.session.frontend.as_ref());
        suite.measure(&fixture, &mut round).await?;
        for (metric, value) in round.values {
            let samples = measurements.samples.entry(metric).or_default();
            samples.push(MetricSample {
                round: number,
                value,
            });
        }
        measurements.breakdowns.extend(round.breakdowns);
    }
    Ok(measurements)
}

/// Selects for each metric the breakdown of the run that is nearest to the median.
fn select_median_breakdowns(
    metrics: &[MetricResult],
    breakdowns: &[TimeBreakdown],
) -> Vec<TimeBreakdown> {
    metrics
        .iter()
        .filter_map(|result| {
            let distance = |breakdown: &&TimeBreakdown| {
                (breakdown.process_seconds - result.summary.median).abs()
            };
            breakdowns
                .iter()
                .filter(|breakdown| breakdown.metric == result.metric)
                .min_by(|a, b| distance(a).total_cmp(&distance(b)))
                .cloned()
        })
        .collect()
}

impl<'a> BenchRound<'a> {
    fn new(number: u32, rounds: u32, frontend: &'a dyn Frontend) -> Self {
        Self {
            number,
            rounds,
            frontend,
            values: Vec::new(),
            breakdowns: Vec::new(),
        }
    }

    /// Adds the values of a case, and reports them. If a metric was measured several times,
    /// reports the median.
    pub(crate) fn record(&mut self, values: Vec<(Metric, f64)>) {
        let mut by_metric: BTreeMap<Metric, Vec<f64>> = BTreeMap::new();
        for (metric, value) in &values {
            by_metric.entry(*metric).or_default().push(*value);
        }
        let values_text: Vec<String> = by_metric
            .into_iter()
            .filter_map(|(metric, values)| {
                let median = SampleSummary::from_values(values)?.median;
                Some(format!(
                    "{} {}",
                    metric.description(),
                    metric.format_value(median)
                ))
            })
            .collect();
        if !values_text.is_empty() {
            let (number, rounds) = (self.number, self.rounds);
            let values_text = values_text.join("; ");
            self.frontend
                .note(&format!("round {number}/{rounds}: {values_text}"));
        }
        self.values.extend(values);
    }

    /// Records the breakdown of a run, which is a sample of a metric, if the run reported events.
    pub(crate) fn record_breakdown(&mut self, metric: Metric, run: &CommandRun) {
        let events = command::parse_events(run);
        let breakdown = TimeBreakdown::from_events(metric, self.number, run.duration, &events);
        self.breakdowns.extend(breakdown);
    }

    /// Returns the ratios of one metric to another one in this round, or none if either is
    /// missing.
    pub(crate) fn ratios(&self, metric: Metric, baseline: Metric) -> Vec<f64> {
        let values_of = |selected: Metric| {
            let values = self.values.iter();
            values.filter_map(move |(metric, value)| (*metric == selected).then_some(*value))
        };
        match values_of(baseline).next() {
            Some(baseline) if baseline > 0.0 => {
                values_of(metric).map(|value| value / baseline).collect()
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dm_operations::RunRecording;
    use dm_stack::event::RunEvent;
    use dm_stack::timings::{CriticalPath, Timings};
    use futures_util::FutureExt as _;
    use futures_util::future::BoxFuture;
    use tokio::sync::mpsc::UnboundedReceiver;

    use super::*;

    /// A frontend that discards all output.
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
    fn ratios_divide_two_metrics_of_one_round() {
        let mut round = BenchRound::new(1, 1, &NoFrontend);
        round.record(vec![
            (Metric::GoldenTime, 8.0),
            (Metric::ComposeCustomaryTime, 32.0),
        ]);
        let ratios = |metric, baseline| round.ratios(metric, baseline);
        assert_eq!(
            ratios(Metric::GoldenTime, Metric::ComposeCustomaryTime),
            [0.25]
        );
        assert!(ratios(Metric::GoldenTime, Metric::ComposeTunedTime).is_empty());
        assert!(ratios(Metric::FirstTime, Metric::ComposeCustomaryTime).is_empty());
    }

    #[test]
    fn select_median_breakdowns_returns_the_run_nearest_to_the_median() {
        let breakdown = |round, process_seconds| TimeBreakdown {
            metric: Metric::NoopTime,
            round,
            process_seconds,
            overhead_seconds: 0.0,
            timings: Timings {
                critical_path: CriticalPath {
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
        let metrics = [MetricResult::new(Metric::NoopTime, samples.collect()).unwrap()];
        assert_eq!(
            select_median_breakdowns(&metrics, &runs),
            [breakdown(3, 2.2)]
        );
    }
}
