//! Example events and reports of a job, for tests.

use std::time::Duration;

use dm_gateway_client::RequestFailure;
use dm_smoke::report::{StepOutcome, StepResult};
use dm_stack::event::{Node, NodeFailure, NodeKind, NodeState, RunEvent};
use dm_stack::timings::Timings;

use super::report::{CiReport, StageName, StageReport, node_reports};

/// A failure of a component.
#[must_use]
pub(crate) fn failure(name: &str) -> NodeFailure {
    NodeFailure {
        name: name.into(),
        message: "exited with code 1 before it was ready".into(),
        state: Some("exited".into()),
        exit_code: Some(1),
        out_of_memory: false,
        probe: Some("connection refused".into()),
        log: vec!["no such table".into()],
        source_errors: Vec::new(),
        blocked_nodes: Vec::new(),
        next: Vec::new(),
        elapsed: Duration::from_secs(4),
    }
}

/// The events of a start in which `order` failed.
#[must_use]
pub(crate) fn events() -> Vec<RunEvent> {
    let node = |name: &str, after: &[&str]| Node {
        name: name.into(),
        kind: NodeKind::Service,
        after: after.iter().map(|&name| name.to_owned()).collect(),
    };
    let state = |name: &str, state, millis| RunEvent::Node {
        name: name.into(),
        state,
        elapsed: Duration::from_millis(millis),
    };
    vec![
        RunEvent::Started {
            command: "ci".into(),
            instance: "ci-1".into(),
            nodes: vec![
                node("postgres", &[]),
                node("order", &["postgres"]),
                node("gateway", &["order"]),
            ],
        },
        state("postgres", NodeState::Creating, 0),
        state("postgres", NodeState::Ready { unchanged: false }, 1500),
        state("order", NodeState::Creating, 1500),
        state("order", NodeState::Failed, 4000),
        RunEvent::Failed(failure("order")),
        RunEvent::Finished {
            ok: false,
            elapsed: Duration::from_millis(4000),
        },
    ]
}

/// A report in which all fields are filled.
#[must_use]
pub fn report() -> CiReport {
    let events = events();
    let timings = Timings::from_events(&events);
    let step = |name, outcome| StepResult {
        service: "order",
        name,
        duration: Duration::from_millis(120),
        outcome,
    };
    CiReport {
        instance: "ci-1".into(),
        stages: vec![
            StageReport {
                name: StageName::Up,
                ok: false,
                took: Duration::from_secs(4),
                error: Some("order failed".into()),
            },
            StageReport {
                name: StageName::Down,
                ok: true,
                took: Duration::from_millis(1200),
                error: None,
            },
        ],
        components: node_reports(&events, timings.as_ref()),
        smoke: vec![vec![
            step("an order is placed", StepOutcome::Passed),
            step(
                "the order is <RESERVED>",
                StepOutcome::Failed(RequestFailure::new("it is | CREATED")),
            ),
            step("it ships", StepOutcome::Skipped),
        ]],
        timings,
        bundle: Some("ci/diagnostics.tar.zst".into()),
        interrupted: false,
    }
}
