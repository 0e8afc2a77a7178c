//! Tests of an engine that is lost during a run or missing, and of concurrent runs.

use crate::harness::Project;
use crate::harness::proxy::{Proxy, ProxyMode};
use crate::test_list;

test_list![
    up_with_a_lost_engine_connection_fails_and_can_be_repeated,
    commands_without_an_engine_name_its_socket,
    concurrent_up_waits_for_the_instance_lock,
];

async fn up_with_a_lost_engine_connection_fails_and_can_be_repeated() {
    let project = Project::new("engine-away");
    let up = ["--only", "openldap,postgres"];
    let mut cuts = 0;
    for number in 0.. {
        let proxy = Proxy::start(move |call| {
            if call.number == number {
                ProxyMode::Cut
            } else {
                ProxyMode::Forward
            }
        });
        let output = project.up(&up).env("DOCKER_HOST", proxy.address()).run();
        let was_cut = proxy.calls().len() > number;
        if !was_cut {
            output.exits(0);
            break;
        }
        cuts += 1;
        assert!(
            matches!(output.code, Some(3 | 4)),
            "the exit code is neither an engine error nor a component error\n{output}"
        );
        assert!(
            output.stderr.contains("engine"),
            "the error does not name the engine\n{output}"
        );
        assert!(!output.stderr.contains("panicked"), "{output}");
        let objects = project.objects().await;
        objects.assert_consistent();
        // Only a start from nothing makes all the calls.
        project.dm(&["down", "--volumes"]).ok();
        assert!(project.objects().await.names().is_empty());
    }
    assert!(cuts >= 8, "only {cuts} cuts");
    project.dm(&["status"]).ok();
}

async fn commands_without_an_engine_name_its_socket() {
    let project = Project::new("engine-none");
    let socket = project.root().join("no.sock").display().to_string();
    for command in [
        &["up", "--ports", "auto"][..],
        &["down"],
        &["status"],
        &["logs"],
    ] {
        let output = project
            .dm(command)
            .env("DOCKER_HOST", format!("unix://{socket}"))
            .run()
            .exits(3);
        assert!(output.stderr.contains("no.sock"), "{output}");
    }
}

async fn concurrent_up_waits_for_the_instance_lock() {
    let project = Project::new("two-runs");
    // The first run is held until the second one reports that it waits.
    let proxy = Proxy::start(|call| {
        if call.what.ends_with("/start") {
            ProxyMode::Hold
        } else {
            ProxyMode::Forward
        }
    });
    let first = project
        .up(&["--only", "openldap", "--progress", "json"])
        .env("DOCKER_HOST", proxy.address())
        .spawn();
    assert!(first.wait_for_event(|event| event["state"] == "creating"));
    let second = project.up(&["--only", "openldap"]).spawn();
    let pid = format!("pid {}", first.pid());
    let waits = second.wait_for_stderr(|line| line.contains("waiting for") && line.contains(&pid));
    proxy.release();
    let (first, second) = (first.wait().exits(0), second.wait().exits(0));
    assert!(
        waits,
        "the second run did not report that it waits\n{first}\n{second}"
    );
    let objects = project.objects().await;
    objects.assert_consistent();
    assert_eq!(objects.containers.len(), 1);
}
