//! Tests of several instances at the same time.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde_json::Value;

use crate::harness::project::{port, row};
use crate::harness::{COMPONENTS, Project};
use crate::test_list;

test_list![
    four_instances_run_independently_and_one_can_be_removed,
    commands_on_an_unknown_instance_reach_no_other_instance,
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
