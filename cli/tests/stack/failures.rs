//! Components that don't come up: what is told, and what stays.

use std::net::TcpListener;

use serde_json::Value;

use crate::harness::{Engine, Project};
use crate::test_list;

test_list![
    a_component_that_exits_is_reported_and_its_data_stays,
    broken_definitions_are_reported_by_their_user,
    a_broken_realm_file_is_reported,
    want_of_memory_is_told_as_such,
    a_taken_port_names_its_owner,
    a_stuck_probe_runs_out_of_time,
    a_container_that_ends_at_once_is_seen_at_once,
];

/// The texts of a list in a report.
fn texts(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect()
}

async fn a_component_that_exits_is_reported_and_its_data_stays() {
    let project = Project::new("exits");
    project.up(&["--only", "postgres"]).ok();
    project.leave_mark();
    let before = project.found().await;

    let nonsense = &[
        "--only",
        "postgres",
        "--set",
        "postgres.settings.shared_buffers=nonsense",
    ];
    let output = project
        .up(&[nonsense, &["--progress", "json"][..]].concat())
        .run()
        .exits(4);
    let failure = output.failure();
    assert_eq!(failure["name"], "postgres", "{output}");
    assert_eq!(failure["state"], "exited", "{output}");
    assert_eq!(failure["exit_code"], 1, "{output}");
    assert_eq!(failure["out_of_memory"], false, "{output}");
    let log = texts(&failure["log"]).join("\n");
    assert!(
        log.contains("invalid value for parameter \"shared_buffers\""),
        "{output}"
    );
    assert_eq!(texts(&failure["blocks"]), ["database"], "{output}");
    assert!(
        texts(&failure["next"]).contains(&"dm logs postgres"),
        "{output}"
    );

    // For a person, all of it in one report.
    let output = project.up(nonsense).run().exits(4);
    for part in [
        "postgres failed",
        "exit code",
        "invalid value for parameter",
        "blocks",
        "database",
        "dm logs postgres",
    ] {
        assert!(
            output.stderr.contains(part),
            "stderr lacks {part:?}\n{output}"
        );
    }
    let after = project.found().await;
    after.assert_consistent();
    assert_eq!(after.volumes, before.volumes);
    // The container is still there to be looked at.
    project
        .dm(&["logs", "postgres"])
        .ok()
        .shows("invalid value for parameter");

    project.up(&["--only", "postgres"]).ok();
    assert!(project.has_mark());
}

async fn broken_definitions_are_reported_by_their_user() {
    let project = Project::new("definitions");
    let path = "fixtures/rabbitmq/definitions.json";
    project.edit(path, |text| text.replacen('{', "{,", 1));
    project
        .up(&["--only", "rabbitmq"])
        .run()
        .exits(2)
        .tells("definitions.json");
    assert!(project.found().await.names().is_empty());

    // Well-formed, and yet the broker can't take it.
    project.restore();
    project.edit(path, |text| {
        text.replacen(
            "\"destination\": \"inventory.order-events.q\"",
            "\"destination\": \"vance.refrigeration.q\"",
            1,
        )
    });
    let output = project
        .up(&["--only", "rabbitmq", "--progress", "json"])
        .run()
        .exits(4);
    let failure = output.failure();
    assert_eq!(failure["name"], "rabbitmq", "{output}");
    assert_ne!(failure["exit_code"], 0, "{output}");
    let log = texts(&failure["log"]).join("\n");
    assert!(log.contains("vance.refrigeration.q"), "{output}");

    project.restore();
    project.up(&["--only", "rabbitmq"]).ok();
}

async fn a_broken_realm_file_is_reported() {
    let project = Project::new("realm");
    project.edit("fixtures/keycloak/scranton-branch-realm.json", |text| {
        text.replacen("\"enabled\": true", "\"enabled\": \"certainly\"", 1)
    });
    let output = project
        .up(&["--only", "keycloak", "--progress", "json"])
        .run()
        .exits(4);
    let failure = output.failure();
    assert_eq!(failure["name"], "keycloak", "{output}");
    let log = texts(&failure["log"]).join("\n");
    assert!(
        log.contains("certainly") || log.contains("realm"),
        "{output}"
    );
    // What had nothing to do with it goes on.
    let found = project.found().await;
    assert_eq!(found.container("postgres").state, "running");

    project.restore();
    project.up(&["--only", "keycloak"]).ok();
}

