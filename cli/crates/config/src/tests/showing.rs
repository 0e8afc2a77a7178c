//! What `dm config show` shows.

use dm_core::error::Coded;

use super::Project;
use crate::ConfigError;

fn project() -> Project {
    Project::new("[postgres]\nport = 5433\n[postgres.settings]\nmax_connections = 200\n")
        .local("[images]\nmaven_mirror = \"https://jim:halpert@mirror.example/maven\"\n")
        .variable("DM_POSTGRES__PASSWORD", "s3cret")
        .set("timeouts.wait=60s")
}

fn lines(key: Option<&str>, reveal: bool) -> String {
    let entries = project().loaded().show(key, reveal).unwrap();
    let line = |entry: &crate::Entry| {
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
fn a_section_with_its_origins() {
    insta::assert_snapshot!(lines(Some("postgres"), false), @r#"
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
fn one_key() {
    insta::assert_snapshot!(lines(Some("timeouts.wait"), false), @r#"timeouts.wait = "60s" (flag --set)"#);
}

#[test]
fn secrets_are_shown_only_when_asked_for() {
    insta::assert_snapshot!(lines(Some("postgres.password"), true), @r#"postgres.password = "s3cret" (env DM_POSTGRES__PASSWORD)"#);
    assert!(!lines(None, false).contains("halpert"));
    assert!(lines(None, true).contains("halpert"));
}

#[test]
fn every_password_is_a_secret() {
    let entries = project().loaded().show(None, false).unwrap();
    for entry in entries {
        let last = entry.key.rsplit('.').next().unwrap_or_default();
        let is_password = last.ends_with("password") || last.ends_with("client_secret");
        assert_eq!(entry.secret, is_password, "{}", entry.key);
    }
}

#[test]
fn keys_without_a_value_are_shown_too() {
    assert!(lines(None, false).contains("engine.host = null ()\n"));
}

#[test]
fn json() {
    let entries = project()
        .loaded()
        .show(Some("timeouts.wait"), false)
        .unwrap();
    insta::assert_snapshot!(serde_json::to_string(&entries).unwrap(), @r#"[{"key":"timeouts.wait","value":"60s","origin":{"layer":"flag","flag":"--set"},"secret":false}]"#);
}

#[test]
fn an_unknown_key_gets_the_nearest() {
    for (wrong, right) in [
        ("postgres.prot", "postgres.port"),
        ("postgress", "postgres"),
        ("management_port", "rabbitmq.management_port"),
        ("services.oder", "services.order"),
    ] {
        let error = project().loaded().show(Some(wrong), false).unwrap_err();
        assert!(
            matches!(&error, ConfigError::NoSuchKey { nearest: Some(nearest), .. } if nearest == right),
            "{wrong}: {error:?}"
        );
        assert_eq!(error.next(), [format!("dm config show {right}")]);
    }
}
