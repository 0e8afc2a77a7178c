//! Which layer wins, how the project is found, what variables and flags mean.

use dm_core::error::{Coded, Exit};

use super::Project;
use crate::values::CaCertificates;
use crate::{Config, ConfigError, LoadOptions, Origin};

#[test]
fn an_empty_file_is_the_defaults() {
    let loaded = Project::new("").loaded();
    assert_eq!(loaded.config.postgres.port.get(), 5432);
    assert_eq!(loaded.origin("postgres.port"), Some(Origin::Default));
    assert_eq!(loaded.config.timeouts.poll.get().as_millis(), 75);
    assert!(loaded.warnings.is_empty());
}

#[test]
fn each_layer_wins_over_those_below() {
    let port = |project: &Project| {
        let loaded = project.loaded();
        let origin = loaded.origin("postgres.port").unwrap().to_string();
        (loaded.config.postgres.port.get(), origin)
    };
    let project = Project::new("[postgres]\nport = 1\n");
    assert_eq!(port(&project), (1, "dm.toml:2".into()));
    let project = project.local("\n\npostgres.port = 2\n");
    assert_eq!(port(&project), (2, "dm.local.toml:3".into()));
    let project = project.variable("DM_POSTGRES__PORT", "3");
    assert_eq!(port(&project), (3, "env DM_POSTGRES__PORT".into()));
    let project = project.set("postgres.port=4");
    assert_eq!(port(&project), (4, "flag --set".into()));
    let project = project.set("postgres.port=5");
    assert_eq!(port(&project), (5, "flag --set".into()));
}

#[test]
fn a_variable_of_a_service_keeps_its_capitals() {
    let loaded = Project::new("[services.order.environment]\nRETRIES = \"1\"\n")
        .variable("DM_SERVICES__ORDER__ENVIRONMENT__RETRIES", "2")
        .variable("DM_SERVICES__ORDER__ENVIRONMENT__LOG_LEVEL", "debug")
        .loaded();
    let environment = &loaded.config.services.order.environment;
    let found: Vec<_> = environment
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(found, ["LOG_LEVEL=debug", "RETRIES=2"]);
}

#[test]
fn a_flag_of_its_own_is_named_as_the_origin() {
    let mut project = Project::new("");
    let flag = crate::Override::flag("--wait-timeout", "timeouts.wait", "90s");
    project.overrides.push(flag);
    let loaded = project.loaded();
    assert_eq!(loaded.config.timeouts.wait.get().as_secs(), 90);
    let origin = loaded.origin("timeouts.wait").unwrap();
    assert_eq!(origin.to_string(), "flag --wait-timeout");
}

#[test]
fn strings_from_outside_stay_strings_where_strings_are_wanted() {
    let loaded = Project::new("")
        .variable("DM_POSTGRES__PASSWORD", "12345")
        .set("rabbitmq.password=true=yes")
        .loaded();
    assert_eq!(loaded.config.postgres.password.reveal(), "12345");
    assert_eq!(loaded.config.rabbitmq.password.reveal(), "true=yes");
}

#[test]
fn an_empty_variable_takes_back_an_optional_key() {
    let project = Project::new("[images]\nmirror = \"mirror.example:5000\"\n");
    assert!(project.loaded().config.images.mirror.is_some());
    let project = project.variable("DM_IMAGES__MIRROR", "");
    assert_eq!(project.loaded().config.images.mirror, None);
}

#[test]
fn credentials_may_come_from_two_layers() {
    let project =
        Project::new("[images.credentials]\nregistry = \"quay.io\"\nusername = \"jim\"\n")
            .variable("DM_IMAGES__CREDENTIALS__PASSWORD", "s3cret");
    let credentials = project.loaded().config.images.credentials.unwrap();
    assert_eq!(credentials.username.as_str(), "jim");
    assert_eq!(credentials.password.reveal(), "s3cret");
}

