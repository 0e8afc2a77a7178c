//! Ctrl-C, at moments that the run itself tells.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::Project;
use crate::harness::proxy::{Fate, Proxy};
use crate::test_list;

test_list![
    up_winds_down_at_any_moment_and_goes_on_later,
    down_can_be_interrupted_and_finished,
    a_second_interrupt_does_not_wait_for_the_engine,
    who_waits_for_another_run_can_be_interrupted,
];

type Moment = (&'static str, fn(&Value) -> bool);

const MOMENTS: [Moment; 5] = [
    ("the run has begun", |event| event["event"] == "started"),
    ("a container is made", |event| event["state"] == "creating"),
    ("one was probed", |event| {
        event["state"] == "starting" && event["probe"].is_string()
    }),
    ("the database is being set up", |event| {
        event["name"] == "database" && event["state"] == "working"
    }),
    ("Keycloak starts", |event| {
        event["name"] == "keycloak" && event["state"] == "starting"
    }),
];

async fn up_winds_down_at_any_moment_and_goes_on_later() {
    let project = Project::new("interrupt-up");
    for (name, moment) in MOMENTS {
        let before = project.found().await;
        let running = project.up(&["--progress", "json"]).spawn();
        let seen = running.sees_event(moment);
        running.signal(Signal::INT);
        let output = running.wait();
        assert!(seen, "it ended before: {name}\n{output}");
        let output = output.exits(130);
        let last = output.events().pop().unwrap();
        assert_eq!(
            last["error"]["code"], "interrupted",
            "when {name}\n{output}"
        );
        let after = project.found().await;
        after.assert_consistent();
        assert!(after.volumes.is_superset(&before.volumes), "when {name}");
    }
    project.up(&[]).ok();
    project.dm(&["status", "--check"]).ok();
}

async fn down_can_be_interrupted_and_finished() {
    let project = Project::new("interrupt-down");
    project.up(&["--only", "rabbitmq,openldap"]).ok();
    let before = project.found().await;
    let running = project.dm(&["down", "--progress", "json"]).spawn();
    let seen = running.sees_event(|event| event["state"] == "stopping");
    running.signal(Signal::INT);
    let output = running.wait();
    assert!(seen, "it did not stop anything\n{output}");
    output.exits(130);
    let after = project.found().await;
    after.assert_consistent();
    assert_eq!(after.volumes, before.volumes);
    project.dm(&["down", "--volumes"]).ok();
    assert!(project.found().await.names().is_empty());
}

async fn a_second_interrupt_does_not_wait_for_the_engine() {
    let project = Project::new("interrupt-twice");
    // An engine that takes its time over the start of a container.
    let proxy = Proxy::start(|call| {
        if call.what.ends_with("/start") {
            Fate::Hold
        } else {
            Fate::Forward
        }
    });
    let running = project
        .up(&["--only", "openldap", "--progress", "json"])
        .env("DOCKER_HOST", proxy.address())
        .spawn();
    assert!(running.sees_event(|event| event["state"] == "creating"));
    proxy.wait_for("/start").await;
    running.signal(Signal::INT);
    // As a person does: what follows at once is taken for an echo of the first.
    tokio::time::sleep(Duration::from_millis(300)).await;
    running.signal(Signal::INT);
    // Were it to wait for the answer, it would hang here.
    running.wait().exits(130);
    proxy.release();
    project.up(&["--only", "openldap"]).ok();
}

async fn who_waits_for_another_run_can_be_interrupted() {
    let project = Project::new("interrupt-waiting");
    let proxy = Proxy::start(|call| {
        if call.what.ends_with("/start") {
            Fate::Hold
        } else {
            Fate::Forward
        }
    });
    let up = ["--only", "openldap"];
    let first = project.up(&up).env("DOCKER_HOST", proxy.address()).spawn();
    proxy.wait_for("/start").await;
    let second = project.up(&up).spawn();
    let waits = second.sees(|line| line.contains("waiting for"));
    second.signal(Signal::INT);
    let second = second.wait();
    proxy.release();
    first.wait().exits(0);
    assert!(waits, "it did not tell that it waits\n{second}");
    second.exits(130);
}
