//! The timings of a run: the phases of each node, and the chain of nodes that
//! determined the duration.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::event::{Node, NodeState, RunEvent};

/// The timings of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Timings {
    /// The chain of nodes that determined the duration.
    pub critical_path: CriticalPath,
    /// All nodes that ended, in the order in which they started.
    pub spans: Vec<NodeSpan>,
}

/// The nodes that determined the duration of the run: each could not start before
/// the next one was ready. To make the run faster, make one of them faster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CriticalPath {
    /// The duration of the chain: the sum of its links.
    #[serde(rename = "total_seconds", serialize_with = "as_seconds")]
    pub total: Duration,
    /// The links, the last node to end first. A link starts when the next
    /// one in the list ends; the last in the list starts at 0.
    pub links: Vec<ChainLink>,
}

/// One node of the critical path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChainLink {
    /// The node.
    pub node: String,
    /// The dependency that became ready last: the next link.
    pub waited_for: Option<String>,
    /// When it could start, since the start of the run.
    #[serde(rename = "started_seconds", serialize_with = "as_seconds")]
    pub started: Duration,
    /// When it ended, since the start of the run.
    #[serde(rename = "ready_seconds", serialize_with = "as_seconds")]
    pub ready: Duration,
    /// Its phases with their durations; the sum is `ready - started`.
    #[serde(serialize_with = "phases_as_seconds")]
    pub phases: Vec<(String, Duration)>,
}

/// The timings of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeSpan {
    /// The node.
    pub node: String,
    /// When its first work started, since the start of the run.
    #[serde(rename = "started_seconds", serialize_with = "as_seconds")]
    pub started: Duration,
    /// When it ended, since the start of the run.
    #[serde(rename = "ended_seconds", serialize_with = "as_seconds")]
    pub ended: Duration,
    /// Its phases with their durations; the sum is `ended - started`.
    #[serde(serialize_with = "phases_as_seconds")]
    pub phases: Vec<(String, Duration)>,
}

fn seconds_rounded_to_millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

fn as_seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(seconds_rounded_to_millis(*duration))
}

fn phases_as_seconds<S: Serializer>(
    phases: &[(String, Duration)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Phase<'a> {
        phase: &'a str,
        seconds: f64,
    }
    serializer.collect_seq(phases.iter().map(|(phase, duration)| Phase {
        phase,
        seconds: seconds_rounded_to_millis(*duration),
    }))
}

/// The history of one node.
#[derive(Debug, Default)]
struct NodeHistory {
    dependencies: Vec<String>,
    /// Its phases with their start times; none while it waited.
    transitions: Vec<(Option<String>, Duration)>,
    ended: Option<Duration>,
}

impl Timings {
    /// Computes the timings from the events of a run; `None` if no node ended.
    #[must_use]
    pub fn from_events(events: &[RunEvent]) -> Option<Self> {
        let nodes = collect_histories(events);
        let critical_path = critical_path(&nodes)?;
        let mut spans: Vec<NodeSpan> = nodes
            .iter()
            .filter_map(|(node, history)| node_span(node, history))
            .collect();
        spans.sort_by(|a, b| (a.started, a.ended, &a.node).cmp(&(b.started, b.ended, &b.node)));
        Some(Self {
            critical_path,
            spans,
        })
    }
}

fn collect_histories(events: &[RunEvent]) -> HashMap<String, NodeHistory> {
    let mut nodes: HashMap<String, NodeHistory> = HashMap::new();
    for event in events {
        match event {
            RunEvent::Started { nodes: started, .. } => {
                for Node { name, after, .. } in started {
                    nodes
                        .entry(name.clone())
                        .or_default()
                        .dependencies
                        .clone_from(after);
                }
            }
            RunEvent::Node {
                name,
                state,
                elapsed,
            } => {
                let node = nodes.entry(name.clone()).or_default();
                if node.ended.is_some() {
                    continue;
                }
                // Two threads may report in another order than they measured.
                let last = node
                    .transitions
                    .last()
                    .map_or(Duration::ZERO, |(_, start)| *start);
                let elapsed = (*elapsed).max(last);
                match state {
                    NodeState::Ready { .. } | NodeState::Removed | NodeState::Failed => {
                        node.ended = Some(elapsed);
                    }
                    // It never started: it did not affect the duration.
                    NodeState::Blocked { .. } => {}
                    _ => node.transitions.push((phase_name(state), elapsed)),
                }
            }
            _ => {}
        }
    }
    nodes
}

fn phase_name(state: &NodeState) -> Option<String> {
    match state {
        NodeState::Working { activity, .. } => Some(activity.clone()),
        NodeState::Creating => Some("creating".into()),
        NodeState::Starting { .. } => Some("starting".into()),
        NodeState::Stopping => Some("stopping".into()),
        _ => None,
    }
}

fn critical_path(nodes: &HashMap<String, NodeHistory>) -> Option<CriticalPath> {
    let ended = |name: &str| nodes.get(name).and_then(|node| node.ended);
    let (mut name, total) = nodes
        .iter()
        .filter_map(|(name, node)| node.ended.map(|ended| (name.as_str(), ended)))
        .max_by(|(a, a_ended), (b, b_ended)| (a_ended, b).cmp(&(b_ended, a)))?;
    let mut links: Vec<ChainLink> = Vec::new();
    let mut ready = total;
    while let Some(node) = nodes.get(name) {
        let blocker = node
            .dependencies
            .iter()
            .map(String::as_str)
            // A node that ended later did not delay this one, and a cycle would
            // have no end.
            .filter(|other| links.iter().all(|link| link.node != *other) && *other != name)
            .filter_map(|other| ended(other).map(|ended| (other, ended)))
            .filter(|(_, ended)| *ended <= ready)
            .max_by(|(a, a_ended), (b, b_ended)| (a_ended, b).cmp(&(b_ended, a)));
        let started = blocker.map_or(Duration::ZERO, |(_, ended)| ended);
        links.push(ChainLink {
            node: name.to_owned(),
            waited_for: blocker.map(|(blocker, _)| blocker.to_owned()),
            started,
            ready,
            phases: phases(node, started, ready),
        });
        let Some((blocker, ended)) = blocker else {
            break;
        };
        name = blocker;
        ready = ended;
    }
    Some(CriticalPath { total, links })
}

fn node_span(name: &str, node: &NodeHistory) -> Option<NodeSpan> {
    let ended = node.ended?;
    let started = node
        .transitions
        .iter()
        .find(|(phase, _)| phase.is_some())
        .map_or(ended, |(_, start)| *start);
    Some(NodeSpan {
        node: name.to_owned(),
        started,
        ended,
        phases: phases(node, started, ended),
    })
}

/// Returns the phases of the node between two moments, without gaps. The phase in
/// which it could start and did not work yet is `queued`.
fn phases(node: &NodeHistory, from: Duration, to: Duration) -> Vec<(String, Duration)> {
    let mut phases: Vec<(String, Duration)> = Vec::new();
    let mut add = |phase: &str, length: Duration| match phases.last_mut() {
        _ if length.is_zero() => {}
        Some((last, sum)) if last == phase => *sum += length,
        _ => phases.push((phase.to_owned(), length)),
    };
    let mut phase = "queued";
    let mut since = from;
    for (next, start) in &node.transitions {
        let start = (*start).clamp(from, to);
        add(phase, start.saturating_sub(since));
        since = since.max(start);
        phase = next.as_deref().unwrap_or("queued");
    }
    add(phase, to.saturating_sub(since));
    phases
}

#[cfg(test)]
#[path = "timings_tests.rs"]
mod tests;
