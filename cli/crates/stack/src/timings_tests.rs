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
        at: Duration::from_millis(millis),
    }
}

fn started(nodes: Vec<Node>) -> RunEvent {
    RunEvent::Started {
        command: "up".into(),
        instance: "default".into(),
        nodes,
    }
}

const READY: NodeState = NodeState::Ready { kept: false };
const STARTING: NodeState = NodeState::Starting { probe: None };

#[test]
fn the_chain_follows_what_held_each_node_up() {
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
        .critical_chain
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
    assert_eq!(timings.critical_chain.total, Duration::from_secs(6));
    let order: Vec<&str> = timings
        .spans
        .iter()
        .map(|span| span.node.as_str())
        .collect();
    assert_eq!(order, ["openldap", "postgres", "keycloak"]);
}

#[test]
fn a_blocked_node_bounds_nothing() {
    let events = [
        started(vec![node("a", &[]), node("b", &["a".into()])]),
        node_event("a", STARTING, 1),
        node_event("a", NodeState::Failed, 400),
        node_event("b", NodeState::Blocked { by: "a".into() }, 900),
    ];
    let chain = Timings::from_events(&events).unwrap().critical_chain;
    assert_eq!(chain.total, Duration::from_millis(400));
    assert_eq!(chain.links.len(), 1);
}

#[test]
fn a_run_in_which_nothing_ended_has_no_chain() {
    assert_eq!(Timings::from_events(&[]), None);
    assert_eq!(Timings::from_events(&[started(vec![node("a", &[])])]), None);
}

/// Runs as an executor makes them: a node works after all it waits for.
fn executor_runs() -> impl Strategy<Value = (Vec<Node>, Vec<RunEvent>)> {
    let one = (
        prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        0_u64..50,
        0_u64..900,
        0_u64..900,
    );
    prop::collection::vec(one, 1..12).prop_map(|plan| {
        let mut nodes: Vec<Node> = Vec::new();
        let mut ready: Vec<u64> = Vec::new();
        let mut events = Vec::new();
        for (number, (after, queued, creating, starting)) in plan.into_iter().enumerate() {
            let after: Vec<usize> = if number == 0 {
                vec![]
            } else {
                after.iter().map(|index| index.index(number)).collect()
            };
            let free = after.iter().map(|before| ready[*before]).max().unwrap_or(0);
            let names: Vec<String> = after
                .iter()
                .map(|before| nodes[*before].name.clone())
                .collect();
            let name = format!("n{number}");
            let at = free + queued;
            events.push(node_event(
                &name,
                NodeState::Waiting { on: names.clone() },
                0,
            ));
            events.push(node_event(&name, NodeState::Creating, at));
            events.push(node_event(&name, STARTING, at + creating));
            events.push(node_event(&name, READY, at + creating + starting));
            ready.push(at + creating + starting);
            nodes.push(node(&name, &names));
        }
        (nodes, events)
    })
}

/// Anything at all, in any order, with circles and unknown names.
fn arbitrary_events() -> impl Strategy<Value = Vec<RunEvent>> {
    let name = || prop::sample::select(vec!["a", "b", "c", "d"]);
    let state = prop::sample::select(vec![
        READY,
        STARTING,
        NodeState::Creating,
        NodeState::Failed,
        NodeState::Gone,
        NodeState::Waiting { on: vec![] },
        NodeState::Blocked { by: "a".into() },
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
                    .map(|(name, state, at)| node_event(name, state, at)),
            )
            .collect()
    })
}

fn assert_chain_invariants(
    chain: &CriticalChain,
    events: &[RunEvent],
) -> Result<(), TestCaseError> {
    let nodes = collect_histories(events);
    let links = &chain.links;
    prop_assert_eq!(links[0].ready, chain.total);
    prop_assert_eq!(links.last().map(|link| link.began), Some(Duration::ZERO));
    let sum: Duration = links.iter().map(|link| link.ready - link.began).sum();
    prop_assert_eq!(sum, chain.total);
    for pair in links.windows(2) {
        prop_assert_eq!(pair[0].began, pair[1].ready);
        prop_assert_eq!(pair[0].waited_for.as_ref(), Some(&pair[1].node));
        prop_assert!(nodes[&pair[0].node].dependencies.contains(&pair[1].node));
    }
    for link in links {
        let phases: Duration = link.phases.iter().map(|(_, length)| *length).sum();
        prop_assert_eq!(phases, link.ready - link.began);
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_chain_is_whole((nodes, events) in executor_runs()) {
        let events: Vec<RunEvent> = std::iter::once(started(nodes)).chain(events).collect();
        let timings = Timings::from_events(&events).unwrap();
        assert_chain_invariants(&timings.critical_chain, &events)?;
        for span in &timings.spans {
            let phases: Duration = span.phases.iter().map(|(_, length)| *length).sum();
            prop_assert_eq!(phases, span.ended - span.began);
        }
    }

    #[test]
    fn even_of_nonsense(events in arbitrary_events()) {
        if let Some(timings) = Timings::from_events(&events) {
            assert_chain_invariants(&timings.critical_chain, &events)?;
        }
    }
}