async fn want_of_memory_is_told_as_such() {
    let project = Project::new("memory");
    let output = project
        .up(&[
            "--only",
            "rabbitmq",
            "--set",
            "rabbitmq.memory=64MiB",
            "--progress",
            "json",
        ])
        .run()
        .exits(4);
    let failure = output.failure();
    assert_eq!(failure["name"], "rabbitmq", "{output}");
    // The engine's own word for it can be missing: it depends on which event comes first.
    assert_eq!(failure["exit_code"], 137, "{output}");
    assert!(
        failure["what"].as_str().unwrap().contains("memory"),
        "{output}"
    );
    assert!(
        texts(&failure["next"])
            .iter()
            .any(|next| next.contains("rabbitmq.memory")),
        "{output}"
    );
    project.up(&["--only", "rabbitmq"]).ok();
}

async fn a_taken_port_names_its_owner() {
    let project = Project::new("port");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let set = format!("openldap.port={port}");
    let output = project
        .dm(&["up", "--only", "openldap", "--set", &set])
        .run()
        .exits(2);
    let owner = format!("(pid {})", std::process::id());
    for part in ["openldap", &port.to_string(), &owner, "dm up --ports auto"] {
        assert!(
            output.stderr.contains(part),
            "stderr lacks {part:?}\n{output}"
        );
    }
    assert!(
        project.found().await.names().is_empty(),
        "something was made"
    );

    project.up(&["--only", "openldap", "--set", &set]).ok();
    assert_ne!(project.port("openldap"), port);

    // As soon as it is free, it is the one that was asked for.
    project.dm(&["down", "--volumes"]).ok();
    drop(listener);
    project
        .dm(&["up", "--only", "openldap", "--set", &set])
        .ok();
    assert_eq!(project.port("openldap"), port);
}

async fn a_stuck_probe_runs_out_of_time() {
    let project = Project::new("stuck");
    let running = project
        .up(&[
            "--only",
            "rabbitmq",
            "--wait-timeout",
            "8s",
            "--progress",
            "json",
        ])
        .spawn();
    let started =
        running.sees_event(|event| event["name"] == "rabbitmq" && event["state"] == "starting");
    assert!(started, "{}", running.wait());
    let id = project.found().await.container("rabbitmq").id.clone();
    let engine = Engine::connect();
    engine.0.pause_container(&id).await.unwrap();

    let output = running.wait().exits(5);
    let failure = output.failure();
    assert_eq!(failure["name"], "rabbitmq", "{output}");
    assert!(failure["probe"].is_string(), "{output}");
    assert!(
        texts(&failure["next"])
            .iter()
            .any(|next| next.contains("--wait-timeout")),
        "{output}"
    );

    project.up(&["--only", "rabbitmq"]).ok();
    let after = project.found().await.container("rabbitmq").clone();
    assert_eq!((after.id, after.state.as_str()), (id, "running"));
}

async fn a_container_that_ends_at_once_is_seen_at_once() {
    let project = Project::new("killed");
    let running = project
        .up(&["--only", "rabbitmq", "--progress", "json"])
        .spawn();
    let started =
        running.sees_event(|event| event["name"] == "rabbitmq" && event["state"] == "starting");
    assert!(started, "{}", running.wait());
    let engine = Engine::connect();
    let id = project.found().await.container("rabbitmq").id.clone();
    engine.0.kill_container(&id, None).await.unwrap();
    // Not 5: it does not wait until the time is up.
    let output = running.wait().exits(4);
    let failure = output.failure();
    assert_eq!(failure["exit_code"], 137, "{output}");
    assert_eq!(failure["out_of_memory"], false, "{output}");
    project.up(&["--only", "rabbitmq"]).ok();
}
