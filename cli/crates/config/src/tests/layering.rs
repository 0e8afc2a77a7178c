//! Tests of the precedence of layers, the search of the project, variables and flags.

use dm_core::error::{ExitStatus, UserError};

use super::TestProject;
use crate::values::CaCertificates;
use crate::{Config, ConfigError, LoadOptions, ValueOrigin};

#[test]
fn empty_file_yields_the_defaults() {
    let loaded = TestProject::new("").load_valid();
    assert_eq!(loaded.config.postgres.port.get(), 5432);
    assert_eq!(loaded.origin("postgres.port"), Some(ValueOrigin::Default));
    assert_eq!(
        loaded
            .config
            .timeouts
            .probe_interval
            .as_duration()
            .as_millis(),
        75
    );
    assert!(loaded.warnings.is_empty());
}

#[test]
fn each_layer_wins_over_the_lower_layers() {
    let port = |project: &TestProject| {
        let loaded = project.load_valid();
        let origin = loaded.origin("postgres.port").unwrap().to_string();
        (loaded.config.postgres.port.get(), origin)
    };
    let project = TestProject::new("[postgres]\nport = 1\n");
    assert_eq!(port(&project), (1, "dm.toml:2".into()));
    let project = project.with_local_config("\n\npostgres.port = 2\n");
    assert_eq!(port(&project), (2, "dm.local.toml:3".into()));
    let project = project.with_variable("DM_POSTGRES__PORT", "3");
    assert_eq!(port(&project), (3, "env DM_POSTGRES__PORT".into()));
    let project = project.with_override("postgres.port=4");
    assert_eq!(port(&project), (4, "flag --set".into()));
    let project = project.with_override("postgres.port=5");
    assert_eq!(port(&project), (5, "flag --set".into()));
}

#[test]
fn variable_of_a_service_keeps_its_case() {
    let loaded = TestProject::new("[services.order.environment]\nRETRIES = \"1\"\n")
        .with_variable("DM_SERVICES__ORDER__ENVIRONMENT__RETRIES", "2")
        .with_variable("DM_SERVICES__ORDER__ENVIRONMENT__LOG_LEVEL", "debug")
        .load_valid();
    let environment = &loaded.config.services.order.environment;
    let assignments: Vec<_> = environment
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(assignments, ["LOG_LEVEL=debug", "RETRIES=2"]);
}

#[test]
fn dedicated_flag_is_the_origin() {
    let mut project = TestProject::new("");
    let flag = crate::ConfigOverride::from_flag("--wait-timeout", "timeouts.wait", "90s");
    project.overrides.push(flag);
    let loaded = project.load_valid();
    assert_eq!(loaded.config.timeouts.wait.as_duration().as_secs(), 90);
    let origin = loaded.origin("timeouts.wait").unwrap();
    assert_eq!(origin.to_string(), "flag --wait-timeout");
}

#[test]
fn untyped_strings_stay_strings_for_string_keys() {
    let loaded = TestProject::new("")
        .with_variable("DM_POSTGRES__PASSWORD", "12345")
        .with_override("rabbitmq.password=true=yes")
        .load_valid();
    assert_eq!(loaded.config.postgres.password.reveal(), "12345");
    assert_eq!(loaded.config.rabbitmq.password.reveal(), "true=yes");
}

#[test]
fn empty_variable_unsets_an_optional_key() {
    let project = TestProject::new("[images]\nmirror = \"mirror.example:5000\"\n");
    assert!(project.load_valid().config.images.mirror.is_some());
    let project = project.with_variable("DM_IMAGES__MIRROR", "");
    assert_eq!(project.load_valid().config.images.mirror, None);
}

#[test]
fn credentials_are_merged_from_two_layers() {
    let project =
        TestProject::new("[images.credentials]\nregistry = \"quay.io\"\nusername = \"jim\"\n")
            .with_variable("DM_IMAGES__CREDENTIALS__PASSWORD", "s3cret");
    let credentials = project.load_valid().config.images.credentials.unwrap();
    assert_eq!(credentials.username.as_str(), "jim");
    assert_eq!(credentials.password.reveal(), "s3cret");
}

#[test]
fn ca_certificates_are_host_or_a_list() {
    let certificates =
        |project: TestProject| project.load_valid().config.images.extra_ca_certificates;
    let file = |text: &str| TestProject::new(&format!("images.extra_ca_certificates = {text}"));
    assert_eq!(certificates(file("\"host\"")), CaCertificates::Host);
    let from_array = certificates(file("[\"a.pem\", \"b.pem\"]"));
    let with_commas =
        TestProject::new("").with_variable("DM_IMAGES__EXTRA_CA_CERTIFICATES", "a.pem,b.pem");
    assert_eq!(from_array, certificates(with_commas));
    assert!(matches!(from_array, CaCertificates::Files(files) if files.len() == 2));
}

#[test]
fn extension_settings_have_dotted_names() {
    let loaded = TestProject::new(
        "[postgres.settings]\nmax_connections = 200\nlog_statement = \"all\"\n\
         auto_explain.log_analyze = true\n",
    )
    .with_local_config("[postgres.settings]\nmax_connections = 300\n")
    .load_valid();
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
fn project_is_found_from_a_subdirectory() {
    let project = TestProject::new("");
    let subdirectory = project.root().join("services/order");
    std::fs::create_dir_all(&subdirectory).unwrap();
    let options = LoadOptions {
        current_dir: subdirectory.clone(),
        ..project.load_options()
    };
    let loaded = Config::load(&options, []).unwrap();
    assert_eq!(loaded.root, project.root());
    let fixture = loaded.config.openldap.ldif.in_project(&loaded.root);
    assert_eq!(fixture, project.root().join("fixtures/ldap"));
}

#[test]
fn project_directory_is_set_by_flag_or_variable() {
    let project = TestProject::new("[postgres]\nport = 7\n");
    let other_directory = tempfile::tempdir().unwrap();
    let by_flag = LoadOptions {
        project_dir: Some(project.root().to_owned()),
        current_dir: other_directory.path().to_owned(),
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
fn missing_project_is_an_error_with_a_suggestion() {
    let empty = tempfile::tempdir().unwrap();
    let options = LoadOptions {
        current_dir: empty.path().to_owned(),
        ..LoadOptions::default()
    };
    let error = Config::load(&options, []).unwrap_err();
    assert!(matches!(error, ConfigError::ProjectNotFound { .. }));
    assert_eq!(error.exit_status(), ExitStatus::Usage);
    assert!(
        error
            .suggestions()
            .iter()
            .any(|suggestion| suggestion.contains("--project-directory"))
    );

    let with_directory = LoadOptions {
        project_dir: Some(empty.path().join("missing")),
        ..options
    };
    let error = Config::load(&with_directory, []).unwrap_err();
    assert!(matches!(error, ConfigError::NotAProject { .. }));
}

#[test]
fn unreadable_local_file_is_an_error() {
    let project = TestProject::new("");
    std::fs::create_dir(project.root().join("dm.local.toml")).unwrap();
    let error = project.load().unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { .. }));
}

#[test]
fn unknown_variable_that_resembles_no_key_is_a_warning() {
    let loaded = TestProject::new("")
        .with_variable("DM_ASSUME_YES", "1")
        .with_variable("DM_PROJECT_DIR", "")
        .with_variable("PATH", "/bin")
        .with_variable("DM_UDEV_RULES", "1")
        .load_valid();
    let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["unknown variable `DM_UDEV_RULES` is ignored"]);
}
