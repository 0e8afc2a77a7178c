//! What a person reads when something is wrong.

use miette::{GraphicalReportHandler, GraphicalTheme};

use super::Project;
use crate::config::ConfigError;
use crate::error::{Coded, Exit};

/// The report as on a terminal of 80 columns without colour.
pub(super) fn render(error: &ConfigError) -> String {
    let mut report = String::new();
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
        .with_width(80)
        .with_links(false);
    let diagnostic = error.diagnostic().expect("no diagnostic");
    handler.render_report(&mut report, diagnostic).unwrap();
    let lines: Vec<&str> = report.lines().map(str::trim_end).collect();
    lines.join("\n")
}

fn report(project: &Project) -> String {
    let error = project.load().expect_err("nothing is wrong");
    assert_eq!(error.exit(), Exit::Usage);
    render(&error)
}

fn report_of(file: &str) -> String {
    report(&Project::new(file))
}

#[test]
fn an_unknown_key() {
    insta::assert_snapshot!(report_of("[postgres]\nport = 5433\nprot = 5434\n"), @"");
}

#[test]
fn an_unknown_section() {
    insta::assert_snapshot!(report_of("[postgress]\nport = 5433\n"), @"");
}

#[test]
fn a_key_of_another_section() {
    insta::assert_snapshot!(report_of("[postgres]\nmanagement_port = 15673\n"), @"");
}

#[test]
fn an_unknown_service() {
    insta::assert_snapshot!(report_of("[services.oder]\nport = 9093\n"), @"");
}

#[test]
fn a_number_in_quotes() {
    insta::assert_snapshot!(report_of("[postgres]\nport = \"5433\"\n"), @"");
}

#[test]
fn a_value_where_a_section_belongs() {
    insta::assert_snapshot!(report_of("postgres = 5432\n"), @"");
}

#[test]
fn a_port_out_of_range() {
    insta::assert_snapshot!(report_of("[rabbitmq]\nport = 70000\n"), @"");
}

#[test]
fn an_unknown_choice() {
    insta::assert_snapshot!(report_of("[images]\nsource = \"pul\"\n"), @"");
}

#[test]
fn a_time_without_its_unit() {
    insta::assert_snapshot!(report_of("[timeouts]\nwait = \"300\"\n"), @"");
}

#[test]
fn a_time_out_of_range() {
    insta::assert_snapshot!(report_of("[timeouts]\npoll = \"1m\"\n"), @"");
}

#[test]
fn a_time_that_is_a_number() {
    insta::assert_snapshot!(report_of("[timeouts]\nwait = 300\n"), @"");
}

#[test]
fn an_image_reference_that_is_none() {
    insta::assert_snapshot!(report_of("[postgres]\nimage = \"Postgres:17\"\n"), @"");
}

#[test]
fn a_project_name_that_is_none() {
    insta::assert_snapshot!(report_of("[project]\nname = \"Dunder Mifflin\"\n"), @"");
}

#[test]
fn an_empty_password() {
    insta::assert_snapshot!(report_of("[keycloak]\nadmin_password = \"\"\n"), @"");
}

#[test]
fn a_password_that_is_a_number() {
    insta::assert_snapshot!(report_of("[keycloak]\nadmin_password = 123456\n"), @"");
}

#[test]
fn a_setting_that_dm_sets_itself() {
    insta::assert_snapshot!(report_of("[postgres.settings]\nport = 5433\n"), @"");
}

#[test]
fn one_port_twice_in_a_file() {
    insta::assert_snapshot!(report_of("[postgres]\nport = 5672\n\n[rabbitmq]\nport = 5672\n"), @"");
}

#[test]
fn a_port_that_a_default_has() {
    insta::assert_snapshot!(report_of("[postgres]\nport = 8080\n"), @"");
}

#[test]
fn one_port_twice_in_two_layers() {
    insta::assert_snapshot!(report(&Project::new("[rabbitmq]\nport = 7000\n").set("postgres.port=7000")), @"");
}

