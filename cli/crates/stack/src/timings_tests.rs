use proptest::prelude::*;

use super::*;
use crate::event::NodeKind;

fn node(name: &str, after: &[String]) -> Node {
    Node {
        name: name.into(),
        kind: NodeKind::Service,
        after: after.to_vec(),
    }
}

fn node_event(name: &str, state: NodeState, millis: u64) -> RunEvent {
    RunEvent::Node {
        name: name.into(),
        state,
        elapsed: Duration::from_millis(millis),
    }
}

fn started(nodes: Vec<Node>) -> RunEvent {
    RunEvent::Started {
        command: "up".into(),
        instance: "default".into(),
        nodes,
    }
}

const READY: NodeState = NodeState::Ready { unchanged: false };
const STARTING: NodeState = NodeState::Starting { probe: None };

#[test]
fn critical_path_follows_the_last_dependency_of_each_node() {
    let events = [
        started(vec![
            node("postgres", &[]),
            node("openldap", &[]),
            node("keycloak", &["postgres".into(), "openldap".into()]),
        ]),
        node_event("postgres", NodeState::Creating, 10),
        node_event("openldap", STARTING, 10),
        node_event("postgres", STARTING, 200),
        node_event("openldap", READY, 500),
        node_event("postgres", READY, 1_200),
        node_event("keycloak", NodeState::Creating, 1_250),
        node_event("keycloak", STARTING, 1_400),
        node_event("keycloak", READY, 6_000),
    ];
    let timings = Timings::from_events(&events).unwrap();
    let text: Vec<String> = timings
        .critical_path
        .links
        .iter()
        .map(|link| format!("{} {:?}", link.node, link.phases))
        .collect();
    assert_eq!(
        text,
        [
            r#"keycloak [("queued", 50ms), ("creating", 150ms), ("starting", 4.6s)]"#,
            r#"postgres [("queued", 10ms), ("creating", 190ms), ("starting", 1s)]"#,
        ]
    );
    assert_eq!(timings.critical_path.total, Duration::from_secs(6));
    let order: Vec<&str> = timings
        .spans
        .iter()
        .map(|span| span.node.as_str())
        .collect();
    assert_eq!(order, ["openldap", "postgres", "keycloak"]);
}

#[test]
fn blocked_node_is_not_in_the_critical_path() {
    let events = [
        started(vec![node("a", &[]), node("b", &["a".into()])]),
        node_event("a", STARTING, 1),
        node_event("a", NodeState::Failed, 400),
        node_event(
            "b",
            NodeState::Blocked {
                blocked_by: "a".into(),
            },
            900,
        ),
    ];
    let chain = Timings::from_events(&events).unwrap().critical_path;
    assert_eq!(chain.total, Duration::from_millis(400));
    assert_eq!(chain.links.len(), 1);
}

#[test]
fn run_without_an_ended_node_has_no_timings() {
    assert_eq!(Timings::from_events(&[]), None);
    assert_eq!(Timings::from_events(&[started(vec![node("a", &[])])]), None);
}

/// Generates runs as the executor emits them: a node works after its dependencies.
fn executor_runs() -> impl Strategy<Value = (Vec<Node>, Vec<RunEvent>)> {
    let step = (
        prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        0_u64..50,
        0_u64..900,
        0_u64..900,
    );
    prop::collection::vec(step, 1..12).prop_map(|plan| {
        let mut nodes: Vec<Node> = Vec::new();
        let mut ready: Vec<u64> = Vec::new();
        let mut events = Vec::new();
        for (number, (after, queued, creating, starting)) in plan.into_iter().enumerate() {
            let after: Vec<usize> = if number == 0 {
                vec![]
            } else {
                after.iter().map(|index| index.index(number)).collect()
            };
            let unblocked = after.iter().map(|index| ready[*index]).max().unwrap_or(0);
            let names: Vec<String> = after
                .iter()
                .map(|index| nodes[*index].name.clone())
                .collect();
            let name = format!("n{number}");
            let start = unblocked + queued;
            events.push(node_event(
                &name,
                NodeState::Waiting {
                    waiting_for: names.clone(),
                },
                0,
            ));
            events.push(node_event(&name, NodeState::Creating, start));
            events.push(node_event(&name, STARTING, start + creating));
            events.push(node_event(&name, READY, start + creating + starting));
            ready.push(start + creating + starting);
            nodes.push(node(&name, &names));
        }
        (nodes, events)
    })
}

/// Generates arbitrary events in any order, with cycles and unknown names.
fn arbitrary_events() -> impl Strategy<Value = Vec<RunEvent>> {
    let name = || prop::sample::select(vec!["a", "b", "c", "d"]);
    let state = prop::sample::select(vec![
        READY,
        STARTING,
        NodeState::Creating,
        NodeState::Failed,
        NodeState::Removed,
        NodeState::Waiting {
            waiting_for: vec![],
        },
        NodeState::Blocked {
            blocked_by: "a".into(),
        },
    ]);
    let start = prop::collection::vec((name(), prop::collection::vec(name(), 0..3)), 0..5);
    let changes = prop::collection::vec((name(), state, 0_u64..1000), 0..30);
    (start, changes).prop_map(|(start, changes)| {
        let nodes = start
            .into_iter()
            .map(|(name, after)| {
                node(
                    name,
                    &after.iter().map(ToString::to_string).collect::<Vec<_>>(),
                )
            })
            .collect();
        std::iter::once(started(nodes))
            .chain(
                changes
                    .into_iter()
                    .map(|(name, state, millis)| node_event(name, state, millis)),
            )
            .collect()
    })
}

fn assert_chain_invariants(chain: &CriticalPath, events: &[RunEvent]) -> Result<(), TestCaseError> {
    let nodes = collect_histories(events);
    let links = &chain.links;
    prop_assert_eq!(links[0].ready, chain.total);
    prop_assert_eq!(links.last().map(|link| link.started), Some(Duration::ZERO));
    let sum: Duration = links.iter().map(|link| link.ready - link.started).sum();
    prop_assert_eq!(sum, chain.total);
    for pair in links.windows(2) {
        prop_assert_eq!(pair[0].started, pair[1].ready);
        prop_assert_eq!(pair[0].waited_for.as_ref(), Some(&pair[1].node));
        prop_assert!(nodes[&pair[0].node].dependencies.contains(&pair[1].node));
    }
    for link in links {
        let phases: Duration = link.phases.iter().map(|(_, length)| *length).sum();
        prop_assert_eq!(phases, link.ready - link.started);
    }
    Ok(())
}

proptest! {
    #[test]
    fn critical_path_of_a_run_has_no_gaps((nodes, events) in executor_runs()) {
        let events: Vec<RunEvent> = std::iter::once(started(nodes)).chain(events).collect();
        let timings = Timings::from_events(&events).unwrap();
        assert_chain_invariants(&timings.critical_path, &events)?;
        for span in &timings.spans {
            let phases: Duration = span.phases.iter().map(|(_, length)| *length).sum();
            prop_assert_eq!(phases, span.ended - span.started);
        }
    }

    #[test]
    fn critical_path_of_arbitrary_events_has_no_gaps(events in arbitrary_events()) {
        if let Some(timings) = Timings::from_events(&events) {
            assert_chain_invariants(&timings.critical_path, &events)?;
        }
    }
}
