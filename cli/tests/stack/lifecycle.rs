//! From nothing to a stack and back: `up`, `down`, `restart`, `reset`.

use serde_json::json;

use crate::harness::project::row;
use crate::harness::{COMPONENTS, Project};
use crate::test_list;

test_list![
    a_stack_from_its_first_start_to_its_last,
    a_dry_run_tells_and_changes_nothing,
    only_what_is_named_and_what_it_needs_comes_up,
    an_unknown_component_is_refused_with_the_nearest_name,
];

async fn a_stack_from_its_first_start_to_its_last() {
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
    let first = project.found().await;
    first.assert_consistent();
    assert_eq!(first.containers.len(), 4);
    assert_eq!(first.networks.len(), 1);
    for container in &first.containers {
        let bound: Vec<&str> = container.bound.iter().map(String::as_str).collect();
        assert_eq!(bound, ["127.0.0.1"], "{} listens elsewhere", container.name);
    }
    let status = project.status();
    assert_eq!(status["ok"], true);
    assert_eq!(status["instance"], "default");
    for component in COMPONENTS {
        let row = row(&status, component);
        assert_eq!(row["state"], "ready", "{row:#}");
        assert!(row["since_seconds"].is_u64(), "{row:#}");
    }

    // Again: everything stays as it is.
    let output = project.up(&["--progress", "json"]).ok();
    let events = output.events();
    for component in COMPONENTS {
        assert!(
            events.iter().any(|event| event["name"] == component
                && event["state"] == "ready"
                && event["kept"] == true),
            "{component} was not kept\n{output}"
        );
    }
    assert_eq!(project.found().await, first);
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
    project.leave_mark();
    project.dm(&["restart", "openldap"]).ok();
    let restarted = project.found().await;
    assert_eq!(restarted.ids(), first.ids());
    assert!(project.has_mark());

    // Down and up again: new containers, the same data and the same ports.
    project
        .dm(&["down"])
        .ok()
        .tells("dm down --volumes removes it");
    let left = project.found().await;
    assert!(
        left.containers.is_empty() && left.networks.is_empty(),
        "{left:?}"
    );
    assert_eq!(left.volumes, first.volumes);
    let gone = project.dm(&["status", "--check", "--json"]).run().exits(1);
    assert_eq!(gone.document("dm.status/1")["ok"], false);
    project
        .dm(&["exec", "postgres", "true"])
        .run()
        .exits(4)
        .tells("dm up --only postgres");
    project.up(&[]).ok();
    assert!(project.has_mark());
    let again = project.status();
    for component in COMPONENTS {
        assert_eq!(
            row(&again, component)["addresses"],
            row(&status, component)["addresses"]
        );
    }

    // A reset asks first, and then gives a fresh state.
    project
        .dm(&["reset"])
        .run()
        .exits(2)
        .tells("call the same command again with --yes");
    assert!(project.has_mark());
    project.dm(&["reset", "--yes"]).ok();
    assert!(!project.has_mark());
    assert_eq!(project.status()["ok"], true);

    // Down with everything, twice.
    project.dm(&["down", "--volumes"]).ok();
    assert!(project.found().await.names().is_empty());
    project.dm(&["down", "--volumes"]).ok();
}

async fn a_dry_run_tells_and_changes_nothing() {
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
    assert!(project.found().await.names().is_empty());

    project.up(&["--only", "openldap"]).ok();
    let before = project.found().await;
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
    let line = line.unwrap_or_else(|| panic!("no line\n{output}"));
    assert!(
        line.contains("recreate") && line.contains("its definition changed"),
        "{output}"
    );
    assert_eq!(project.found().await, before);
}

async fn only_what_is_named_and_what_it_needs_comes_up() {
    let project = Project::new("only");
    project.up(&["--only", "postgres"]).ok();
    let postgres = project.found().await;
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
            // Nobody could sign in without it.
            (json!("openldap"), json!("create")),
            (json!("keycloak"), json!("create"))
        ]
    );

    // What is there and wasn't named stays.
    project.up(&["--only", "openldap"]).ok();
    let both = project.found().await;
    assert_eq!(both.ids()["postgres"], postgres.ids()["postgres"]);
    assert_eq!(both.containers.len(), 2);
}

async fn an_unknown_component_is_refused_with_the_nearest_name() {
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
            .tells("did you mean `postgres`?");
    }
    assert!(project.found().await.names().is_empty());
}
