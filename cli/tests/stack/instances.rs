//! Tests of several instances at the same time.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde_json::Value;

use crate::harness::engine::Container;
use crate::harness::project::{port, row};
use crate::harness::{COMPONENTS, Project};
use crate::test_list;

test_list![
    four_instances_run_independently_and_one_can_be_removed,
    commands_on_an_unknown_instance_reach_no_other_instance,
    rebuild_of_a_new_instance_allocates_free_ports,
    reset_and_restore_of_a_new_instance_leave_the_default_one_unchanged,
    commands_on_a_stopped_instance_fail_and_name_it,
    hints_repeat_the_instance_and_the_directory,
];

/// Returns the id of the key that signed an access token.
fn key_id(token: &Value) -> String {
    let token = token["access_token"].as_str().unwrap();
    let header = token.split('.').next().unwrap();
    let header = BASE64URL.decode(header).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

const INSTANCES: [&str; 4] = ["scranton", "stamford", "utica", "nashua"];

async fn four_instances_run_independently_and_one_can_be_removed() {
    let project = Project::new("instances");
    let starting: Vec<_> = INSTANCES
        .iter()
        // Four Keycloaks that start at once on a small machine need several minutes.
        .map(|name| project.dm_on(name, &["up", "--wait-timeout", "10m"]))
        .map(|dm| dm.timeout(std::time::Duration::from_secs(700)).spawn())
        .collect();
    for running in starting {
        running.wait().exits(0);
    }

    let (mut ports, mut keys) = (BTreeSet::new(), BTreeSet::new());
    for name in INSTANCES {
        let status = project
            .dm_on(name, &["status", "--json"])
            .ok()
            .document("dm.status/1");
        assert_eq!(status["instance"], name);
        assert_eq!(status["ok"], true, "{status:#}");
        for component in COMPONENTS {
            assert!(
                ports.insert(port(&status, component, 0)),
                "a port is used twice: {status:#}"
            );
        }
        assert!(
            ports.insert(port(&status, "rabbitmq", 1)),
            "a port is used twice: {status:#}"
        );

        // Every command uses the servers of its instance.
        let sql = format!("CREATE TABLE public.branch AS SELECT '{name}' AS name");
        project.dm_on(name, &["psql", "-c", &sql]).ok();
        let token = project.dm_on(name, &["token", "jhalpert", "--json"]).ok();
        let token = token.document("dm.token/1");
        // Golden images contain no signing key: an instance accepts no token of another one.
        assert!(
            keys.insert(key_id(&token)),
            "a signing key is used twice: {token:#}"
        );
        // Nor has Keycloak created keys during the requests.
        let sql = "SELECT count(*) FROM keycloak.component WHERE name LIKE 'fallback-%'";
        let output = project.dm_on(name, &["psql", "-c", sql, "--", "-tA"]).ok();
        assert_eq!(output.text(), "0");
        let issuer = token["claims"]["iss"].clone();
        let keycloak = row(&status, "keycloak")["addresses"][0].clone();
        assert_eq!(issuer, keycloak);
    }
    for name in INSTANCES {
        let sql = "SELECT name FROM public.branch";
        let output = project.dm_on(name, &["psql", "-c", sql, "--", "-tA"]).ok();
        assert_eq!(output.text(), name);
    }
    let before = project.objects().await;
    before.assert_consistent();
    assert_eq!(before.containers.len(), 16);

    let (removed, remaining) = INSTANCES.split_first().unwrap();
    project.dm_on(removed, &["down", "--volumes"]).ok();
    let after = project.objects().await;
    let belongs_to_removed = |name: &str| name.contains(&format!("-{removed}-"));
    let expected: Vec<_> = before
        .containers
        .iter()
        .filter(|container| !belongs_to_removed(&container.name))
        .cloned()
        .collect();
    assert_eq!(after.containers, expected);
    assert_eq!(after.networks.len(), 3);
    assert_eq!(after.volumes.len(), 9);
    for name in remaining {
        project.dm_on(name, &["status", "--check"]).ok();
    }
}

/// The ports of `dm.toml` belong to the default instance. A mistyped name must not lead there.
async fn commands_on_an_unknown_instance_reach_no_other_instance() {
    let project = Project::new("unknown-instance");
    project.up(&["--only", "postgres,rabbitmq"]).ok();
    let before = project.objects().await;
    for arguments in [
        &["outbox", "stats"][..],
        &["dlq", "purge", "--copy", "letters.jsonl", "--yes"],
        &["psql", "-c", "SELECT 1"],
        &["token", "jhalpert"],
        &["open", "rabbitmq", "--print"],
        &["reconcile"],
        &["backup", "create"],
        &["chaos", "disconnect"],
        &["restart"],
        &["restart", "postgres"],
    ] {
        project
            .dm_on("typo", arguments)
            .run()
            .exits(4)
            .stderr_contains("not running")
            .stderr_contains("dm --instance typo up");
    }
    let after = project.objects().await;
    assert_eq!(after.containers, before.containers);
    assert_eq!(after.volumes, before.volumes);
}

/// The first port of instances other than the default one.
const FIRST_FREE_PORT: u16 = 20_000;

/// Starts servers of the default instance, and sets the ports of `dm.toml` to theirs: another
/// instance with these ports would reach them. Returns the ports.
#[track_caller]
fn start_default_instance(project: &Project) -> BTreeSet<u16> {
    project.up(&["--only", "postgres,rabbitmq"]).ok();
    project.write_marker();
    let status = project.status();
    let ports = [
        ("#port = 5432", "port", port(&status, "postgres", 0)),
        ("#port = 5672", "port", port(&status, "rabbitmq", 0)),
        (
            "#management_port = 15672",
            "management_port",
            port(&status, "rabbitmq", 1),
        ),
    ];
    for (line, key, port) in ports {
        project.edit("dm.toml", |text| {
            text.replace(line, &format!("{key} = {port}"))
        });
    }
    ports.map(|(_, _, port)| port).into()
}

/// Returns the containers of the default instance.
async fn default_containers(project: &Project) -> Vec<Container> {
    let mut containers = project.objects().await.containers;
    containers.retain(|container| container.name.contains("-default-"));
    containers
}

/// A rebuild allocates the ports before it compiles. The sources of this project do not compile.
async fn rebuild_of_a_new_instance_allocates_free_ports() {
    let project = Project::new("new-rebuild");
    let default_ports = start_default_instance(&project);
    let before = project.objects().await;
    // Without this file, cargo would compile the workspace that contains the test's directory.
    std::fs::write(project.root().join("Cargo.toml"), "[workspace]\n").unwrap();
    project.dm_on("fresh", &["rebuild"]).run().exits(4);
    let page = project
        .dm_on("fresh", &["open", "rabbitmq", "--print"])
        .ok();
    let address = url::Url::parse(page.text()).unwrap();
    let port = address.port().unwrap();
    assert!(
        port >= FIRST_FREE_PORT && !default_ports.contains(&port),
        "{page}"
    );
    assert_eq!(project.objects().await, before);
    assert!(project.has_marker());
}

async fn reset_and_restore_of_a_new_instance_leave_the_default_one_unchanged() {
    let project = Project::new("new-reset");
    let default_ports = start_default_instance(&project);
    let before = default_containers(&project).await;
    let assert_has_free_ports = |components: &[&str]| {
        let status = project
            .dm_on("fresh", &["status", "--json"])
            .ok()
            .document("dm.status/1");
        for component in components {
            let port = port(&status, component, 0);
            assert!(
                port >= FIRST_FREE_PORT && !default_ports.contains(&port),
                "{component} has port {port}: {status:#}"
            );
        }
    };

    project.dm_on("fresh", &["reset", "--yes"]).ok();
    assert_has_free_ports(&COMPONENTS);
    project.dm_on("fresh", &["backup", "create"]).ok();

    // Without its data, the instance has no ports. Its backups stay.
    project.dm_on("fresh", &["down", "--volumes"]).ok();
    project
        .dm_on("fresh", &["backup", "restore", "--yes"])
        .run()
        .exits(4)
        .stderr_contains("instance fresh is not running")
        .stderr_contains("dm --instance fresh up");
    // To complete a restore, the servers are started.
    project
        .dm_on("fresh", &["backup", "restore", "--resume"])
        .run()
        .exits(2)
        .stderr_contains("there is no unfinished restore");
    assert_has_free_ports(&["postgres", "rabbitmq", "openldap"]);

    assert_eq!(default_containers(&project).await, before);
    assert!(project.has_marker());
}

async fn commands_on_a_stopped_instance_fail_and_name_it() {
    let project = Project::new("stopped-instance");
    let dm = |arguments: &[&str]| project.dm_on("branch", arguments);
    dm(&["up", "--only", "postgres,rabbitmq"]).ok();
    dm(&["chaos", "kill", "rabbitmq"]).ok();
    dm(&["dlq", "ls"])
        .run()
        .exits(4)
        .stderr_contains("could not connect to the broker: rabbitmq is not running")
        .stderr_contains("dm --instance branch up");
    dm(&["down"]).ok();
    for (arguments, server) in [
        (&["outbox", "stats"][..], "the database"),
        (&["inbox", "stats"], "the database"),
        (&["reconcile"], "the database"),
        (&["dlq", "parked"], "the database"),
        (&["backup", "create"], "the database"),
        (&["schema", "snapshot", "--dir", "schemas"], "the database"),
        (&["schema", "diff", "migrations", "live"], "the database"),
        (&["dlq", "ls"], "the broker"),
    ] {
        dm(arguments)
            .run()
            .exits(4)
            .stderr_contains(&format!(
                "could not connect to {server}: the instance is stopped"
            ))
            .stderr_contains("dm --instance branch up");
    }
}

/// A hint that is copied must act on the same instance and on the same directory.
async fn hints_repeat_the_instance_and_the_directory() {
    let project = Project::new("hints");
    let dm = |arguments: &[&str]| project.dm_on("branch", arguments);
    dm(&["up", "--only", "postgres"]).ok();
    // There is no backup scheduler: the suite disables it.
    dm(&["status"])
        .env("DM_BACKUP__EVERY", "1d")
        .ok()
        .stderr_contains("the container `backup` is not running: dm --instance branch up");
    dm(&["backup", "restore", "--dir", "my backups", "--yes"])
        .run()
        .exits(2)
        .stderr_contains("dm --instance branch backup --dir 'my backups' create");
    dm(&["schema", "diff", "--dir", "my schemas"])
        .run()
        .exits(2)
        .stderr_contains("dm --instance branch schema snapshot --dir 'my schemas'");
}
