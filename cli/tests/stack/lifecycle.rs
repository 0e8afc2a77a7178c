//! Tests of the life cycle of a stack: `up`, `down`, `restart` and `reset`.

use bollard::query_parameters::InspectContainerOptions;
use serde_json::json;

use crate::harness::project::row;
use crate::harness::{COMPONENTS, Engine, Project};
use crate::test_list;

test_list![
    stack_keeps_its_data_through_restart_and_down_until_reset,
    up_dry_run_prints_the_plan_and_changes_nothing,
    up_only_starts_the_named_component_and_its_dependencies,
    unknown_component_is_refused_with_a_suggestion,
];

async fn stack_keeps_its_data_through_restart_and_down_until_reset() {
    let project = Project::new("lifecycle");

    let output = project.up(&[]).ok();
    for component in COMPONENTS {
        let line = output.stdout.lines().find(|line| line.contains(component));
        let line = line.unwrap_or_else(|| panic!("{component} has no row\n{output}"));
        assert!(
            line.contains("ready") && line.contains("://"),
            "{line}\n{output}"
        );
    }
    let first = project.objects().await;
    first.assert_consistent();
    assert_eq!(first.containers.len(), 4);
    assert_eq!(first.networks.len(), 1);
    let engine = Engine::connect();
    for container in &first.containers {
        let host_addresses: Vec<&str> = container
            .host_addresses
            .iter()
            .map(String::as_str)
            .collect();
        assert_eq!(
            host_addresses,
            ["127.0.0.1"],
            "{} listens on another address",
            container.name
        );
        // Its log cannot fill the disk.
        let options = None::<InspectContainerOptions>;
        let inspected = engine.0.inspect_container(&container.id, options);
        let host = inspected.await.unwrap().host_config.unwrap_or_default();
        let log = host.log_config.and_then(|log| log.config);
        let log = log.unwrap_or_default();
        for (option, value) in [("max-size", "10m"), ("max-file", "3")] {
            let actual = log.get(option).map(String::as_str);
            assert_eq!(actual, Some(value), "{}: {log:?}", container.name);
        }
    }
    let status = project.status();
    assert_eq!(status["ok"], true);
    assert_eq!(status["instance"], "default");
    for component in COMPONENTS {
        let row = row(&status, component);
        assert_eq!(row["state"], "ready", "{row:#}");
        assert!(row["since_seconds"].is_u64(), "{row:#}");
    }

    // A second `up` changes nothing.
    let output = project.up(&["--progress", "json"]).ok();
    let events = output.events();
    for component in COMPONENTS {
        assert!(
            events.iter().any(|event| event["name"] == component
                && event["state"] == "ready"
                && event["unchanged"] == true),
            "{component} was not left unchanged\n{output}"
        );
    }
    assert_eq!(project.objects().await, first);
    let plan = project
        .dm(&["up", "--dry-run", "--json"])
        .ok()
        .document("dm.plan/1");
    assert!(
        plan["plan"].as_array().is_some_and(
            |steps| steps.len() == 4 && steps.iter().all(|step| step["action"] == "keep")
        ),
        "{plan:#}"
    );

    // A restart keeps the data.
    project.write_marker();
    project.dm(&["restart", "openldap"]).ok();
    let restarted = project.objects().await;
    assert_eq!(restarted.ids(), first.ids());
    assert!(project.has_marker());

    // `down` and `up` again: new containers with the same data and the same ports.
    project
        .dm(&["down"])
        .ok()
        .stderr_contains("remove it: dm down --volumes");
    let remaining = project.objects().await;
    assert!(
        remaining.containers.is_empty() && remaining.networks.is_empty(),
        "{remaining:?}"
    );
    assert_eq!(remaining.volumes, first.volumes);
    let removed = project.dm(&["status", "--check", "--json"]).run().exits(1);
    assert_eq!(removed.document("dm.status/1")["ok"], false);
    project
        .dm(&["exec", "postgres", "true"])
        .run()
        .exits(4)
        .stderr_contains("dm up --only postgres");
    project.up(&[]).ok();
    assert!(project.has_marker());
    let again = project.status();
    for component in COMPONENTS {
        assert_eq!(
            row(&again, component)["addresses"],
            row(&status, component)["addresses"]
        );
    }

    // A reset needs a confirmation, and then removes the data.
    project
        .dm(&["reset"])
        .run()
        .exits(2)
        .stderr_contains("run the command again with --yes");
    assert!(project.has_marker());
    project.dm(&["reset", "--yes"]).ok();
    assert!(!project.has_marker());
    assert_eq!(project.status()["ok"], true);

    // `down --volumes` removes everything, and can be repeated.
    project.dm(&["down", "--volumes"]).ok();
    assert!(project.objects().await.names().is_empty());
    project.dm(&["down", "--volumes"]).ok();
}

async fn up_dry_run_prints_the_plan_and_changes_nothing() {
    let project = Project::new("dry-run");
    let plan = project
        .dm(&["up", "--dry-run", "--json"])
        .ok()
        .document("dm.plan/1");
    let actions: Vec<_> = plan["plan"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| (step["node"].clone(), step["action"].clone()))
        .collect();
    assert_eq!(
        actions,
        COMPONENTS.map(|component| (json!(component), json!("create")))
    );
    assert!(project.objects().await.names().is_empty());

    project.up(&["--only", "openldap"]).ok();
    let before = project.objects().await;
    let output = project
        .dm(&[
            "up",
            "--dry-run",
            "--only",
            "openldap",
            "--set",
            "openldap.organisation=Michael Scott Paper Company",
        ])
        .ok();
    let line = output.stdout.lines().find(|line| line.contains("openldap"));
    let line = line.unwrap_or_else(|| panic!("openldap has no line\n{output}"));
    assert!(
        line.contains("recreate") && line.contains("its definition has changed"),
        "{output}"
    );
    assert_eq!(project.objects().await, before);
}

async fn up_only_starts_the_named_component_and_its_dependencies() {
    let project = Project::new("only");
    project.up(&["--only", "postgres"]).ok();
    let postgres = project.objects().await;
    assert_eq!(postgres.containers.len(), 1);
    assert_eq!(postgres.container("postgres").state, "running");

    let output = project
        .dm(&["up", "--dry-run", "--only", "keycloak", "--json"])
        .ok();
    let plan = output.document("dm.plan/1");
    let steps: Vec<_> = plan["plan"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| (step["node"].clone(), step["action"].clone()))
        .collect();
    assert_eq!(
        steps,
        [
            (json!("postgres"), json!("keep")),
            // Keycloak needs the directory for signing in.
            (json!("openldap"), json!("create")),
            (json!("keycloak"), json!("create"))
        ]
    );

    // Containers that exist and are not named are left alone.
    project.up(&["--only", "openldap"]).ok();
    let both = project.objects().await;
    assert_eq!(both.ids()["postgres"], postgres.ids()["postgres"]);
    assert_eq!(both.containers.len(), 2);
}

async fn unknown_component_is_refused_with_a_suggestion() {
    let project = Project::new("unknown");
    for command in [
        &["up", "--ports", "auto", "--only", "postgers"][..],
        &["logs", "postgers"],
        &["exec", "postgers", "true"],
    ] {
        project
            .dm(command)
            .run()
            .exits(2)
            .stderr_contains("did you mean `postgres`?");
    }
    assert!(project.objects().await.names().is_empty());
}
