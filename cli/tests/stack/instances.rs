//! Several stacks beside each other.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde_json::Value;

use crate::harness::project::{port, row};
use crate::harness::{COMPONENTS, Project};
use crate::test_list;

test_list![four_instances_at_once_and_one_goes];

/// Which key signed an access token.
fn key_id(token: &Value) -> String {
    let token = token["access_token"].as_str().unwrap();
    let header = token.split('.').next().unwrap();
    let header = BASE64URL.decode(header).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

const INSTANCES: [&str; 4] = ["scranton", "stamford", "utica", "nashua"];

async fn four_instances_at_once_and_one_goes() {
    let project = Project::new("instances");
    let starting: Vec<_> = INSTANCES
        .iter()
        // Four Keycloaks at once on a small machine take their time.
        .map(|name| project.dm_on(name, &["up", "--wait-timeout", "10m"]))
        .map(|dm| dm.patience(std::time::Duration::from_secs(700)).spawn())
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
                "a port twice: {status:#}"
            );
        }
        assert!(
            ports.insert(port(&status, "rabbitmq", 1)),
            "a port twice: {status:#}"
        );

        // Every command finds the instance's own servers.
        let sql = format!("CREATE TABLE public.branch AS SELECT '{name}' AS name");
        project.dm_on(name, &["psql", "-c", &sql]).ok();
        let token = project.dm_on(name, &["token", "jhalpert", "--json"]).ok();
        let token = token.document("dm.token/1");
        // Golden images hold no key: an instance takes no token of another one.
        assert!(
            keys.insert(key_id(&token)),
            "a signing key twice: {token:#}"
        );
        let issuer = token["claims"]["iss"].clone();
        let keycloak = row(&status, "keycloak")["addresses"][0].clone();
        assert_eq!(issuer, keycloak);
    }
    for name in INSTANCES {
        let sql = "SELECT name FROM public.branch";
        let found = project.dm_on(name, &["psql", "-c", sql, "--", "-tA"]).ok();
        assert_eq!(found.text(), name);
    }
    let before = project.found().await;
    before.assert_consistent();
    assert_eq!(before.containers.len(), 16);

    let (gone, stay) = INSTANCES.split_first().unwrap();
    project.dm_on(gone, &["down", "--volumes"]).ok();
    let after = project.found().await;
    let of_gone = |name: &str| name.contains(&format!("-{gone}-"));
    let expected: Vec<_> = before
        .containers
        .iter()
        .filter(|it| !of_gone(&it.name))
        .cloned()
        .collect();
    assert_eq!(after.containers, expected);
    assert_eq!(after.networks.len(), 3);
    assert_eq!(after.volumes.len(), 9);
    for name in stay {
        project.dm_on(name, &["status", "--check"]).ok();
    }
}
