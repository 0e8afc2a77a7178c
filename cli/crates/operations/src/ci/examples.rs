//! Examples of what a job knows, for tests.

use std::time::Duration;

use dm_gateway_client::Fault;
use dm_smoke::report::{Outcome, Step};
use dm_stack::event::{Event, Failure, Node, NodeKind, NodeState};
use dm_stack::timings::Timings;

use super::report::{Report, Stage, StageName, components};

/// A failure of a component.
#[must_use]
pub(crate) fn failure(name: &str) -> Failure {
    Failure {
        name: name.into(),
        what: "exited with code 1 before it was ready".into(),
        state: Some("exited".into()),
        exit_code: Some(1),
        out_of_memory: false,
        probe: Some("connection refused".into()),
        log: vec!["no such table".into()],
        source_errors: Vec::new(),
        blocks: Vec::new(),
        next: Vec::new(),
        at: Duration::from_secs(4),
    }
}

/// The events of a start in which `order` failed.
#[must_use]
pub(crate) fn events() -> Vec<Event> {
    let node = |name: &str, after: &[&str]| Node {
        name: name.into(),
        kind: NodeKind::Service,
        after: after.iter().map(|&name| name.to_owned()).collect(),
    };
    let state = |name: &str, state, millis| Event::Node {
        name: name.into(),
        state,
        at: Duration::from_millis(millis),
    };
    vec![
        Event::Started {
            command: "ci".into(),
            instance: "ci-1".into(),
            nodes: vec![
                node("postgres", &[]),
                node("order", &["postgres"]),
                node("gateway", &["order"]),
            ],
        },
        state("postgres", NodeState::Creating, 0),
        state("postgres", NodeState::Ready { kept: false }, 1500),
        state("order", NodeState::Creating, 1500),
        state("order", NodeState::Failed, 4000),
        Event::Failed(failure("order")),
        Event::Finished {
            ok: false,
            at: Duration::from_millis(4000),
        },
    ]
}

/// A report with something of everything.
#[must_use]
pub fn report() -> Report {
    let events = events();
    let timings = Timings::of(&events);
    let step = |name, outcome| Step {
        service: "order",
        name,
        took: Duration::from_millis(120),
        outcome,
    };
    Report {
        instance: "ci-1".into(),
        stages: vec![
            Stage {
                name: StageName::Up,
                ok: false,
                took: Duration::from_secs(4),
                error: Some("order failed".into()),
            },
            Stage {
                name: StageName::Down,
                ok: true,
                took: Duration::from_millis(1200),
                error: None,
            },
        ],
        components: components(&events, timings.as_ref()),
        smoke: vec![vec![
            step("an order is placed", Outcome::Passed),
            step(
                "the order is <RESERVED>",
                Outcome::Failed(Fault::new("it is | CREATED")),
            ),
            step("it ships", Outcome::Skipped),
        ]],
        timings,
        bundle: Some("ci/diagnostics.tar.zst".into()),
        interrupted: false,
    }
}
