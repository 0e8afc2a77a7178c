//! A configuration that is wrong: where, why, and what would be right.

use insta::assert_snapshot;

use crate::project::Project;

#[test]
fn an_unknown_key_is_pointed_at() {
    let project = Project::new("[postgres]\nprot = 5433\n");
    assert_snapshot!(project.says(&["status"]), @"");
}

#[test]
fn a_wrong_type_is_pointed_at() {
    let project = Project::new("[postgres]\nport = \"default\"\n");
    assert_snapshot!(project.says(&["status"]), @"");
}

#[test]
fn a_file_that_is_no_toml_is_pointed_at() {
    let project = Project::new("[postgres\nport = 5433\n");
    assert_snapshot!(project.says(&["status"]), @"");
}

#[test]
fn each_layer_is_named_as_the_source() {
    let project = Project::new("");
    assert_snapshot!(project.says(&["status", "--set", "postgres.prot=5433"]), @"");
    let mut variable = project.dm(&["status"]);
    variable.env("DM_POSTGRES__PORT", "many");
    assert_snapshot!(project.report(&mut variable), @"");
    project.write("dm.local.toml", "[postgrse]\n");
    assert_snapshot!(project.says(&["status"]), @"");
}

#[test]
fn a_folder_that_is_no_project_is_told_so() {
    assert_snapshot!(Project::none().says(&["status"]), @"");
}

#[test]
fn a_project_is_found_from_below_and_by_its_name() {
    let project = Project::new("[postgres]\nprot = 5433\n");
    project.write("fixtures/ldap/README", "");
    let mut below = project.dm(&["status"]);
    below.current_dir(project.root().join("fixtures/ldap"));
    assert!(project.report(&mut below).contains("dm.toml:2:1"));
    let elsewhere = Project::none();
    for mut named in [
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
        assert!(project.report(&mut named).contains("dm.toml:2:1"));
    }
}

#[test]
fn what_a_fixture_names_must_be_there() {
    let project = Project::new("[rabbitmq]\ndefinitions = \"nowhere.json\"\n");
    let mut call = project.dm(&["config", "check"]);
    // Whatever the check says of files, it needs no engine.
    assert!(!project.report(&mut call).contains("engine-not-found"));
}
