//! Tests of Ctrl-C at stages of a run, which its progress events mark.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::Project;
use crate::harness::proxy::{Proxy, ProxyMode};
use crate::test_list;

test_list![
    up_interrupted_at_any_stage_can_be_repeated,
    down_interrupted_can_be_repeated,
    second_interrupt_exits_without_waiting_for_the_engine,
    waiting_for_the_instance_lock_can_be_interrupted,
];

/// A stage of a run: a name, and a condition for the event that marks it.
type Stage = (&'static str, fn(&Value) -> bool);

const STAGES: [Stage; 5] = [
    ("the run has begun", |event| event["event"] == "started"),
    ("a container is being created", |event| {
        event["state"] == "creating"
    }),
    ("a container was probed", |event| {
        event["state"] == "starting" && event["probe"].is_string()
    }),
    ("the database is being set up", |event| {
        event["name"] == "database" && event["state"] == "working"
    }),
    ("Keycloak starts", |event| {
        event["name"] == "keycloak" && event["state"] == "starting"
    }),
];

async fn up_interrupted_at_any_stage_can_be_repeated() {
    let project = Project::new("interrupt-up");
    for (name, stage) in STAGES {
        let before = project.objects().await;
        let running = project.up(&["--progress", "json"]).spawn();
        let was_seen = running.wait_for_event(stage);
        running.signal(Signal::INT);
        let output = running.wait();
        assert!(was_seen, "dm ended before the stage: {name}\n{output}");
        let output = output.exits(130);
        let last = output.events().pop().unwrap();
        assert_eq!(
            last["error"]["code"], "interrupted",
            "at the stage: {name}\n{output}"
        );
        let after = project.objects().await;
        after.assert_consistent();
        assert!(
            after.volumes.is_superset(&before.volumes),
            "at the stage: {name}"
        );
    }
    project.up(&[]).ok();
    project.dm(&["status", "--check"]).ok();
}

async fn down_interrupted_can_be_repeated() {
    let project = Project::new("interrupt-down");
    project.up(&["--only", "rabbitmq,openldap"]).ok();
    let before = project.objects().await;
    let running = project.dm(&["down", "--progress", "json"]).spawn();
    let was_seen = running.wait_for_event(|event| event["state"] == "stopping");
    running.signal(Signal::INT);
    let output = running.wait();
    assert!(was_seen, "no container was being stopped\n{output}");
    output.exits(130);
    let after = project.objects().await;
    after.assert_consistent();
    assert_eq!(after.volumes, before.volumes);
    project.dm(&["down", "--volumes"]).ok();
    assert!(project.objects().await.names().is_empty());
}

async fn second_interrupt_exits_without_waiting_for_the_engine() {
    let project = Project::new("interrupt-twice");
    // The engine takes a long time to start a container.
    let proxy = Proxy::start(|call| {
        if call.what.ends_with("/start") {
            ProxyMode::Hold
        } else {
            ProxyMode::Forward
        }
    });
    let running = project
        .up(&["--only", "openldap", "--progress", "json"])
        .env("DOCKER_HOST", proxy.address())
        .spawn();
    assert!(running.wait_for_event(|event| event["state"] == "creating"));
    proxy.wait_for("/start").await;
    running.signal(Signal::INT);
    // `dm` ignores a second signal that follows at once, as a terminal may send the first one
    // twice.
    tokio::time::sleep(Duration::from_millis(300)).await;
    running.signal(Signal::INT);
    // If `dm` waited for the engine's answer, it would hang here.
    running.wait().exits(130);
    proxy.release();
    project.up(&["--only", "openldap"]).ok();
}

async fn waiting_for_the_instance_lock_can_be_interrupted() {
    let project = Project::new("interrupt-waiting");
    let proxy = Proxy::start(|call| {
        if call.what.ends_with("/start") {
            ProxyMode::Hold
        } else {
            ProxyMode::Forward
        }
    });
    let up = ["--only", "openldap"];
    let first = project.up(&up).env("DOCKER_HOST", proxy.address()).spawn();
    proxy.wait_for("/start").await;
    let second = project.up(&up).spawn();
    let waits = second.wait_for_stderr(|line| line.contains("waiting for"));
    second.signal(Signal::INT);
    let second = second.wait();
    proxy.release();
    first.wait().exits(0);
    assert!(
        waits,
        "the second run did not report that it waits\n{second}"
    );
    second.exits(130);
}
