//! An engine that goes away under a run, and two runs at once.

use crate::harness::Project;
use crate::harness::proxy::{Fate, Proxy};
use crate::test_list;

test_list![
    an_engine_that_goes_away_is_told_and_forgiven,
    no_engine_at_all_is_told_with_what_to_do,
    two_runs_at_once_wait_for_each_other,
];

async fn an_engine_that_goes_away_is_told_and_forgiven() {
    let project = Project::new("engine-away");
    let up = ["--only", "openldap,postgres"];
    let mut cuts = 0;
    for number in 0.. {
        let proxy = Proxy::start(move |call| {
            if call.number == number {
                Fate::Cut
            } else {
                Fate::Forward
            }
        });
        let output = project.up(&up).env("DOCKER_HOST", proxy.address()).run();
        let cut = proxy.calls().len() > number;
        if !cut {
            output.exits(0);
            break;
        }
        cuts += 1;
        assert!(
            matches!(output.code, Some(3 | 4)),
            "neither the engine nor a component is blamed\n{output}"
        );
        assert!(
            output.stderr.contains("engine"),
            "the engine is not blamed\n{output}"
        );
        assert!(!output.stderr.contains("panicked"), "{output}");
        let found = project.found().await;
        found.assert_consistent();
        // Only a fresh start passes all the calls.
        project.dm(&["down", "--volumes"]).ok();
        assert!(project.found().await.names().is_empty());
    }
    assert!(cuts >= 8, "only {cuts} cuts");
    project.dm(&["status"]).ok();
}

async fn no_engine_at_all_is_told_with_what_to_do() {
    let project = Project::new("engine-none");
    let nowhere = project.root().join("no.sock").display().to_string();
    for command in [
        &["up", "--ports", "auto"][..],
        &["down"],
        &["status"],
        &["logs"],
    ] {
        let output = project
            .dm(command)
            .env("DOCKER_HOST", format!("unix://{nowhere}"))
            .run()
            .exits(3);
        assert!(output.stderr.contains("no.sock"), "{output}");
    }
}

async fn two_runs_at_once_wait_for_each_other() {
    let project = Project::new("two-runs");
    // The first is held in the middle until the second has told that it waits.
    let proxy = Proxy::start(|call| {
        if call.what.ends_with("/start") {
            Fate::Hold
        } else {
            Fate::Forward
        }
    });
    let first = project
        .up(&["--only", "openldap", "--progress", "json"])
        .env("DOCKER_HOST", proxy.address())
        .spawn();
    assert!(first.sees_event(|event| event["state"] == "creating"));
    let second = project.up(&["--only", "openldap"]).spawn();
    let pid = format!("pid {}", first.pid());
    let waits = second.sees(|line| line.contains("waiting for") && line.contains(&pid));
    proxy.release();
    let (first, second) = (first.wait().exits(0), second.wait().exits(0));
    assert!(
        waits,
        "the second did not tell that it waits\n{first}\n{second}"
    );
    let found = project.found().await;
    found.assert_consistent();
    assert_eq!(found.containers.len(), 1);
}
