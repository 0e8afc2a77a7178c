//! Tests of secrets: they are not visible in the engine, and changed ones are applied.

use bollard::query_parameters::InspectContainerOptions;
use serde_json::Value;

use crate::harness::servers::http;
use crate::harness::{Engine, Project, shared};
use crate::secrets::{HARD, HARDEST};
use crate::test_list;

test_list![
    container_inspection_shows_no_secret,
    up_applies_changed_secrets_to_existing_data,
];

async fn container_inspection_shows_no_secret() {
    let objects = shared().project.objects().await;
    let engine = Engine::connect();
    for (component, id) in objects.ids() {
        let options = None::<InspectContainerOptions>;
        let inspected = engine.0.inspect_container(&id, options).await.unwrap();
        let text = format!("{inspected:?}");
        // The secrets as Rust prints them, and their plainest parts.
        for secret in [HARD, HARDEST, "${HOME}b", "41@:/"] {
            let escaped = format!("{secret:?}");
            let escaped = escaped.trim_matches('"');
            assert!(!text.contains(escaped), "{component}: {text}");
        }
    }
}

async fn up_applies_changed_secrets_to_existing_data() {
    let project = Project::new("secrets");
    project.up(&[]).ok();
    project.write_marker();
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
    call(&up)
        .ok()
        .stderr_contains("was replaced by the one from dm.toml");
    assert!(project.has_marker());
    // Signing in needs the directory, whose password Keycloak has; the snapshot needs Keycloak's
    // administrator.
    call(&["token", "jhalpert"]).ok();
    call(&["schema", "snapshot"]).ok();
    // Keycloak authenticates the client first, and then looks for the code.
    let keycloak = project.port("keycloak");
    assert_eq!(token_error(keycloak, changed).await, "invalid_grant");
    assert_eq!(token_error(keycloak, HARD).await, "unauthorized_client");
    // The secrets are not logged, whatever the server logs. Missing keys are created by a run that
    // changes nothing else, and by one that does.
    let remove_keys = "WITH key AS (SELECT id FROM keycloak.component WHERE provider_id IN ('rsa-generated', 'hmac-generated', 'aes-generated')), \
        configuration AS (DELETE FROM keycloak.component_config WHERE component_id IN (SELECT id FROM key)) \
        DELETE FROM keycloak.component WHERE id IN (SELECT id FROM key)";
    let all_keys = "aes-generated 2, hmac-generated-hs512 2, rsa-generated 2";
    let count_keys = || {
        project.sql(
            "SELECT string_agg(name || ' ' || count, ', ' ORDER BY name) FROM ( \
               SELECT name, count(*) FROM keycloak.component \
               WHERE provider_id IN ('rsa-generated', 'hmac-generated', 'aes-generated') \
               GROUP BY name) AS keys",
        )
    };
    project.sql("ALTER SYSTEM SET log_statement = 'all'");
    project.sql("SELECT pg_reload_conf()");
    project.sql(remove_keys);
    call(&up).ok();
    assert_eq!(count_keys(), all_keys);
    call(&up).ok();
    assert_eq!(count_keys(), all_keys);
    let log = call(&["logs", "postgres"]).ok();
    let log = log.text();
    assert!(log.contains("DELETE FROM keycloak.component"), "{log}");
    assert!(!log.contains(changed), "{log}");
    project.sql(remove_keys);
    // A password that was changed by hand is set to the one of the configuration again.
    project.sql("ALTER ROLE keycloak PASSWORD 'threat level midnight'");
    call(&up).ok();
    assert_eq!(count_keys(), all_keys);
    call(&["restart", "keycloak"]).ok();
}

/// Returns the error of the request of a token with an invalid code, as the gateway sends it.
async fn token_error(keycloak: u16, client_secret: &str) -> String {
    let url =
        format!("http://localhost:{keycloak}/realms/scranton-branch/protocol/openid-connect/token");
    let form = [
        ("grant_type", "authorization_code"),
        ("code", "invalid"),
        ("redirect_uri", "http://localhost/"),
        ("client_id", "dunder-mifflin-gateway"),
        ("client_secret", client_secret),
    ];
    let answer = http().post(url).form(&form).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    answer["error"].as_str().unwrap_or_default().to_owned()
}