#[test]
fn certificates_are_a_word_or_a_list() {
    let certificates = |project: Project| project.loaded().config.images.extra_ca_certificates;
    let file = |text: &str| Project::new(&format!("images.extra_ca_certificates = {text}"));
    assert_eq!(certificates(file("\"host\"")), CaCertificates::Host);
    let listed = certificates(file("[\"a.pem\", \"b.pem\"]"));
    let split = Project::new("").variable("DM_IMAGES__EXTRA_CA_CERTIFICATES", "a.pem,b.pem");
    assert_eq!(listed, certificates(split));
    assert!(matches!(listed, CaCertificates::Files(files) if files.len() == 2));
}

#[test]
fn settings_of_an_extension_keep_their_dot() {
    let loaded = Project::new(
        "[postgres.settings]\nmax_connections = 200\nlog_statement = \"all\"\n\
         auto_explain.log_analyze = true\n",
    )
    .local("[postgres.settings]\nmax_connections = 300\n")
    .loaded();
    let settings: Vec<_> = loaded.config.postgres.settings.iter().collect();
    assert_eq!(
        settings,
        [
            ("auto_explain.log_analyze", "on"),
            ("log_statement", "all"),
            ("max_connections", "300"),
        ]
    );
}

#[test]
fn the_project_is_found_from_below() {
    let project = Project::new("");
    let below = project.root().join("services/order");
    std::fs::create_dir_all(&below).unwrap();
    let options = LoadOptions {
        current_dir: below.clone(),
        ..project.options()
    };
    let loaded = Config::load(&options, []).unwrap();
    assert_eq!(loaded.root, project.root());
    let fixture = loaded.config.openldap.ldif.in_project(&loaded.root);
    assert_eq!(fixture, project.root().join("fixtures/ldap"));
}

#[test]
fn the_project_can_be_named() {
    let project = Project::new("[postgres]\nport = 7\n");
    let elsewhere = tempfile::tempdir().unwrap();
    let by_flag = LoadOptions {
        project_dir: Some(project.root().to_owned()),
        current_dir: elsewhere.path().to_owned(),
        overrides: Vec::new(),
    };
    let loaded = Config::load(&by_flag, []).unwrap();
    assert_eq!(loaded.config.postgres.port.get(), 7);
    let by_variable = LoadOptions {
        project_dir: None,
        ..by_flag
    };
    let variable = ("DM_PROJECT_DIR".into(), project.root().into());
    let loaded = Config::load(&by_variable, [variable]).unwrap();
    assert_eq!(loaded.config.postgres.port.get(), 7);
}

#[test]
fn no_project_is_an_error_that_says_what_to_do() {
    let empty = tempfile::tempdir().unwrap();
    let options = LoadOptions {
        current_dir: empty.path().to_owned(),
        ..LoadOptions::default()
    };
    let error = Config::load(&options, []).unwrap_err();
    assert!(matches!(error, ConfigError::NoProject { .. }));
    assert_eq!(error.exit(), Exit::Usage);
    assert!(
        error
            .next()
            .iter()
            .any(|next| next.contains("--project-directory"))
    );

    let named = LoadOptions {
        project_dir: Some(empty.path().join("missing")),
        ..options
    };
    let error = Config::load(&named, []).unwrap_err();
    assert!(matches!(error, ConfigError::NotAProject { .. }));
}

#[test]
fn a_file_that_cannot_be_read_is_not_taken_for_none() {
    let project = Project::new("");
    std::fs::create_dir(project.root().join("dm.local.toml")).unwrap();
    let error = project.load().unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { .. }));
}

#[test]
fn variables_of_others_are_left_alone() {
    let loaded = Project::new("")
        .variable("DM_ASSUME_YES", "1")
        .variable("DM_PROJECT_DIR", "")
        .variable("PATH", "/bin")
        .variable("DM_UDEV_RULES", "1")
        .loaded();
    let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["unknown variable `DM_UDEV_RULES` is ignored"]);
}