#[test]
fn a_schema_without_a_password() {
    insta::assert_snapshot!(report_of("[services.gateway]\nschema = \"gateway\"\n"), @"");
}

#[test]
fn a_schema_twice() {
    insta::assert_snapshot!(report_of("[services.sales]\nschema = \"orders\"\n"), @"");
}

#[test]
fn a_heap_beyond_its_container() {
    insta::assert_snapshot!(report_of("[keycloak]\nheap = \"2GiB\"\nmemory = \"1GiB\"\n"), @"");
}

#[test]
fn half_of_the_credentials() {
    insta::assert_snapshot!(report_of("[images.credentials]\nusername = \"jim\"\n"), @"");
}

#[test]
fn what_is_not_toml() {
    insta::assert_snapshot!(report_of("[postgres]\nport = \n[rabbitmq\nport = 5672\n"), @"");
}

#[test]
fn a_key_twice() {
    insta::assert_snapshot!(report_of("[postgres]\nport = 5433\nport = 5434\n"), @"");
}

#[test]
fn a_variable_with_a_single_underscore() {
    insta::assert_snapshot!(report(&Project::new("").variable("DM_POSTGRES_PORT", "5433")), @"");
}

#[test]
fn a_misspelt_variable() {
    insta::assert_snapshot!(report(&Project::new("").variable("DM_POSTGRES__PROT", "5433")), @"");
}

#[test]
fn a_variable_of_the_wrong_type() {
    insta::assert_snapshot!(report(&Project::new("").variable("DM_POSTGRES__PORT", "many")), @"");
}

#[test]
fn a_misspelt_flag() {
    insta::assert_snapshot!(report(&Project::new("").set("postgres.prot=5433")), @"");
}

#[test]
fn a_flag_without_a_value() {
    insta::assert_snapshot!(report(&Project::new("").set("postgres.port")), @"");
}

#[test]
fn a_file_that_is_not_utf_8() {
    insta::assert_snapshot!(report(&Project::new("").write("dm.local.toml", b"[project]\nname = \"caf\xe9\"\n")), @"");
}

#[test]
fn a_misspelt_password_is_not_shown() {
    insta::assert_snapshot!(report_of("[postgres]\npasswrod = \"hunter2\"\n"), @"");
}

#[test]
fn a_password_in_a_broken_file_is_not_shown() {
    insta::assert_snapshot!(report_of("[postgres]\npassword = \"hunter2\nport = 1\n"), @"");
}

#[test]
fn everything_at_once() {
    let project = Project::new(
        "[project]\nname = \"Scranton\"\n\n[postgres]\nprot = 5433\nport = \"5433\"\n\
         password = \"hunter2\"\n",
    )
    .local("[timeouts]\nwait = \"soon\"\n\n[rabbitmq]\nport = 8080\n")
    .variable("DM_IMAGES__SOURCE", "build")
    .variable("DM_KEYCLOAK__HEAP", "512")
    .set("golden.prepare=maybe");
    let error = project.load().unwrap_err();
    let codes: Vec<_> = error
        .problems()
        .iter()
        .map(|problem| problem.code())
        .collect();
    assert_eq!(
        codes,
        [
            "config-wrong-type",
            "config-unknown-key",
            "config-invalid-value",
            "config-invalid-value",
            "config-invalid-value",
            "config-invalid-value",
            "config-port-twice",
        ]
    );
    insta::assert_snapshot!(render(&error), @"");
}

#[test]
fn a_mistake_counts_even_where_a_higher_layer_hides_it() {
    let project = Project::new("[postgres]\nport = 0\n").set("postgres.port=5433");
    let error = project.load().unwrap_err();
    assert_eq!(error.problems().len(), 1);
    assert_eq!(error.problems()[0].key(), Some("postgres.port"));
}
