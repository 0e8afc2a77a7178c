//! The report of a bench: samples, summaries, and breakdowns of the time of starts.

use std::time::Duration;

use dm_stack::event::RunEvent;
use dm_stack::timings::Timings;
use serde::Serialize;

use super::machine::MachineInfo;
use super::metric::{Metric, MetricUnit, Threshold};
use super::statistics::{MetricSample, SampleSummary};

/// The report of a suite.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BenchReport {
    /// The name of the suite on the command line.
    pub(crate) suite: &'static str,
    /// The version of `dm`.
    pub(crate) dm_version: String,
    /// The build profile of `dm`: `debug` or `release`.
    pub(crate) profile: String,
    /// The time of the beginning, in RFC 3339 format.
    pub(crate) began_at: String,
    /// The machine.
    pub(crate) machine: MachineInfo,
    /// The number of rounds.
    pub(crate) rounds: u32,
    /// The results.
    pub(crate) metrics: Vec<MetricResult>,
    /// The breakdown of one run of `dm` for each metric whose runs reported events.
    pub(crate) breakdowns: Vec<TimeBreakdown>,
}

/// The result of one metric.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct MetricResult {
    /// The metric.
    pub(crate) metric: Metric,
    /// The label of the metric.
    pub(crate) description: &'static str,
    /// The unit of the values.
    pub(crate) unit: MetricUnit,
    /// All samples, in the order in which they were taken.
    pub(crate) samples: Vec<MetricSample>,
    /// The summary of the samples.
    pub(crate) summary: SampleSummary,
    /// The threshold for the median, if any.
    pub(crate) target: Option<Threshold>,
    /// Whether the median meets the threshold, if any.
    pub(crate) met: Option<bool>,
}

/// The breakdown of the time of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct TimeBreakdown {
    /// The metric of which the run is a sample.
    pub(crate) metric: Metric,
    /// The round of the run.
    pub(crate) round: u32,
    /// The time from the start of the process to its end.
    pub(crate) process_seconds: f64,
    /// The part of that time outside the run: starting the program, reading the
    /// configuration, finding the engine, and printing the stack at the end.
    pub(crate) overhead_seconds: f64,
    /// The critical path, and the phases of each node.
    #[serde(flatten)]
    pub(crate) timings: Timings,
}

/// The longest phase of the critical path.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bottleneck {
    /// The node.
    pub(crate) node: String,
    /// The phase.
    pub(crate) phase: String,
    /// The duration of the phase.
    pub(crate) duration: Duration,
}

impl MetricResult {
    /// Summarizes the samples of a metric. Returns `None` if there are none.
    pub(crate) fn new(metric: Metric, samples: Vec<MetricSample>) -> Option<Self> {
        let summary = SampleSummary::from_values(samples.iter().map(|sample| sample.value))?;
        let target = metric.threshold();
        Some(Self {
            metric,
            description: metric.description(),
            unit: metric.unit(),
            samples,
            summary,
            target,
            met: target.map(|target| target.is_met(summary.median)),
        })
    }

    /// Returns whether the metric has a target and misses it.
    pub(crate) fn is_missed(&self) -> bool {
        self.met == Some(false)
    }
}

impl TimeBreakdown {
    /// Computes the breakdown of a run from its events.
    pub(crate) fn from_events(
        metric: Metric,
        round: u32,
        process: Duration,
        events: &[RunEvent],
    ) -> Option<Self> {
        let run = events.iter().rev().find_map(|event| match event {
            RunEvent::Finished { elapsed, .. } => Some(*elapsed),
            _ => None,
        })?;
        Some(Self {
            metric,
            round,
            process_seconds: process.as_secs_f64(),
            overhead_seconds: process.saturating_sub(run).as_secs_f64(),
            timings: Timings::from_events(events)?,
        })
    }

    /// Returns the longest phase of the critical path.
    pub(crate) fn bottleneck(&self) -> Option<Bottleneck> {
        self.timings
            .critical_path
            .links
            .iter()
            .flat_map(|link| {
                link.phases.iter().map(|(phase, duration)| Bottleneck {
                    node: link.node.clone(),
                    phase: phase.clone(),
                    duration: *duration,
                })
            })
            .max_by_key(|bottleneck| bottleneck.duration)
    }
}

impl BenchReport {
    /// Returns the breakdown of a metric, or of the time on which it depends.
    pub(crate) fn breakdown(&self, metric: Metric) -> Option<&TimeBreakdown> {
        self.breakdowns
            .iter()
            .find(|breakdown| breakdown.metric == metric.underlying_time())
    }
}

#[cfg(test)]
mod tests {
    use dm_stack::event::{Node, NodeKind, NodeState};

    use super::*;

    #[test]
    fn met_depends_on_the_median() {
        let result = |values: &[f64]| {
            let samples = (1..).zip(values);
            let samples = samples.map(|(round, &value)| MetricSample { round, value });
            MetricResult::new(Metric::GatewayThroughputRatio, samples.collect())
        };
        assert_eq!(result(&[0.5, 0.7, 0.66]).unwrap().met, Some(true));
        assert_eq!(result(&[0.5, 0.7, 0.55]).unwrap().met, Some(false));
        assert_eq!(result(&[]), None);
    }

    #[test]
    fn bottleneck_is_the_longest_phase_of_the_chain() {
        let at = Duration::from_millis;
        let node = |name: &str, after: &[&str]| Node {
            name: name.into(),
            kind: NodeKind::Service,
            after: after.iter().map(|&name| name.to_owned()).collect(),
        };
        let state = |name: &str, state, moment| RunEvent::Node {
            name: name.into(),
            state,
            elapsed: at(moment),
        };
        let events = [
            RunEvent::Started {
                command: "up".into(),
                instance: "bench".into(),
                nodes: vec![node("postgres", &[]), node("keycloak", &["postgres"])],
            },
            state("postgres", NodeState::Creating, 0),
            state("postgres", NodeState::Ready { unchanged: false }, 900),
            state("keycloak", NodeState::Creating, 900),
            state("keycloak", NodeState::Starting { probe: None }, 1400),
            state("keycloak", NodeState::Ready { unchanged: false }, 6400),
            RunEvent::Finished {
                ok: true,
                elapsed: at(6450),
            },
        ];
        let breakdown =
            TimeBreakdown::from_events(Metric::GoldenTime, 1, at(6700), &events).unwrap();
        assert!((breakdown.overhead_seconds - 0.25).abs() < 1e-9);
        let bottleneck = breakdown.bottleneck().unwrap();
        assert_eq!(
            (bottleneck.node.as_str(), bottleneck.phase.as_str()),
            ("keycloak", "starting")
        );
        assert_eq!(bottleneck.duration, at(5000));
    }
}
