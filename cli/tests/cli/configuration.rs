//! Tests of configuration errors: location, cause and suggestion.

use insta::assert_snapshot;

use crate::project::Project;

#[test]
fn unknown_key_is_marked_in_the_file() {
    let project = Project::new("[postgres]\nprot = 5433\n");
    assert_snapshot!(project.output_of(&["status"]), @"
    exit code: 2
    ── stderr
    error[config-unknown-key]: unknown key `prot` in [postgres]
       ╭─[dm.toml:2:1]
     1 │ [postgres]
     2 │ prot = 5433
       · ──┬─
       ·   ╰── did you mean `port`?
       ╰────

      next: the keys of [postgres] are image, port, database, user, password, settings, memory, wait_timeout
            see docs/configuration.md for all keys
    ");
}

#[test]
fn wrong_type_is_marked_in_the_file() {
    let project = Project::new("[postgres]\nport = \"default\"\n");
    assert_snapshot!(project.output_of(&["status"]), @r#"
    exit code: 2
    ── stderr
    error[config-wrong-type]: postgres.port must be a whole number
       ╭─[dm.toml:2:8]
     1 │ [postgres]
     2 │ port = "default"
       ·        ────┬────
       ·            ╰── this is a string
       ╰────

      next: see docs/configuration.md for all keys
    "#);
}

#[test]
fn invalid_toml_is_marked_in_the_file() {
    let project = Project::new("[postgres\nport = 5433\n");
    assert_snapshot!(project.output_of(&["status"]), @"
    exit code: 2
    ── stderr
    error[config-syntax]: invalid TOML: unclosed table, expected `]`
       ╭─[dm.toml:1:10]
     1 │ [postgres
       ·          ▲
     2 │ port = 5433
       ╰────

      next: see docs/configuration.md for all keys
    ");
}

#[test]
fn config_error_names_the_layer_of_the_value() {
    let project = Project::new("");
    assert_snapshot!(project.output_of(&["status", "--set", "postgres.prot=5433"]), @"
    exit code: 2
    ── stderr
    error[config-unknown-key]: unknown key `postgres.prot`
       ╭─[command line:1:7]
     1 │ --set postgres.prot=5433
       ·       ──────┬──────
       ·             ╰── did you mean `postgres.port`?
       ╰────

      next: the keys of [postgres] are image, port, database, user, password, settings, memory, wait_timeout
            see docs/configuration.md for all keys
    ");
    let mut variable = project.dm(&["status"]);
    variable.env("DM_POSTGRES__PORT", "many");
    assert_snapshot!(project.output_of_command(&mut variable), @r#"
    exit code: 2
    ── stderr
    error[config-wrong-type]: postgres.port must be a whole number
       ╭─[environment:1:19]
     1 │ DM_POSTGRES__PORT=many
       ·                   ──┬─
       ·                     ╰── this is not one
       ╰────

      next: see docs/configuration.md for all keys
    "#);
    project.write("dm.local.toml", "[postgrse]\n");
    assert_snapshot!(project.output_of(&["status"]), @r#"
    exit code: 2
    ── stderr
    error[config-unknown-key]: unknown section or key `postgrse`
       ╭─[dm.local.toml:1:2]
     1 │ [postgrse]
       ·  ────┬───
       ·      ╰── did you mean `postgres`?
       ╰────

      next: the sections are project, engine, images, timeouts, golden, postgres, rabbitmq, openldap, keycloak, services, apps, backup
            see docs/configuration.md for all keys
    "#);
}

#[test]
fn status_outside_a_project_names_the_searched_directory() {
    assert_snapshot!(Project::without_config().output_of(&["status"]), @"
    exit code: 2
    ── stderr
    error[config-no-project]: no dm.toml in [PROJECT] or any directory above it

      next: run dm in a directory of the project
            or set --project-directory or DM_PROJECT_DIR to the directory of the project
    ");
}

#[test]
fn project_is_found_from_a_subdirectory_and_by_option() {
    let project = Project::new("[postgres]\nprot = 5433\n");
    project.write("fixtures/ldap/README", "");
    let mut in_subdirectory = project.dm(&["status"]);
    in_subdirectory.current_dir(project.root().join("fixtures/ldap"));
    assert!(
        project
            .output_of_command(&mut in_subdirectory)
            .contains("dm.toml:2:1")
    );
    let elsewhere = Project::without_config();
    for mut from_elsewhere in [
        elsewhere.dm(&[
            "status",
            "--project-directory",
            &project.root().to_string_lossy(),
        ]),
        {
            let mut call = elsewhere.dm(&["status"]);
            call.env("DM_PROJECT_DIR", project.root());
            call
        },
    ] {
        assert!(
            project
                .output_of_command(&mut from_elsewhere)
                .contains("dm.toml:2:1")
        );
    }
}

/// Creates a project with all files that the configuration names, so that the configuration is
/// valid.
fn valid_project(toml: &str) -> Project {
    let project = Project::new(toml);
    for path in [
        "fixtures/ldap/00-base.ldif",
        "fixtures/keycloak/scranton-branch-realm.json",
        "fixtures/rabbitmq/definitions.json",
    ] {
        project.write(path, "{}");
    }
    project
}

#[test]
fn missing_file_is_reported_with_its_key() {
    let project = valid_project("[rabbitmq]\ndefinitions = \"nowhere.json\"\n");
    assert_snapshot!(project.output_of(&["config", "check"]), @r#"
    exit code: 2
    ── stderr
    error[config-file-missing]: rabbitmq.definitions names a file that does not exist: `nowhere.json`
       ╭─[dm.toml:2:15]
     1 │ [rabbitmq]
     2 │ definitions = "nowhere.json"
       ·               ──────────────
       ╰────

      next: the full path is [PROJECT]/nowhere.json
            see docs/configuration.md for all keys
    "#);
}

#[test]
fn config_check_accepts_a_valid_configuration() {
    assert_snapshot!(valid_project("").output_of(&["config", "check"]), @"
    exit code: 0
    ── stderr
    ✓ the configuration in [PROJECT] is valid
    ");
}

#[test]
fn config_show_prints_sources_and_hides_secrets() {
    let project = valid_project("[postgres]\nport = 5544\npassword = \"threat level midnight\"\n");
    project.write("dm.local.toml", "[postgres]\ndatabase = \"scranton\"\n");
    let mut call = project.dm(&[
        "config",
        "show",
        "postgres",
        "--set",
        "postgres.memory=1GiB",
    ]);
    call.env("DM_POSTGRES__USER", "michael");
    assert_snapshot!(project.output_of_command(&mut call), @r#"
    exit code: 0
    ── stdout
    key                    value          from
    postgres.image         "postgres:17"  default
    postgres.port          5544           dm.toml:2
    postgres.database      "scranton"     dm.local.toml:2
    postgres.user          "michael"      env DM_POSTGRES__USER
    postgres.password      "***"          dm.toml:3
    postgres.settings      {}             default
    postgres.memory        "1GiB"         flag --set
    postgres.wait_timeout  -
    "#);
    for arguments in [&["config", "show"][..], &["config", "show", "--json"]] {
        let shown = project.output_of(arguments);
        assert!(shown.contains("postgres.password"), "{shown}");
        assert!(!shown.contains("threat level"), "{shown}");
    }
}

#[test]
fn config_show_prints_a_number_of_a_flag_as_a_number() {
    let project = valid_project("");
    let call = ["config", "show", "postgres.port", "--json"];
    let output = project
        .dm(&[&call[..], &["--set", "postgres.port=5544"]].concat())
        .output()
        .unwrap();
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["values"][0]["value"], 5544);
}

#[test]
fn set_option_is_accepted_at_every_position() {
    let project = valid_project("");
    let call = [
        "--set",
        "postgres.port=1111",
        "--set",
        "postgres.user=michael",
        "config",
        "--set",
        "postgres.port=2222",
        "--set",
        "postgres.database=scranton",
        "show",
        "postgres",
        "--set",
        "postgres.port=3333",
    ];
    assert_snapshot!(project.output_of(&call), @r#"
    exit code: 0
    ── stdout
    key                    value          from
    postgres.image         "postgres:17"  default
    postgres.port          3333           flag --set
    postgres.database      "scranton"     flag --set
    postgres.user          "michael"      flag --set
    postgres.password      "***"          default
    postgres.settings      {}             default
    postgres.memory        -
    postgres.wait_timeout  -
    "#);
    // The later value wins, even if it precedes the arguments of the command.
    let earlier = [
        "config",
        "--set",
        "postgres.port=1",
        "show",
        "postgres.port",
    ];
    assert!(project.output_of(&earlier).contains("flag --set"));
    // Values are processed in the order of the command line.
    let first = project.output_of(&["--set", "a.b=1", "status", "--set", "c.d=2"]);
    assert!(first.contains("--set a.b=1"), "{first}");
}

#[test]
fn config_show_of_an_unknown_key_is_refused() {
    assert_snapshot!(valid_project("").output_of(&["config", "show", "postgres.prot"]), @r#"
    exit code: 2
    ── stderr
    error[config-no-such-key]: there is no key `postgres.prot`

      next: dm config show postgres.port
    "#);
}

#[test]
fn config_schema_equals_the_file_in_docs() {
    let project = Project::without_config();
    let schema = project.dm(&["config", "schema"]).output().unwrap().stdout;
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let checked_in = std::fs::read(docs.join("dm.schema.json")).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&schema),
        String::from_utf8_lossy(&checked_in)
    );
}
