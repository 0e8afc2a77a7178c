//! Where the time of a run went: what each node did when, and which chain of
//! nodes the run waited for.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::event::{Node, NodeState, RunEvent};

/// Where the time of a run went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Timings {
    /// The chain that the run waited for.
    pub critical_chain: CriticalChain,
    /// All nodes that ended, in the order in which they began.
    pub spans: Vec<NodeSpan>,
}

/// The nodes that bounded the run: each could not begin before the next one
/// was ready. To make the run faster, make one of them faster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CriticalChain {
    /// How long the chain took: the sum of its links.
    #[serde(rename = "total_seconds", serialize_with = "as_seconds")]
    pub total: Duration,
    /// The links, the last node to end first. A link begins where the next
    /// one in the list ends; the last in the list begins at 0.
    pub links: Vec<ChainLink>,
}

/// One node of the critical chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChainLink {
    /// The node.
    pub node: String,
    /// The node that it waited for last: the next link.
    pub waited_for: Option<String>,
    /// When nothing held it up any longer, since the start of the run.
    #[serde(serialize_with = "as_seconds")]
    pub began: Duration,
    /// When it ended, since the start of the run.
    #[serde(serialize_with = "as_seconds")]
    pub ready: Duration,
    /// What it did, and how long; the sum is `ready - began`.
    #[serde(serialize_with = "phases_as_seconds")]
    pub phases: Vec<(String, Duration)>,
}

/// What one node did when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeSpan {
    /// The node.
    pub node: String,
    /// When it did its first work, since the start of the run.
    #[serde(serialize_with = "as_seconds")]
    pub began: Duration,
    /// When it ended, since the start of the run.
    #[serde(serialize_with = "as_seconds")]
    pub ended: Duration,
    /// What it did, and how long; the sum is `ended - began`.
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
        doing: &'a str,
        seconds: f64,
    }
    serializer.collect_seq(phases.iter().map(|(doing, duration)| Phase {
        doing,
        seconds: seconds_rounded_to_millis(*duration),
    }))
}

/// What is known of one node.
#[derive(Debug, Default)]
struct NodeHistory {
    dependencies: Vec<String>,
    /// What it did from when on; nothing while it waited.
    transitions: Vec<(Option<String>, Duration)>,
    ended: Option<Duration>,
}

impl Timings {
    /// Works out where the time went from the events of a run; none if no node
    /// ended.
    #[must_use]
    pub fn from_events(events: &[RunEvent]) -> Option<Self> {
        let nodes = collect_histories(events);
        let critical_chain = critical_chain(&nodes)?;
        let mut spans: Vec<NodeSpan> = nodes
            .iter()
            .filter_map(|(node, it)| node_span(node, it))
            .collect();
        spans.sort_by(|a, b| (a.began, a.ended, &a.node).cmp(&(b.began, b.ended, &b.node)));
        Some(Self {
            critical_chain,
            spans,
        })
    }
}

fn collect_histories(events: &[RunEvent]) -> HashMap<String, NodeHistory> {
    let mut nodes: HashMap<String, NodeHistory> = HashMap::new();
    for event in events {
        match event {
            RunEvent::Started { nodes: more, .. } => {
                for Node { name, after, .. } in more {
                    nodes
                        .entry(name.clone())
                        .or_default()
                        .dependencies
                        .clone_from(after);
                }
            }
            RunEvent::Node { name, state, at } => {
                let node = nodes.entry(name.clone()).or_default();
                if node.ended.is_some() {
                    continue;
                }
                // Two threads may report in another order than they measured.
                let last = node
                    .transitions
                    .last()
                    .map_or(Duration::ZERO, |(_, at)| *at);
                let at = (*at).max(last);
                match state {
                    NodeState::Ready { .. } | NodeState::Gone | NodeState::Failed => {
                        node.ended = Some(at);
                    }
                    // It never began: it neither ended nor bounded anything.
                    NodeState::Blocked { .. } => {}
                    _ => node.transitions.push((phase_name(state), at)),
                }
            }
            _ => {}
        }
    }
    nodes
}

fn phase_name(state: &NodeState) -> Option<String> {
    match state {
        NodeState::Working { doing, .. } => Some(doing.clone()),
        NodeState::Creating => Some("creating".into()),
        NodeState::Starting { .. } => Some("starting".into()),
        NodeState::Stopping => Some("stopping".into()),
        _ => None,
    }
}

fn critical_chain(nodes: &HashMap<String, NodeHistory>) -> Option<CriticalChain> {
    let ended = |name: &str| nodes.get(name).and_then(|node| node.ended);
    let (mut name, total) = nodes
        .iter()
        .filter_map(|(name, node)| node.ended.map(|ended| (name.as_str(), ended)))
        .max_by(|(a, a_ended), (b, b_ended)| (a_ended, b).cmp(&(b_ended, a)))?;
    let mut links: Vec<ChainLink> = Vec::new();
    let mut ready = total;
    while let Some(node) = nodes.get(name) {
        let held_up_by = node
            .dependencies
            .iter()
            .map(String::as_str)
            // A node that ended later didn't hold this one up; and a circle
            // would have no end.
            .filter(|before| links.iter().all(|link| link.node != *before) && *before != name)
            .filter_map(|before| ended(before).map(|at| (before, at)))
            .filter(|(_, at)| *at <= ready)
            .max_by(|(a, a_at), (b, b_at)| (a_at, b).cmp(&(b_at, a)));
        let began = held_up_by.map_or(Duration::ZERO, |(_, at)| at);
        links.push(ChainLink {
            node: name.to_owned(),
            waited_for: held_up_by.map(|(before, _)| before.to_owned()),
            began,
            ready,
            phases: phases(node, began, ready),
        });
        let Some((before, at)) = held_up_by else {
            break;
        };
        name = before;
        ready = at;
    }
    Some(CriticalChain { total, links })
}

fn node_span(name: &str, node: &NodeHistory) -> Option<NodeSpan> {
    let ended = node.ended?;
    let began = node
        .transitions
        .iter()
        .find(|(doing, _)| doing.is_some())
        .map_or(ended, |(_, at)| *at);
    Some(NodeSpan {
        node: name.to_owned(),
        began,
        ended,
        phases: phases(node, began, ended),
    })
}

/// What the node did between two moments, without gaps. Time in which nothing
/// held it up and yet it did nothing is `queued`.
fn phases(node: &NodeHistory, from: Duration, to: Duration) -> Vec<(String, Duration)> {
    let mut phases: Vec<(String, Duration)> = Vec::new();
    let mut add = |doing: &str, length: Duration| match phases.last_mut() {
        _ if length.is_zero() => {}
        Some((last, sum)) if last == doing => *sum += length,
        _ => phases.push((doing.to_owned(), length)),
    };
    let mut doing = "queued";
    let mut since = from;
    for (next, at) in &node.transitions {
        let at = (*at).clamp(from, to);
        add(doing, at.saturating_sub(since));
        since = since.max(at);
        doing = next.as_deref().unwrap_or("queued");
    }
    add(doing, to.saturating_sub(since));
    phases
}

#[cfg(test)]
#[path = "timings_tests.rs"]
mod tests;
