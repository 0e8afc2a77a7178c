//! What a bench found: all samples, and what they come to.

use std::collections::BTreeMap;
use std::time::Duration;

use dm_stack::event::Event;
use dm_stack::timings::Timings;
use serde::Serialize;

use super::machine::Machine;
use super::statistics::{Sample, Summary};
use super::{Bound, Case, Rival};

/// How this program was compiled.
pub(super) const PROFILE: &str = if cfg!(debug_assertions) {
    "debug"
} else {
    "release"
};

/// Everything that was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The version of `dm`.
    pub dm: String,
    /// How it was compiled: `debug` or `release`.
    pub profile: &'static str,
    /// When it began, RFC 3339.
    pub began: String,
    /// Where.
    pub machine: Machine,
    /// How many rounds.
    pub runs: u32,
    /// The cases.
    pub cases: Vec<CaseResult>,
    /// The same stack under docker-compose: what the ratios are held against.
    pub rivals: Vec<RivalResult>,
}

/// What was measured of one case.
#[derive(Debug, Clone, Serialize)]
pub struct CaseResult {
    /// The case.
    pub case: Case,
    /// All samples, in the order in which they were taken.
    pub samples: Vec<Sample>,
    /// What they come to.
    pub seconds: Summary,
    /// Each target, and whether it is met.
    pub targets: Vec<Verdict>,
    /// Where the time of the run in the middle went; nothing where a run tells
    /// no events.
    pub breakdown: Option<Breakdown>,
    /// The memory of all containers once they were ready, in bytes, a round each.
    pub memory_bytes: Vec<u64>,
}

/// What was measured of one rival.
#[derive(Debug, Clone, Serialize)]
pub struct RivalResult {
    /// The rival.
    pub rival: Rival,
    /// All samples.
    pub samples: Vec<Sample>,
    /// What they come to.
    pub seconds: Summary,
    /// The memory of all containers once they were healthy, in bytes, a round each.
    pub memory_bytes: Vec<u64>,
}

/// A target and what was measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Verdict {
    /// The target.
    pub target: Bound,
    /// What is held against it: the median of the rounds' ratios, or the median
    /// in seconds.
    pub measured: Summary,
    /// True where the median is within the target.
    pub met: bool,
}

/// Where the time of a run went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Breakdown {
    /// The round of the run.
    pub round: u32,
    /// From the start of the process to its end.
    #[serde(rename = "process_seconds")]
    pub process: f64,
    /// Of that, what is not the run itself: starting the program, reading the
    /// configuration, finding the engine, and showing the stack at the end.
    #[serde(rename = "around_seconds")]
    pub around: f64,
    /// The chain that the run waited for, and what each node did when.
    #[serde(flatten)]
    pub timings: Timings,
}

/// The part of the critical chain that takes the most.
#[derive(Debug, Clone, PartialEq)]
pub struct Bottleneck {
    /// The node.
    pub node: String,
    /// What it does.
    pub doing: String,
    /// How long.
    pub took: Duration,
}

impl Verdict {
    /// Holds samples against a target; nothing where there is nothing to hold.
    #[must_use]
    pub fn of(
        target: Bound,
        samples: &[Sample],
        cases: &BTreeMap<Case, Vec<Sample>>,
        rivals: &BTreeMap<Rival, Vec<Sample>>,
    ) -> Option<Self> {
        let (measured, limit) = match target {
            Bound::Ratio { of, limit } => (Summary::of_ratios(samples, rivals.get(&of)?)?, limit),
            Bound::Share { of, limit } => (Summary::of_ratios(samples, cases.get(&of)?)?, limit),
            Bound::Seconds { limit } => (Summary::of_samples(samples)?, limit),
        };
        Some(Self {
            target,
            measured,
            met: measured.median <= limit,
        })
    }
}

impl Breakdown {
    /// The breakdown of a run from its events.
    #[must_use]
    pub fn of(round: u32, process: Duration, events: &[Event]) -> Option<Self> {
        let run = events.iter().rev().find_map(|event| match event {
            Event::Finished { at, .. } => Some(*at),
            _ => None,
        })?;
        Some(Self {
            round,
            process: process.as_secs_f64(),
            around: process.saturating_sub(run).as_secs_f64(),
            timings: Timings::of(events)?,
        })
    }

