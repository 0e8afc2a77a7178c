//! Tests of the rendered diagnostics.

use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use miette::{GraphicalReportHandler, GraphicalTheme};

use super::TestProject;
use crate::ConfigError;

/// Renders the error for a terminal of 80 columns without colour.
pub(super) fn render(error: &ConfigError) -> String {
    render_at(80, error)
}

/// Renders the error without line breaks in long paths.
fn render_wide(error: &ConfigError) -> String {
    render_at(400, error)
}

fn render_at(width: usize, error: &ConfigError) -> String {
    let mut report = String::new();
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
        .with_width(width)
        .with_links(false);
    let diagnostic = error.diagnostic().expect("no diagnostic");
    handler.render_report(&mut report, diagnostic).unwrap();
    let lines: Vec<&str> = report.lines().map(str::trim_end).collect();
    lines.join("\n")
}

fn rendered_error(project: &TestProject) -> String {
    let error = project.load().expect_err("the project is valid");
    assert_eq!(error.exit_status(), ExitStatus::Usage);
    render(&error)
}

fn rendered_error_for_file(file: &str) -> String {
    rendered_error(&TestProject::new(file))
}

#[test]
fn unknown_key_suggests_a_key_of_the_section() {
    insta::assert_snapshot!(rendered_error_for_file("[postgres]\nport = 5433\nprot = 5434\n"), @r"
    config-unknown-key

      × unknown key `prot` in [postgres]
       ╭─[dm.toml:3:1]
     2 │ port = 5433
     3 │ prot = 5434
       · ──┬─
       ·   ╰── did you mean `port`?
       ╰────
      help: the keys of [postgres] are image, port, database, user, password,
            settings, memory, wait_timeout
    ");
}

#[test]
fn unknown_key_with_any_value_is_one_error() {
    for value in [
        "1979-05-27",
        "[1979-05-27]",
        "{ since = 1979-05-27 }",
        "99999999999999999999",
        "1",
    ] {
        let report = rendered_error_for_file(&format!("[postgres]\nsince = {value}\n"));
        assert_eq!(report.matches("×").count(), 1, "{report}");
        assert!(report.contains("unknown key `since`"), "{report}");
    }
}

#[test]
fn unknown_section_suggests_a_section() {
    insta::assert_snapshot!(rendered_error_for_file("[postgress]\nport = 5433\n"), @r"
    config-unknown-key

      × unknown section or key `postgress`
       ╭─[dm.toml:1:2]
     1 │ [postgress]
       ·  ────┬────
       ·      ╰── did you mean `postgres`?
     2 │ port = 5433
       ╰────
      help: the sections are project, engine, images, timeouts, golden, postgres,
            rabbitmq, openldap, keycloak, services, apps, backup
    ");
}

#[test]
fn key_of_another_section_suggests_that_section() {
    insta::assert_snapshot!(rendered_error_for_file("[postgres]\nmanagement_port = 15673\n"), @r"
    config-unknown-key

      × unknown key `management_port` in [postgres]
       ╭─[dm.toml:2:1]
     1 │ [postgres]
     2 │ management_port = 15673
       · ───────┬───────
       ·        ╰── did you mean `rabbitmq.management_port`?
       ╰────
      help: it is a key of [rabbitmq]
    ");
}

#[test]
fn unknown_service_suggests_a_service() {
    insta::assert_snapshot!(rendered_error_for_file("[services.oder]\nport = 9093\n"), @r"
    config-unknown-key

      × unknown key `oder` in [services]
       ╭─[dm.toml:1:11]
     1 │ [services.oder]
       ·           ──┬─
       ·             ╰── did you mean `order`?
     2 │ port = 9093
       ╰────
      help: the keys of [services] are gateway, profile, sales, order, inventory,
            finance, wuphf
    ");
}

#[test]
fn quoted_number_suggests_the_number() {
    insta::assert_snapshot!(rendered_error_for_file("[postgres]\nport = \"5433\"\n"), @r#"
    config-wrong-type

      × postgres.port must be a whole number
       ╭─[dm.toml:2:8]
     1 │ [postgres]
     2 │ port = "5433"
       ·        ───┬──
       ·           ╰── this is a string
       ╰────
      help: write 5433
    "#);
}

#[test]
fn value_instead_of_a_section_is_a_wrong_type() {
    insta::assert_snapshot!(rendered_error_for_file("postgres = 5432\n"), @r"
    config-wrong-type

      × postgres must be a table
       ╭─[dm.toml:1:12]
     1 │ postgres = 5432
       ·            ──┬─
       ·              ╰── this is a whole number
       ╰────
      help: write [postgres] and its keys on the lines below
    ");
}

#[test]
fn port_out_of_range_is_invalid() {
    insta::assert_snapshot!(rendered_error_for_file("[rabbitmq]\nport = 70000\n"), @r"
    config-invalid-value

      × invalid rabbitmq.port: 70000 is not a port
       ╭─[dm.toml:2:8]
     1 │ [rabbitmq]
     2 │ port = 70000
       ·        ─────
       ╰────
      help: write a number from 1 to 65535
    ");
}

#[test]
fn unknown_choice_suggests_a_choice() {
    insta::assert_snapshot!(rendered_error_for_file("[images]\nsource = \"pul\"\n"), @r#"
    config-invalid-value

      × `pul` is not a choice for images.source
       ╭─[dm.toml:2:10]
     1 │ [images]
     2 │ source = "pul"
       ·          ──┬──
       ·            ╰── did you mean `pull`?
       ╰────
      help: write `auto`, `pull` or `build`
    "#);
}

#[test]
fn duration_without_unit_suggests_units() {
    insta::assert_snapshot!(rendered_error_for_file("[timeouts]\nwait = \"300\"\n"), @r#"
    config-invalid-value

      × invalid timeouts.wait: not a duration
       ╭─[dm.toml:2:8]
     1 │ [timeouts]
     2 │ wait = "300"
       ·        ─────
       ╰────
      help: add the unit: "300s" or "300ms"
    "#);
}

#[test]
fn duration_out_of_range_names_the_range() {
    insta::assert_snapshot!(rendered_error_for_file("[timeouts]\nprobe_interval = \"1m\"\n"), @r#"
    config-invalid-value

      × invalid timeouts.probe_interval: 1 min is too long
       ╭─[dm.toml:2:18]
     1 │ [timeouts]
     2 │ probe_interval = "1m"
       ·                  ────
       ╰────
      help: write 10 ms to 10 s
    "#);
}

#[test]
fn duration_as_a_number_suggests_units() {
    insta::assert_snapshot!(rendered_error_for_file("[timeouts]\nwait = 300\n"), @r#"
    config-invalid-value

      × invalid timeouts.wait: not a duration
       ╭─[dm.toml:2:8]
     1 │ [timeouts]
     2 │ wait = 300
       ·        ───
       ╰────
      help: add the unit: "300s" or "300ms"
    "#);
}

#[test]
fn image_reference_with_capitals_suggests_lower_case() {
    insta::assert_snapshot!(rendered_error_for_file("[postgres]\nimage = \"Postgres:17\"\n"), @r#"
    config-invalid-value

      × invalid postgres.image: an image name consists of lower-case letters,
      │ digits, and single separators between them
       ╭─[dm.toml:2:9]
     1 │ [postgres]
     2 │ image = "Postgres:17"
       ·         ─────────────
       ╰────
      help: write `postgres:17`
    "#);
}

#[test]
fn invalid_project_name_suggests_a_valid_name() {
    insta::assert_snapshot!(rendered_error_for_file("[project]\nname = \"Dunder Mifflin\"\n"), @r#"
    config-invalid-value

      × invalid project.name: a project name consists of lower-case letters,
      │ digits and inner dashes, and begins with a letter
       ╭─[dm.toml:2:8]
     1 │ [project]
     2 │ name = "Dunder Mifflin"
       ·        ────────────────
       ╰────
      help: write `dunder-mifflin`
    "#);
}

#[test]
fn empty_password_is_invalid() {
    insta::assert_snapshot!(rendered_error_for_file("[keycloak]\nadmin_password = \"\"\n"), @r#"
    config-invalid-value

      × invalid keycloak.admin_password: a password cannot be empty
       ╭─[dm.toml:2:18]
     1 │ [keycloak]
     2 │ admin_password = ""
       ·                  ──
       ╰────
      help: remove the key to use the default
    "#);
}

#[test]
fn password_as_a_number_is_masked() {
    insta::assert_snapshot!(rendered_error_for_file("[keycloak]\nadmin_password = 123456\n"), @r"
    config-wrong-type

      × keycloak.admin_password must be a string
       ╭─[dm.toml:2:18]
     1 │ [keycloak]
     2 │ admin_password = ******
       ·                  ───┬──
       ·                     ╰── this is a whole number
       ╰────
      help: put it in quotes
    ");
}

#[test]
fn postgres_setting_that_dm_sets_is_invalid() {
    insta::assert_snapshot!(rendered_error_for_file("[postgres.settings]\nport = 5433\n"), @r"
    config-invalid-value

      × invalid postgres.settings.port: `port` is set by dm
       ╭─[dm.toml:2:1]
     1 │ [postgres.settings]
     2 │ port = 5433
       · ────
       ╰────
      help: the port on this host is `postgres.port`
    ");
}

#[test]
fn duplicate_port_in_one_file_labels_both_keys() {
    insta::assert_snapshot!(rendered_error_for_file("[postgres]\nport = 5672\n\n[rabbitmq]\nport = 5672\n"), @r"
    config-port-twice

      × port 5672 is assigned to both postgres.port and rabbitmq.port
       ╭─[dm.toml:5:8]
     1 │ [postgres]
     2 │ port = 5672
       ·        ──┬─
       ·          ╰── postgres.port is here
     3 │
     4 │ [rabbitmq]
     5 │ port = 5672
       ·        ────
       ╰────
      help: assign another port to one of them
    ");
}

#[test]
fn duplicate_port_of_a_default_names_the_default() {
    insta::assert_snapshot!(rendered_error_for_file("[postgres]\nport = 8080\n"), @r"
    config-port-twice

      × port 8080 is assigned to both postgres.port and keycloak.port
       ╭─[dm.toml:2:8]
     1 │ [postgres]
     2 │ port = 8080
       ·        ────
       ╰────
      help: assign another port to one of them; keycloak.port is a built-in
            default
    ");
}

#[test]
fn duplicate_port_in_two_layers_names_the_other_layer() {
    insta::assert_snapshot!(rendered_error(&TestProject::new("[rabbitmq]\nport = 7000\n").with_override("postgres.port=7000")), @r"
    config-port-twice

      × port 7000 is assigned to both postgres.port and rabbitmq.port
       ╭─[command line:1:21]
     1 │ --set postgres.port=7000
       ·                     ────
       ╰────
      help: assign another port to one of them; rabbitmq.port is set by dm.toml:2
    ");
}

#[test]
fn schema_without_a_password_is_a_missing_key() {
    insta::assert_snapshot!(rendered_error_for_file("[services.gateway]\nschema = \"gateway\"\n"), @r#"
    config-missing-key

      × service gateway has schema `gateway`, but no database_password
       ╭─[dm.toml:2:10]
     1 │ [services.gateway]
     2 │ schema = "gateway"
       ·          ─────────
       ╰────
      help: set services.gateway.database_password, or remove the schema
    "#);
}

#[test]
fn duplicate_schema_names_both_services() {
    insta::assert_snapshot!(rendered_error_for_file("[services.sales]\nschema = \"orders\"\n"), @r#"
    config-schema-twice

      × schema `orders` is assigned to both sales and order
       ╭─[dm.toml:2:10]
     1 │ [services.sales]
     2 │ schema = "orders"
       ·          ────────
       ╰────
      help: assign a schema of its own to each service; services.order.schema is a
            built-in default
    "#);
}

#[test]
fn heap_larger_than_the_container_memory_is_invalid() {
    insta::assert_snapshot!(rendered_error_for_file("[keycloak]\nheap = \"2GiB\"\nmemory = \"1GiB\"\n"), @r#"
    config-heap-too-large

      × a Java heap of 2GiB does not fit into the container memory of 1GiB
       ╭─[dm.toml:3:10]
     1 │ [keycloak]
     2 │ heap = "2GiB"
       ·        ───┬──
       ·           ╰── keycloak.heap is here
     3 │ memory = "1GiB"
       ·          ──────
       ╰────
      help: raise keycloak.memory or lower keycloak.heap; Java needs about 300 MiB
            in addition to its heap
    "#);
}

#[test]
fn credentials_without_a_password_are_a_missing_key() {
    insta::assert_snapshot!(rendered_error_for_file("[images.credentials]\nusername = \"jim\"\n"), @r#"
    config-missing-key

      × images.credentials.password is missing
       ╭─[dm.toml:1:9]
     1 │ [images.credentials]
       ·         ───────────
     2 │ username = "jim"
       ╰────
      help: images.credentials requires this key: set images.credentials.password
    "#);
}

#[test]
fn syntax_errors_are_all_reported() {
    insta::assert_snapshot!(rendered_error_for_file("[postgres]\nport = \n[rabbitmq\nport = 5672\n"), @r"
    config-invalid

      × the configuration has 2 problems

    Error: config-syntax

      × invalid TOML: string values must be quoted, expected literal string
       ╭─[dm.toml:2:8]
     1 │ [postgres]
     2 │ port =
       ·        ▲
     3 │ [rabbitmq
       ╰────

    Error: config-syntax

      × invalid TOML: unclosed table, expected `]`
       ╭─[dm.toml:3:10]
     2 │ port =
     3 │ [rabbitmq
       ·          ▲
     4 │ port = 5672
       ╰────
    ");
}

#[test]
fn duplicate_key_is_a_syntax_error() {
    insta::assert_snapshot!(rendered_error_for_file("[postgres]\nport = 5433\nport = 5434\n"), @r"
    config-syntax

      × invalid TOML: duplicate key
       ╭─[dm.toml:3:1]
     2 │ port = 5433
     3 │ port = 5434
       · ────
       ╰────
    ");
}

#[test]
fn variable_with_a_single_underscore_suggests_two() {
    insta::assert_snapshot!(rendered_error(&TestProject::new("").with_variable("DM_POSTGRES_PORT", "5433")), @r"
    config-unknown-key

      × unknown variable `DM_POSTGRES_PORT`
       ╭─[environment:1:1]
     1 │ DM_POSTGRES_PORT=5433
       · ────────┬───────
       ·         ╰── did you mean `DM_POSTGRES__PORT`?
       ╰────
      help: two underscores stand for each dot of a key
    ");
}

#[test]
fn misspelled_variable_suggests_a_variable() {
    insta::assert_snapshot!(rendered_error(&TestProject::new("").with_variable("DM_POSTGRES__PROT", "5433")), @r"
    config-unknown-key

      × unknown variable `DM_POSTGRES__PROT`
       ╭─[environment:1:1]
     1 │ DM_POSTGRES__PROT=5433
       · ────────┬────────
       ·         ╰── did you mean `DM_POSTGRES__PORT`?
       ╰────
      help: the keys of [postgres] are image, port, database, user, password,
            settings, memory, wait_timeout
    ");
}

#[test]
fn variable_of_the_wrong_type_is_labelled() {
    insta::assert_snapshot!(rendered_error(&TestProject::new("").with_variable("DM_POSTGRES__PORT", "many")), @r"
    config-wrong-type

      × postgres.port must be a whole number
       ╭─[environment:1:19]
     1 │ DM_POSTGRES__PORT=many
       ·                   ──┬─
       ·                     ╰── this is not one
       ╰────
    ");
}

#[test]
fn misspelled_flag_suggests_a_key() {
    insta::assert_snapshot!(rendered_error(&TestProject::new("").with_override("postgres.prot=5433")), @r"
    config-unknown-key

      × unknown key `postgres.prot`
       ╭─[command line:1:7]
     1 │ --set postgres.prot=5433
       ·       ──────┬──────
       ·             ╰── did you mean `postgres.port`?
       ╰────
      help: the keys of [postgres] are image, port, database, user, password,
            settings, memory, wait_timeout
    ");
}

#[test]
fn flag_without_a_value_shows_an_example() {
    insta::assert_snapshot!(rendered_error(&TestProject::new("").with_override("postgres.port")), @r"
    config-unreadable

      × `--set` requires a key and a value
       ╭─[command line:1:7]
     1 │ --set postgres.port
       ·       ─────────────
       ╰────
      help: for example --set postgres.port=5433
    ");
}

#[test]
fn file_that_is_not_utf_8_is_unreadable() {
    insta::assert_snapshot!(rendered_error(&TestProject::new("").with_file("dm.local.toml", b"[project]\nname = \"caf\xe9\"\n")), @r#"
    config-unreadable

      × the file is not UTF-8
       ╭─[dm.local.toml:2:12]
     1 │ [project]
     2 │ name = "caf�"
       ·            ─
       ╰────
      help: save it as UTF-8, the encoding of TOML
    "#);
}

#[test]
fn value_of_a_misspelled_password_is_masked() {
    insta::assert_snapshot!(rendered_error_for_file("[postgres]\npasswrod = \"hunter2\"\n"), @r#"
    config-unknown-key

      × unknown key `passwrod` in [postgres]
       ╭─[dm.toml:2:1]
     1 │ [postgres]
     2 │ passwrod = "*******"
       · ────┬───
       ·     ╰── did you mean `password`?
       ╰────
      help: the keys of [postgres] are image, port, database, user, password,
            settings, memory, wait_timeout
    "#);
}

#[test]
fn password_in_a_file_with_syntax_errors_is_masked() {
    insta::assert_snapshot!(rendered_error_for_file("[postgres]\npassword = \"hunter2\nport = 1\n"), @r#"
    config-syntax

      × invalid TOML: invalid basic string, expected `"`
       ╭─[dm.toml:2:20]
     1 │ [postgres]
     2 │ password = "*******
       ·                    ▲
     3 │ port = 1
       ╰────
    "#);
}

#[test]
fn errors_of_all_layers_are_reported_together() {
    let project = TestProject::new(
        "[project]\nname = \"Scranton\"\n\n[postgres]\nprot = 5433\nport = \"5433\"\n\
         password = \"hunter2\"\n",
    )
    .with_local_config("[timeouts]\nwait = \"soon\"\n\n[rabbitmq]\nport = 8080\n")
    .with_variable("DM_IMAGES__SOURCE", "build")
    .with_variable("DM_KEYCLOAK__HEAP", "512")
    .with_override("golden.prepare=maybe");
    let error = project.load().unwrap_err();
    let codes: Vec<_> = error
        .diagnostics()
        .iter()
        .map(|diagnostic| diagnostic.code())
        .collect();
    assert_eq!(
        codes,
        [
            ErrorCode::ConfigInvalidValue,
            ErrorCode::ConfigUnknownKey,
            ErrorCode::ConfigWrongType,
            ErrorCode::ConfigInvalidValue,
            ErrorCode::ConfigPortTwice,
            ErrorCode::ConfigInvalidValue,
            ErrorCode::ConfigInvalidValue,
        ]
    );
    insta::assert_snapshot!(render(&error), @r#"
    config-invalid

      × the configuration has 7 problems

    Error: config-invalid-value

      × invalid project.name: a project name consists of lower-case letters,
      │ digits and inner dashes, and begins with a letter
       ╭─[dm.toml:2:8]
     1 │ [project]
     2 │ name = "Scranton"
       ·        ──────────
     3 │
       ╰────
      help: write `scranton`

    Error: config-unknown-key

      × unknown key `prot` in [postgres]
       ╭─[dm.toml:5:1]
     4 │ [postgres]
     5 │ prot = 5433
       · ──┬─
       ·   ╰── did you mean `port`?
     6 │ port = "5433"
       ╰────
      help: the keys of [postgres] are image, port, database, user, password,
            settings, memory, wait_timeout

    Error: config-wrong-type

      × postgres.port must be a whole number
       ╭─[dm.toml:6:8]
     5 │ prot = 5433
     6 │ port = "5433"
       ·        ───┬──
       ·           ╰── this is a string
     7 │ password = "*******"
       ╰────
      help: write 5433

    Error: config-invalid-value

      × invalid timeouts.wait: not a duration
       ╭─[dm.local.toml:2:8]
     1 │ [timeouts]
     2 │ wait = "soon"
       ·        ──────
     3 │
       ╰────
      help: write numbers with units, for example `75ms`, `90s`, `2m 30s`

    Error: config-port-twice

      × port 8080 is assigned to both rabbitmq.port and keycloak.port
       ╭─[dm.local.toml:5:8]
     4 │ [rabbitmq]
     5 │ port = 8080
       ·        ────
       ╰────
      help: assign another port to one of them; keycloak.port is a built-in
            default

    Error: config-invalid-value

      × invalid keycloak.heap: the amount of memory has no unit
       ╭─[environment:1:19]
     1 │ DM_KEYCLOAK__HEAP=512
       ·                   ───
       ╰────
      help: add the unit: "512MiB"

    Error: config-invalid-value

      × `maybe` is not a choice for golden.prepare
       ╭─[command line:1:22]
     1 │ --set golden.prepare=maybe
       ·                      ─────
       ╰────
      help: write `background`, `foreground` or `off`
    "#);
}

#[test]
fn memory_size_as_a_number_suggests_the_unit() {
    insta::assert_snapshot!(rendered_error_for_file("keycloak.heap = 512"), @r#"
    config-invalid-value

      × invalid keycloak.heap: the amount of memory has no unit
       ╭─[dm.toml:1:17]
     1 │ keycloak.heap = 512
       ·                 ───
       ╰────
      help: add the unit: "512MiB"
    "#);
}

#[test]
fn variable_for_a_section_is_a_wrong_type() {
    insta::assert_snapshot!(rendered_error(&TestProject::new("").with_variable("DM_POSTGRES", "localhost")), @r"
    config-wrong-type

      × postgres must be a table
       ╭─[environment:1:13]
     1 │ DM_POSTGRES=localhost
       ·             ────┬────
       ·                 ╰── this is not one
       ╰────
      help: set one of its keys instead
    ");
}

#[test]
fn missing_files_are_all_reported() {
    let project = TestProject::new("[images]\nextra_ca_certificates = [\"ca.pem\"]\n");
    std::fs::create_dir_all(project.root().join("fixtures/ldap")).unwrap();
    std::fs::create_dir_all(project.root().join("fixtures/rabbitmq")).unwrap();
    std::fs::write(
        project.root().join("fixtures/rabbitmq/definitions.json"),
        "{}",
    )
    .unwrap();
    let error = project.load_valid().check_files().unwrap_err();
    let root = project.root().display().to_string();
    insta::assert_snapshot!(render_wide(&error).replace(&root, "/project"), @r#"
    config-invalid

      × the configuration has 2 problems

    Error: config-file-missing

      × keycloak.realm_file names a file that does not exist: `fixtures/keycloak/scranton-branch-realm.json`
        ╭─[built-in defaults:73:14]
     72 │ realm = "scranton-branch"
     73 │ realm_file = "fixtures/keycloak/scranton-branch-realm.json"
        ·              ──────────────────────────────────────────────
     74 │ admin_user = "admin"
        ╰────
      help: the full path is /project/fixtures/keycloak/scranton-branch-realm.json

    Error: config-file-missing

      × images.extra_ca_certificates names a file that does not exist: `ca.pem`
       ╭─[dm.toml:2:25]
     1 │ [images]
     2 │ extra_ca_certificates = ["ca.pem"]
       ·                         ──────────
       ╰────
      help: the full path is /project/ca.pem
    "#);
}

#[test]
fn error_that_a_higher_layer_overrides_is_reported() {
    let project = TestProject::new("[postgres]\nport = 0\n").with_override("postgres.port=5433");
    let error = project.load().unwrap_err();
    assert_eq!(error.diagnostics().len(), 1);
    assert_eq!(error.diagnostics()[0].key(), Some("postgres.port"));
}

#[test]
fn credentials_without_a_registry_are_an_error() {
    let login = "username = \"jim\"\npassword = \"s3cret\"\n";
    let report = rendered_error_for_file(&format!("[images.credentials]\n{login}"));
    assert!(
        report.contains("images.credentials has no registry"),
        "{report}"
    );
    assert!(!report.contains("s3cret"), "{report}");
    for registry in [
        "[images.credentials]\nregistry = \"quay.io\"\n",
        "[images]\nmirror = \"127.0.0.1:5000\"\n[images.credentials]\n",
    ] {
        TestProject::new(&format!("{registry}{login}")).load_valid();
    }
}

#[test]
fn apt_mirror_with_a_password_is_an_error() {
    let report = rendered_error_for_file(
        "[images]\napt_mirror = \"http://jim:s3cret@mirror.example/debian\"\n",
    );
    assert!(
        report.contains("would be visible in argument lists"),
        "{report}"
    );
    assert!(!report.contains("s3cret"), "{report}");
}
