//! What a bench found: all samples, what they come to, and where the time of starts went.

use std::time::Duration;

use dm_stack::event::RunEvent;
use dm_stack::timings::Timings;
use serde::Serialize;

use super::machine::MachineInfo;
use super::metric::{Metric, MetricUnit, Threshold};
use super::statistics::{MetricSample, SampleSummary};

/// Everything that was measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BenchReport {
    /// The suite, as it is called on the command line.
    pub(crate) suite: &'static str,
    /// The version of `dm`.
    pub(crate) dm: String,
    /// How it was compiled: `debug` or `release`.
    pub(crate) profile: String,
    /// When it began, RFC 3339.
    pub(crate) began: String,
    /// Where.
    pub(crate) machine: MachineInfo,
    /// How many rounds.
    pub(crate) runs: u32,
    /// The figures.
    pub(crate) figures: Vec<MetricResult>,
    /// Where the time of runs of `dm` went, of those that told events: one for each figure.
    pub(crate) breakdowns: Vec<TimeBreakdown>,
}

/// What was measured of one figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct MetricResult {
    /// The figure.
    pub(crate) figure: Metric,
    /// What it is, in a few words.
    pub(crate) description: &'static str,
    /// What its values count.
    pub(crate) unit: MetricUnit,
    /// All samples, in the order in which they were taken.
    pub(crate) samples: Vec<MetricSample>,
    /// What they come to.
    pub(crate) summary: SampleSummary,
    /// What the median should be, where it should be anything.
    pub(crate) target: Option<Threshold>,
    /// Whether it is.
    pub(crate) met: Option<bool>,
}

/// Where the time of a run went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct TimeBreakdown {
    /// The figure that the run is a sample of.
    pub(crate) figure: Metric,
    /// The round of the run.
    pub(crate) round: u32,
    /// From the start of the process to its end.
    #[serde(rename = "process_seconds")]
    pub(crate) process_seconds: f64,
    /// Of that, what is not the run itself: starting the program, reading the
    /// configuration, finding the engine, and showing the stack at the end.
    #[serde(rename = "around_seconds")]
    pub(crate) overhead_seconds: f64,
    /// The chain that the run waited for, and what each node did when.
    #[serde(flatten)]
    pub(crate) timings: Timings,
}

/// The part of the critical chain that takes the most.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bottleneck {
    /// The node.
    pub(crate) node: String,
    /// What it does.
    pub(crate) phase: String,
    /// How long.
    pub(crate) duration: Duration,
}

impl MetricResult {
    /// A figure by its samples; nothing where there are none.
    pub(crate) fn new(figure: Metric, samples: Vec<MetricSample>) -> Option<Self> {
        let summary = SampleSummary::from_values(samples.iter().map(|sample| sample.value))?;
        let target = figure.threshold();
        Some(Self {
            figure,
            description: figure.description(),
            unit: figure.unit(),
            samples,
            summary,
            target,
            met: target.map(|target| target.is_met(summary.median)),
        })
    }

    /// True where it has a target and misses it.
    pub(crate) fn is_missed(&self) -> bool {
        self.met == Some(false)
    }
}

impl TimeBreakdown {
    /// The breakdown of a run from its events.
    pub(crate) fn from_events(
        figure: Metric,
        round: u32,
        process: Duration,
        events: &[RunEvent],
    ) -> Option<Self> {
        let run = events.iter().rev().find_map(|event| match event {
            RunEvent::Finished { at, .. } => Some(*at),
            _ => None,
        })?;
        Some(Self {
            figure,
            round,
            process_seconds: process.as_secs_f64(),
            overhead_seconds: process.saturating_sub(run).as_secs_f64(),
            timings: Timings::from_events(events)?,
        })
    }

    /// What to make faster first.
    pub(crate) fn bottleneck(&self) -> Option<Bottleneck> {
        self.timings
            .critical_chain
            .links
            .iter()
            .flat_map(|link| {
                link.phases.iter().map(|(doing, took)| Bottleneck {
                    node: link.node.clone(),
                    phase: doing.clone(),
                    duration: *took,
                })
            })
            .max_by_key(|bottleneck| bottleneck.duration)
    }
}

impl BenchReport {
    /// Where the time of a figure went, or of the one that it depends on.
    pub(crate) fn breakdown(&self, figure: Metric) -> Option<&TimeBreakdown> {
        self.breakdowns
            .iter()
            .find(|breakdown| breakdown.figure == figure.underlying_time())
    }
}

#[cfg(test)]
mod tests {
    use dm_stack::event::{Node, NodeKind, NodeState};

    use super::*;

    #[test]
    fn the_median_decides() {
        let measured = |values: &[f64]| {
            let samples = (1..).zip(values);
            let samples = samples.map(|(round, &value)| MetricSample { round, value });
            MetricResult::new(Metric::GatewayRate, samples.collect())
        };
        assert_eq!(measured(&[0.5, 0.7, 0.66]).unwrap().met, Some(true));
        assert_eq!(measured(&[0.5, 0.7, 0.55]).unwrap().met, Some(false));
        assert_eq!(measured(&[]), None);
    }

    #[test]
    fn the_longest_phase_of_the_chain_is_the_bottleneck() {
        let at = Duration::from_millis;
        let node = |name: &str, after: &[&str]| Node {
            name: name.into(),
            kind: NodeKind::Service,
            after: after.iter().map(|&name| name.to_owned()).collect(),
        };
        let state = |name: &str, state, moment| RunEvent::Node {
            name: name.into(),
            state,
            at: at(moment),
        };
        let events = [
            RunEvent::Started {
                command: "up".into(),
                instance: "bench".into(),
                nodes: vec![node("postgres", &[]), node("keycloak", &["postgres"])],
            },
            state("postgres", NodeState::Creating, 0),
            state("postgres", NodeState::Ready { kept: false }, 900),
            state("keycloak", NodeState::Creating, 900),
            state("keycloak", NodeState::Starting { probe: None }, 1400),
            state("keycloak", NodeState::Ready { kept: false }, 6400),
            RunEvent::Finished {
                ok: true,
                at: at(6450),
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