    /// What to make faster first.
    #[must_use]
    pub fn bottleneck(&self) -> Option<Bottleneck> {
        self.timings
            .critical_chain
            .links
            .iter()
            .flat_map(|link| {
                link.phases.iter().map(|(doing, took)| Bottleneck {
                    node: link.node.clone(),
                    doing: doing.clone(),
                    took: *took,
                })
            })
            .max_by_key(|bottleneck| bottleneck.took)
    }
}

impl Report {
    /// The result of a case, where it was measured.
    #[must_use]
    pub fn case(&self, case: Case) -> Option<&CaseResult> {
        self.cases.iter().find(|result| result.case == case)
    }

    /// The result of a rival, where it ran.
    #[must_use]
    pub fn rival(&self, rival: Rival) -> Option<&RivalResult> {
        self.rivals.iter().find(|result| result.rival == rival)
    }
}

#[cfg(test)]
mod tests {
    use dm_stack::event::{Node, NodeKind, NodeState};

    use super::*;

    fn samples(seconds: &[f64]) -> Vec<Sample> {
        (1..)
            .zip(seconds)
            .map(|(round, &seconds)| Sample { round, seconds })
            .collect()
    }

    #[test]
    fn a_target_is_met_at_its_limit_and_missed_above() {
        let bound = Bound::Ratio {
            of: Rival::Customary,
            limit: 0.25,
        };
        let rivals = BTreeMap::from([(Rival::Customary, samples(&[40.0, 40.0, 40.0]))]);
        let cases = BTreeMap::from([(Case::Golden, samples(&[8.0, 20.0]))]);
        let met = Verdict::of(bound, &samples(&[10.0, 30.0, 9.0]), &cases, &rivals).unwrap();
        assert!(met.met);
        let missed = Verdict::of(bound, &samples(&[10.1, 30.0, 9.0]), &cases, &rivals).unwrap();
        assert!(!missed.met);
        assert_eq!(
            Verdict::of(bound, &samples(&[1.0]), &cases, &BTreeMap::new()),
            None,
        );
        let share = Bound::Share {
            of: Case::Golden,
            limit: 0.5,
        };
        let halves = Verdict::of(share, &samples(&[4.0, 10.0]), &cases, &rivals).unwrap();
        assert!(halves.met);
        assert_eq!(
            Verdict::of(share, &samples(&[4.0]), &BTreeMap::new(), &rivals),
            None,
            "without a rival there is no ratio"
        );
    }

    #[test]
    fn the_longest_phase_of_the_chain_is_the_bottleneck() {
        let at = Duration::from_millis;
        let node = |name: &str, after: &[&str]| Node {
            name: name.into(),
            kind: NodeKind::Service,
            after: after.iter().map(|&name| name.to_owned()).collect(),
        };
        let state = |name: &str, state, moment| Event::Node {
            name: name.into(),
            state,
            at: at(moment),
        };
        let events = [
            Event::Started {
                command: "up".into(),
                instance: "bench".into(),
                nodes: vec![node("postgres", &[]), node("keycloak", &["postgres"])],
            },
            state("postgres", NodeState::Creating, 0),
            state("postgres", NodeState::Ready { kept: false }, 900),
            state("keycloak", NodeState::Creating, 900),
            state("keycloak", NodeState::Starting { probe: None }, 1400),
            state("keycloak", NodeState::Ready { kept: false }, 6400),
            Event::Finished {
                ok: true,
                at: at(6450),
            },
        ];
        let breakdown = Breakdown::of(1, at(6700), &events).unwrap();
        assert!((breakdown.around - 0.25).abs() < 1e-9);
        let bottleneck = breakdown.bottleneck().unwrap();
        assert_eq!(
            (bottleneck.node.as_str(), bottleneck.doing.as_str()),
            ("keycloak", "starting")
        );
        assert_eq!(bottleneck.took, at(5000));
    }
}
