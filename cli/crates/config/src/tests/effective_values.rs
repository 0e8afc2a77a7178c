//! Tests of the effective values that `dm config show` prints.

use dm_core::error::UserError;

use super::TestProject;
use crate::ConfigError;

fn project() -> TestProject {
    TestProject::new("[postgres]\nport = 5433\n[postgres.settings]\nmax_connections = 200\n")
        .with_local_config(
            "[images]\nmaven_mirror = \"https://jim:halpert@mirror.example/maven\"\n",
        )
        .with_variable("DM_POSTGRES__PASSWORD", "s3cret")
        .with_override("timeouts.wait=60s")
}

fn format_entries(key: Option<&str>, reveal: bool) -> String {
    let entries = project()
        .load_valid()
        .effective_values(key, reveal)
        .unwrap();
    let line = |entry: &crate::EffectiveValue| {
        let origin = entry.origin.as_ref().map(ToString::to_string);
        format!(
            "{} = {} ({})\n",
            entry.key,
            entry.value,
            origin.unwrap_or_default()
        )
    };
    entries.iter().map(line).collect()
}

#[test]
fn effective_values_of_a_section_have_their_origins() {
    insta::assert_snapshot!(format_entries(Some("postgres"), false), @r#"
    postgres.image = "postgres:17" (default)
    postgres.port = 5433 (dm.toml:2)
    postgres.database = "dundermifflin" (default)
    postgres.user = "dundermifflin" (default)
    postgres.password = "***" (env DM_POSTGRES__PASSWORD)
    postgres.settings.max_connections = 200 (dm.toml:4)
    postgres.memory = null ()
    postgres.wait_timeout = null ()
    "#);
}

#[test]
fn effective_values_of_one_key_are_one_entry() {
    insta::assert_snapshot!(format_entries(Some("timeouts.wait"), false), @r#"timeouts.wait = "60s" (flag --set)"#);
}

#[test]
fn secrets_are_shown_only_with_reveal() {
    insta::assert_snapshot!(format_entries(Some("postgres.password"), true), @r#"postgres.password = "s3cret" (env DM_POSTGRES__PASSWORD)"#);
    assert!(!format_entries(None, false).contains("halpert"));
    assert!(format_entries(None, true).contains("halpert"));
}

#[test]
fn every_password_is_a_secret() {
    let entries = project()
        .load_valid()
        .effective_values(None, false)
        .unwrap();
    for entry in entries {
        let last = entry.key.rsplit('.').next().unwrap_or_default();
        let is_password = last.ends_with("password") || last.ends_with("client_secret");
        assert_eq!(entry.secret, is_password, "{}", entry.key);
    }
}

#[test]
fn key_without_a_value_is_null() {
    assert!(format_entries(None, false).contains("engine.host = null ()\n"));
}

#[test]
fn effective_value_is_serialized_with_its_origin() {
    let entries = project()
        .load_valid()
        .effective_values(Some("timeouts.wait"), false)
        .unwrap();
    insta::assert_snapshot!(serde_json::to_string(&entries).unwrap(), @r#"[{"key":"timeouts.wait","value":"60s","origin":{"layer":"flag","flag":"--set"},"secret":false}]"#);
}

#[test]
fn values_of_flags_and_variables_have_the_type_of_their_key() {
    let loaded = TestProject::new("")
        .with_variable("DM_SERVICES__ORDER__RUN", "false")
        .with_variable("DM_KEYCLOAK__REALM", "17")
        .with_override("postgres.port=5433")
        .with_override("postgres.settings.max_connections=200")
        .with_override("images.extra_ca_certificates=ca.pem, other.pem")
        .with_override("postgres.password=12345")
        .load_valid();
    for (key, expected) in [
        ("services.order.run", serde_json::json!(false)),
        ("keycloak.realm", "17".into()),
        ("postgres.port", 5433.into()),
        // A setting is a text, whatever PostgreSQL takes it for.
        ("postgres.settings.max_connections", "200".into()),
        (
            "images.extra_ca_certificates",
            vec!["ca.pem", "other.pem"].into(),
        ),
        ("postgres.password", "***".into()),
    ] {
        let entries = loaded.effective_values(Some(key), false).unwrap();
        assert_eq!(entries[0].value, expected, "{key}");
    }
    let revealed = loaded.effective_values(Some("postgres.password"), true);
    assert_eq!(revealed.unwrap()[0].value, "12345");
}

#[test]
fn unknown_key_suggests_the_most_similar_one() {
    for (wrong, expected) in [
        ("postgres.prot", "postgres.port"),
        ("postgress", "postgres"),
        ("management_port", "rabbitmq.management_port"),
        ("services.oder", "services.order"),
    ] {
        let error = project()
            .load_valid()
            .effective_values(Some(wrong), false)
            .unwrap_err();
        assert!(
            matches!(&error, ConfigError::UnknownKey { suggestion: Some(suggestion), .. } if suggestion == expected),
            "{wrong}: {error:?}"
        );
        assert_eq!(error.suggestions(), [format!("dm config show {expected}")]);
    }
}
