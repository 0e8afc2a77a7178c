//! Calls that can't be meant.

use insta::assert_snapshot;

use crate::project::Project;

#[test]
fn an_unknown_command_gets_the_nearest() {
    assert_snapshot!(Project::new("").says(&["stauts"]), @"");
}

#[test]
fn an_unknown_flag_gets_the_nearest() {
    assert_snapshot!(Project::new("").says(&["up", "--wait-timeot", "5m"]), @"");
}

#[test]
fn a_time_that_is_none_is_refused() {
    assert_snapshot!(Project::new("").says(&["up", "--wait-timeout", "soon"]), @"");
}

#[test]
fn a_name_that_no_instance_can_have_is_refused() {
    assert_snapshot!(Project::new("").says(&["--instance", "Michael Scott", "status"]), @"");
}

#[test]
fn a_reset_that_nobody_confirms_does_nothing() {
    assert_snapshot!(Project::new("").says(&["reset"]), @"");
}

#[test]
fn an_engine_that_does_not_answer_is_named() {
    assert_snapshot!(Project::new("").says(&["status"]), @"");
}

#[test]
fn an_unknown_component_gets_the_nearest() {
    assert_snapshot!(Project::new("").says(&["logs", "keyclock"]), @"");
}

#[test]
fn an_unknown_schema_is_told_the_known_ones() {
    assert_snapshot!(Project::new("").says(&["psql", "warehouse"]), @"");
}
