//! Tests of invalid calls.

use insta::assert_snapshot;

use crate::project::Project;

#[test]
fn unknown_command_is_refused_with_suggestions() {
    assert_snapshot!(Project::new("").output_of(&["stauts"]), @r#"
    exit code: 2
    ── stderr
    error: unrecognized subcommand 'stauts'

      tip: some similar subcommands exist: 'restart', 'status'

    Usage: dm [OPTIONS] <COMMAND>

    For more information, try '--help'.
    "#);
}

#[test]
fn unknown_option_is_refused_with_a_suggestion() {
    assert_snapshot!(Project::new("").output_of(&["up", "--wait-timeot", "5m"]), @r#"
    exit code: 2
    ── stderr
    error: unexpected argument '--wait-timeot' found

      tip: a similar argument exists: '--wait-timeout'

    Usage: dm up --wait-timeout <DURATION>

    For more information, try '--help'.
    "#);
}

#[test]
fn invalid_duration_is_refused() {
    assert_snapshot!(Project::new("").output_of(&["up", "--wait-timeout", "soon"]), @r#"
    exit code: 2
    ── stderr
    error: invalid value 'soon' for '--wait-timeout <DURATION>': expected number at 0

    For more information, try '--help'.
    "#);
}

#[test]
fn number_out_of_range_is_refused_with_the_range() {
    assert_snapshot!(Project::new("").output_of(&["outbox", "ls", "--limit", "99999999999"]), @"
    exit code: 2
    ── stderr
    error: invalid value '99999999999' for '--limit <N>': must be a whole number from 1 to 10000

    For more information, try '--help'.
    ");
    assert_snapshot!(Project::new("").output_of(&["dlq", "history", "--limit", "0"]), @"
    exit code: 2
    ── stderr
    error: invalid value '0' for '--limit <N>': must be a whole number from 1 to 10000

    For more information, try '--help'.
    ");
}

#[test]
fn reversed_period_is_refused() {
    let project = Project::new("");
    let expected = project.output_of(&["outbox", "ls", "--since", "1h", "--until", "2h"]);
    assert_snapshot!(expected, @"
    exit code: 2
    ── stderr
    error[usage]: --since is after --until

      next: set --since to the earlier time, for example --since 2h --until 1h
    ");
    for command in [
        &["inbox", "ls"][..],
        &["dlq", "ls"],
        &["dlq", "replay"],
        &["dlq", "export", "-"],
        &["dlq", "park"],
        &["dlq", "purge", "--copy", "letters.jsonl"],
    ] {
        let period = ["--since", "1h", "--until", "2h"];
        let output = project.output_of(&[command, &period].concat());
        assert_eq!(output, expected, "{command:?}");
    }
}

#[test]
fn invalid_instance_name_is_refused() {
    assert_snapshot!(Project::new("").output_of(&["--instance", "Michael Scott", "status"]), @"
    exit code: 2
    ── stderr
    error[instance-name]: `Michael Scott` is not a valid instance name: the name has a character that is not allowed

      next: use at most 32 lower-case letters, digits and dashes, for example `--instance review-7`
    ");
}

#[test]
fn reset_without_confirmation_is_refused() {
    assert_snapshot!(Project::new("").output_of(&["reset"]), @"
    exit code: 2
    ── stderr
    error[not-confirmed]: could not reset: the removal of all data of instance `default` was not confirmed

      next: run the command again with --yes
    ");
}

#[test]
fn status_without_an_engine_names_its_address() {
    assert_snapshot!(Project::new("").output_of(&["status"]), @r#"
    exit code: 3
    ── stderr
    error[engine-not-found]: no container engine answers (unix:///nowhere/engine.sock: no such socket)

      next: check DOCKER_HOST, or unset it: unset DOCKER_HOST
    "#);
}

#[test]
fn unknown_component_is_refused_with_a_suggestion() {
    assert_snapshot!(Project::new("").output_of(&["logs", "keyclock"]), @r#"
    exit code: 2
    ── stderr
    error[component-unknown]: there is no component `keyclock`

      next: did you mean `keycloak`?
            the components are postgres, rabbitmq, openldap, keycloak, gateway, profile, sales, order, inventory, finance, wuphf, backup
    "#);
}

#[test]
fn unknown_schema_is_refused_with_the_known_schemas() {
    assert_snapshot!(Project::new("").output_of(&["psql", "warehouse"]), @r#"
    exit code: 2
    ── stderr
    error[schema-unknown]: there is no schema `warehouse`

      next: the schemas are dm_ops, finance, inventory, keycloak, notifications, orders, profile, sales
    "#);
}

#[test]
fn wait_timeout_bounds_the_wait_for_the_instance_lock() {
    let project = Project::new("");
    let up = ["up", "--wait-timeout", "1s"];
    // The call fails without an engine, and leaves its lock file.
    project.dm(&up).output().unwrap();
    let locks = project.root().join("state/dm/locks");
    let mut files = std::fs::read_dir(locks)
        .unwrap()
        .map(|entry| entry.unwrap());
    let file = files.next().expect("there is no lock file").path();
    assert!(files.next().is_none());
    let held = std::fs::File::options().write(true).open(file).unwrap();
    held.lock().unwrap();
    for command in [&up[..], &["rebuild", "--wait-timeout", "1s"]] {
        let output = project.dm(command).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{stderr}");
        assert!(
            stderr.contains("could not lock instance default"),
            "{stderr}"
        );
    }
}
