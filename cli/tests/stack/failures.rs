//! Tests of components that do not start: what is reported, and what is kept.

use std::net::TcpListener;

use serde_json::Value;

use crate::harness::{Engine, Project};
use crate::test_list;

test_list![
    component_that_exits_is_reported_and_keeps_its_data,
    invalid_rabbitmq_definitions_are_reported,
    invalid_realm_file_is_reported_by_keycloak,
    out_of_memory_exit_names_the_memory_setting,
    taken_port_is_reported_with_the_process_that_uses_it,
    paused_component_exceeds_the_wait_timeout,
    killed_container_and_refused_login_fail_up_before_the_wait_timeout,
];

/// Returns the texts of a list in a report.
fn texts(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect()
}

async fn component_that_exits_is_reported_and_keeps_its_data() {
    let project = Project::new("exits");
    project.up(&["--only", "postgres"]).ok();
    project.write_marker();
    let before = project.objects().await;

    let invalid_setting = &[
        "--only",
        "postgres",
        "--set",
        "postgres.settings.shared_buffers=nonsense",
    ];
    let output = project
        .up(&[invalid_setting, &["--progress", "json"][..]].concat())
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
    assert_eq!(texts(&failure["blocked_nodes"]), ["database"], "{output}");
    assert!(
        texts(&failure["next"]).contains(&"dm logs postgres"),
        "{output}"
    );

    // The text output contains all of it in one report.
    let output = project.up(invalid_setting).run().exits(4);
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
    let after = project.objects().await;
    after.assert_consistent();
    assert_eq!(after.volumes, before.volumes);
    // The container still exists, so its log can be read.
    project
        .dm(&["logs", "postgres"])
        .ok()
        .stdout_contains("invalid value for parameter");

    project.up(&["--only", "postgres"]).ok();
    assert!(project.has_marker());
}

async fn invalid_rabbitmq_definitions_are_reported() {
    let project = Project::new("definitions");
    let path = "fixtures/rabbitmq/definitions.json";
    project.edit(path, |text| text.replacen('{', "{,", 1));
    project
        .up(&["--only", "rabbitmq"])
        .run()
        .exits(2)
        .stderr_contains("definitions.json");
    assert!(project.objects().await.names().is_empty());

    // The file is valid JSON, but the broker cannot import it.
    project.restore_files();
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

    project.restore_files();
    project.up(&["--only", "rabbitmq"]).ok();
}

async fn invalid_realm_file_is_reported_by_keycloak() {
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
    // Keycloak exits with code 0, which is no reason.
    let message = failure["message"].as_str().unwrap();
    assert!(
        message.contains("could not import") && message.contains("keycloak.realm_file"),
        "{output}"
    );
    assert!(!message.contains("no reason logged"), "{output}");
    // Components that do not depend on Keycloak keep running.
    let objects = project.objects().await;
    assert_eq!(objects.container("postgres").state, "running");

    project.restore_files();
    project.up(&["--only", "keycloak"]).ok();
}

async fn out_of_memory_exit_names_the_memory_setting() {
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
    // The engine's flag for running out of memory is not checked: whether it is set depends on
    // the order of events.
    assert_eq!(failure["exit_code"], 137, "{output}");
    assert!(
        failure["message"].as_str().unwrap().contains("memory"),
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

async fn taken_port_is_reported_with_the_process_that_uses_it() {
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
        project.objects().await.names().is_empty(),
        "an object was created"
    );

    project.up(&["--only", "openldap", "--set", &set]).ok();
    assert_ne!(project.port("openldap"), port);

    // As soon as the configured port is free, it is used.
    project.dm(&["down", "--volumes"]).ok();
    drop(listener);
    project
        .dm(&["up", "--only", "openldap", "--set", &set])
        .ok();
    assert_eq!(project.port("openldap"), port);
}

async fn paused_component_exceeds_the_wait_timeout() {
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
        running.wait_for_event(|event| event["name"] == "rabbitmq" && event["state"] == "starting");
    assert!(started, "{}", running.wait());
    let id = project.objects().await.container("rabbitmq").id.clone();
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
    let after = project.objects().await.container("rabbitmq").clone();
    assert_eq!((after.id, after.state.as_str()), (id, "running"));
}

async fn killed_container_and_refused_login_fail_up_before_the_wait_timeout() {
    let project = Project::new("killed");
    let running = project
        .up(&["--only", "rabbitmq", "--progress", "json"])
        .spawn();
    let started =
        running.wait_for_event(|event| event["name"] == "rabbitmq" && event["state"] == "starting");
    assert!(started, "{}", running.wait());
    let engine = Engine::connect();
    let id = project.objects().await.container("rabbitmq").id.clone();
    engine.0.kill_container(&id, None).await.unwrap();
    // Exit code 5 would mean that `up` waited for the timeout.
    let output = running.wait().exits(4);
    let failure = output.failure();
    assert_eq!(failure["exit_code"], 137, "{output}");
    assert_eq!(failure["out_of_memory"], false, "{output}");
    project.up(&["--only", "rabbitmq"]).ok();

    // The password is changed by hand: the broker refuses the one of the configuration.
    let change_password = "rabbitmqctl change_password dunder 'threat level midnight'";
    project
        .dm(&["exec", "rabbitmq", "sh", "-c", change_password])
        .ok();
    let output = project
        .up(&["--only", "rabbitmq", "--progress", "json"])
        .run()
        .exits(4);
    let failure = output.failure();
    assert_eq!(failure["name"], "rabbitmq", "{output}");
    let message = failure["message"].as_str().unwrap();
    assert!(message.contains("rabbitmq.password"), "{output}");
    assert!(
        texts(&failure["next"])
            .iter()
            .any(|next| next.contains("dm restart rabbitmq")),
        "{output}"
    );
}
