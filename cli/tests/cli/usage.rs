//! Calls that can't be meant.

use insta::assert_snapshot;

use crate::project::Project;

#[test]
fn an_unknown_command_gets_the_nearest() {
    assert_snapshot!(Project::new("").says(&["stauts"]), @r#"
    exit code: 2
    ── stderr
    error: unrecognized subcommand 'stauts'

      tip: some similar subcommands exist: 'restart', 'status'

    Usage: dm [OPTIONS] <COMMAND>

    For more information, try '--help'.
    "#);
}

#[test]
fn an_unknown_flag_gets_the_nearest() {
    assert_snapshot!(Project::new("").says(&["up", "--wait-timeot", "5m"]), @r#"
    exit code: 2
    ── stderr
    error: unexpected argument '--wait-timeot' found

      tip: a similar argument exists: '--wait-timeout'

    Usage: dm up --wait-timeout <DURATION>

    For more information, try '--help'.
    "#);
}

#[test]
fn a_time_that_is_none_is_refused() {
    assert_snapshot!(Project::new("").says(&["up", "--wait-timeout", "soon"]), @r#"
    exit code: 2
    ── stderr
    error: invalid value 'soon' for '--wait-timeout <DURATION>': expected number at 0

    For more information, try '--help'.
    "#);
}

#[test]
fn a_name_that_no_instance_can_have_is_refused() {
    assert_snapshot!(Project::new("").says(&["--instance", "Michael Scott", "status"]), @r#"
    exit code: 2
    ── stderr
    error[instance-name]: `Michael Scott` can't be the name of an instance: it has a character that is not allowed

      next: use lower-case letters, digits and dashes, 32 at most, e.g. `--instance review-7`
    "#);
}

#[test]
fn a_reset_that_nobody_confirms_does_nothing() {
    assert_snapshot!(Project::new("").says(&["reset"]), @r#"
    exit code: 2
    ── stderr
    error[not-confirmed]: a reset removes all data of instance `default`, and that was not confirmed

      next: call the same command again with --yes
    "#);
}

#[test]
fn an_engine_that_does_not_answer_is_named() {
    assert_snapshot!(Project::new("").says(&["status"]), @r#"
    exit code: 3
    ── stderr
    error[engine-not-found]: no container engine answers (unix:///nowhere/engine.sock: no such socket)

      next: check DOCKER_HOST, or unset it: unset DOCKER_HOST
    "#);
}

#[test]
fn an_unknown_component_gets_the_nearest() {
    assert_snapshot!(Project::new("").says(&["logs", "keyclock"]), @r#"
    exit code: 2
    ── stderr
    error[component-unknown]: there is no component `keyclock`

      next: did you mean `keycloak`?
            the components are postgres, rabbitmq, openldap, keycloak, gateway, profile, sales, order, inventory, finance, wuphf, backup
    "#);
}

#[test]
fn an_unknown_schema_is_told_the_known_ones() {
    assert_snapshot!(Project::new("").says(&["psql", "warehouse"]), @r#"
    exit code: 2
    ── stderr
    error[schema-unknown]: there is no schema `warehouse`

      next: the schemas are dm_ops, finance, inventory, keycloak, notifications, orders, profile, sales
    "#);
}

#[test]
fn a_wait_timeout_also_bounds_the_wait_for_another_command() {
    let project = Project::new("");
    let up = ["up", "--wait-timeout", "1s"];
    // Without an engine it fails, and leaves its lock's file.
    project.dm(&up).output().unwrap();
    let locks = project.root().join("state/dm/locks");
    let mut files = std::fs::read_dir(locks).unwrap().map(|it| it.unwrap());
    let file = files.next().expect("the instance's lock").path();
    assert!(files.next().is_none());
    let held = std::fs::File::options().write(true).open(file).unwrap();
    held.lock().unwrap();
    for command in [&up[..], &["rebuild", "--wait-timeout", "1s"]] {
        let output = project.dm(command).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{stderr}");
        assert!(stderr.contains("instance default is locked"), "{stderr}");
    }
}
