//! Tests that kill `dm` with `kill -9` at every changing call to the engine, and between the
//! calls.
//!
//! A proxy in front of the engine kills `dm` before the engine receives the call, and in another
//! run after the engine executed it but before `dm` receives the answer. The next run must
//! succeed. No object may exist twice, and no volume may be lost.

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::proxy::{Proxy, ProxyMode};
use crate::harness::{Project, engine::EngineObjects};
use crate::test_list;

test_list![
    first_start_killed_at_every_engine_call_can_be_repeated,
    recreation_killed_at_every_engine_call_keeps_its_data,
    down_killed_at_every_engine_call_can_be_repeated,
    up_killed_at_every_stage_can_be_repeated,
];

/// More calls than any of these runs makes.
const MAX_CALLS: usize = 40;

/// Runs `dm` and kills it at the call `number`. Returns false if the run makes no such call and
/// ends by itself.
fn run_killed(project: &Project, arguments: &[&str], number: usize, mode: ProxyMode) -> bool {
    let proxy = Proxy::start(move |call| {
        if call.number == number {
            mode
        } else {
            ProxyMode::Forward
        }
    });
    let running = project
        .dm(arguments)
        .env("DOCKER_HOST", proxy.address())
        .spawn();
    proxy.set_target(running.pid());
    let output = running.wait();
    if proxy.was_killed() {
        assert_eq!(output.code, None, "dm was not killed\n{output}");
        true
    } else {
        assert_eq!(output.code, Some(0), "calls: {:?}\n{output}", proxy.calls());
        false
    }
}

/// Asserts what must hold after every kill.
async fn assert_consistent_with(project: &Project, before: &EngineObjects) -> EngineObjects {
    let objects = project.objects().await;
    objects.assert_consistent();
    assert!(
        objects.volumes.is_superset(&before.volumes),
        "volumes were lost: {:?} of {:?}",
        objects.volumes,
        before.volumes
    );
    objects
}

async fn first_start_killed_at_every_engine_call_can_be_repeated() {
    let project = Project::new("kill-first");
    let up = ["up", "--ports", "auto", "--only", "openldap"];
    let mut kills = 0;
    'calls: for number in 0..MAX_CALLS {
        for mode in [ProxyMode::KillBefore, ProxyMode::KillAfter] {
            project.dm(&["down", "--volumes"]).ok();
            let initial = project.objects().await;
            if !run_killed(&project, &up, number, mode) {
                break 'calls;
            }
            kills += 1;
            let remaining = assert_consistent_with(&project, &initial).await;
            project.dm(&up).ok();
            let after = assert_consistent_with(&project, &remaining).await;
            assert_eq!(after.names().len(), 3, "{after:?}");
            assert_eq!(project.status()["components"][2]["state"], "ready");
        }
    }
    // Network, volume, container, its files and its start, each killed before and after.
    assert!(kills >= 10, "only {kills} kills");
}

async fn recreation_killed_at_every_engine_call_keeps_its_data() {
    let project = Project::new("kill-recreate");
    let up = |memory: usize| {
        let setting = format!("postgres.settings.work_mem={memory}MB");
        [
            "up", "--ports", "auto", "--only", "postgres", "--set", &setting,
        ]
        .map(str::to_owned)
    };
    let call = |arguments: &[String; 7]| arguments.clone();
    project
        .dm(&call(&up(4)).each_ref().map(String::as_str))
        .ok();
    project.write_marker();
    let before = project.objects().await;
    let (mut kills, mut memory) = (0, 5);
    'calls: for number in 0..MAX_CALLS {
        for mode in [ProxyMode::KillBefore, ProxyMode::KillAfter] {
            let arguments = up(memory);
            let arguments = arguments.each_ref().map(String::as_str);
            if !run_killed(&project, &arguments, number, mode) {
                break 'calls;
            }
            kills += 1;
            assert_consistent_with(&project, &before).await;
            project.dm(&arguments).ok();
            assert_consistent_with(&project, &before).await;
            assert!(
                project.has_marker(),
                "the data is lost after {mode:?} at call {number}"
            );
            memory += 1;
        }
    }
    // Stop, removal, container and start, each killed before and after.
    assert!(kills >= 8, "only {kills} kills");
}

async fn down_killed_at_every_engine_call_can_be_repeated() {
    let project = Project::new("kill-down");
    let up = ["up", "--ports", "auto", "--only", "openldap"];
    let mut kills = 0;
    'calls: for number in 0..MAX_CALLS {
        for mode in [ProxyMode::KillBefore, ProxyMode::KillAfter] {
            project.dm(&up).ok();
            if !run_killed(&project, &["down", "--volumes"], number, mode) {
                break 'calls;
            }
            kills += 1;
            project.objects().await.assert_consistent();
            // Half of the times `down` is repeated, otherwise the next `up` starts the stack
            // again.
            if kills % 2 == 0 {
                project.dm(&["down", "--volumes"]).ok();
                assert!(project.objects().await.names().is_empty());
            }
        }
    }
    // Stop, removal, network and volume, each killed before and after.
    assert!(kills >= 8, "only {kills} kills");
}

/// A stage of a run: a name, and a condition for the event that marks it.
type Stage = (&'static str, fn(&Value) -> bool);

/// The stages in the order in which a first start passes them.
const STAGES: [Stage; 7] = [
    ("the run has begun", |event| event["event"] == "started"),
    ("a container is being created", |event| {
        event["state"] == "creating"
    }),
    ("a container runs", |event| event["state"] == "starting"),
    ("a container was probed", |event| {
        event["state"] == "starting" && event["probe"].is_string()
    }),
    ("the database is being set up", |event| {
        event["name"] == "database" && event["state"] == "working"
    }),
    ("the database is set up", |event| {
        event["name"] == "database" && event["state"] == "ready"
    }),
    ("Keycloak starts", |event| {
        event["name"] == "keycloak" && event["state"] == "starting"
    }),
];

async fn up_killed_at_every_stage_can_be_repeated() {
    let project = Project::new("kill-stages");
    let mut before = project.objects().await;
    for (name, stage) in STAGES {
        let running = project.up(&["--progress", "json"]).spawn();
        let was_seen = running.wait_for_event(stage);
        running.signal(Signal::KILL);
        let output = running.wait();
        assert!(was_seen, "dm ended before the stage: {name}\n{output}");
        assert_eq!(
            output.code, None,
            "dm was not killed at the stage: {name}\n{output}"
        );
        before = assert_consistent_with(&project, &before).await;
    }
    project.up(&[]).ok();
    let after = assert_consistent_with(&project, &before).await;
    assert_eq!(after.names().len(), 8, "{after:?}");
    project
        .dm(&["token", "jhalpert"])
        .ok()
        .stderr_contains("sales-associate");
}
