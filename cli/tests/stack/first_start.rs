//! A start from nothing: what comes out of the images instead of being made.

use rustix::process::Signal;

use crate::harness::Project;
use crate::test_list;

test_list![keycloaks_tables_come_from_its_image_all_or_none];

/// Every migration is of the image's record, where all have one and the same time:
/// Keycloak has run none by itself.
const RECORDED: &str = "SELECT count(*) > 100 AND bool_and(dateexecuted = 'epoch') \
     FROM keycloak.databasechangelog";

const TABLES: &str = "SELECT count(*) FROM pg_tables WHERE schemaname = 'keycloak'";

async fn keycloaks_tables_come_from_its_image_all_or_none() {
    let project = Project::new("first-start");
    let up = ["--no-golden", "--only", "keycloak,openldap"];
    let running = project
        .up(&[&up[..], &["--progress", "json"]].concat())
        .spawn();
    let seen = running
        .sees_event(|event| event["name"] == "keycloak" && event["doing"] == "making its tables");
    running.signal(Signal::KILL);
    let output = running.wait();
    assert!(seen, "it made no tables\n{output}");
    // Killed before, or so late that all were made.
    let tables: u32 = project.sql(TABLES).parse().unwrap();
    assert!(
        tables == 0 || project.sql(RECORDED) == "t",
        "{tables} tables"
    );

    project.up(&up).ok();
    assert_eq!(project.sql(RECORDED), "t");
    assert_eq!(
        project.sql("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'keycloak'"),
        "keycloak"
    );
    project
        .dm(&["token", "mscott"])
        .ok()
        .tells("Michael Scott: manager");
}
