//! Secrets: who can see them, and what becomes of one that changes.

use bollard::query_parameters::InspectContainerOptions;

use crate::harness::{Engine, Project, shared};
use crate::secrets::{HARD, HARDEST};
use crate::test_list;

test_list![
    the_engine_shows_no_secret,
    changed_secrets_are_applied_to_the_data_there_is,
];

async fn the_engine_shows_no_secret() {
    let found = shared().project.found().await;
    let engine = Engine::connect();
    for (component, id) in found.ids() {
        let options = None::<InspectContainerOptions>;
        let inspected = engine.0.inspect_container(&id, options).await.unwrap();
        let shown = format!("{inspected:?}");
        // As Rust shows a text, and its plainest part.
        for secret in [HARD, HARDEST, "${HOME}b", "41@:/"] {
            let escaped = format!("{secret:?}");
            let escaped = escaped.trim_matches('"');
            assert!(!shown.contains(escaped), "{component}: {shown}");
        }
    }
}

async fn changed_secrets_are_applied_to_the_data_there_is() {
    let project = Project::new("secrets");
    project.up(&[]).ok();
    project.leave_mark();
    let changed = "ne$w \"p\\a${X} 🔑";
    let call = |arguments: &[&str]| {
        [
            "DM_POSTGRES__PASSWORD",
            "DM_RABBITMQ__PASSWORD",
            "DM_OPENLDAP__ADMIN_PASSWORD",
            "DM_KEYCLOAK__ADMIN_PASSWORD",
            "DM_KEYCLOAK__DATABASE_PASSWORD",
            "DM_KEYCLOAK__GATEWAY_CLIENT_SECRET",
            "DM_SERVICES__ORDER__DATABASE_PASSWORD",
            "DM_SERVICES__ORDER__BROKER_PASSWORD",
        ]
        .iter()
        .fold(project.dm(arguments), |call, name| call.env(name, changed))
    };
    let up = ["up", "--ports", "auto"];
    call(&up).ok().tells("it has the password of dm.toml now");
    assert!(project.has_mark());
    // By the directory, whose password Keycloak has, and by Keycloak's administrator.
    call(&["token", "jhalpert"]).ok();
    call(&["schema", "snapshot"]).ok();
    let secret = "SELECT secret FROM keycloak.client WHERE client_id = 'dunder-mifflin-gateway'";
    assert_eq!(project.sql(secret), changed);
    // A password that is changed by hand is not the one of the configuration.
    project.sql("ALTER ROLE keycloak PASSWORD 'threat level midnight'");
    call(&up).ok();
    call(&["restart", "keycloak"]).ok();
}
