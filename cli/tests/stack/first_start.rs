//! Tests of a first start: Keycloak's tables are loaded from its image instead of being created
//! by Keycloak.

use rustix::process::Signal;

use crate::harness::Project;
use crate::test_list;

test_list![keycloak_tables_are_loaded_from_the_image_atomically];

/// Every migration has the timestamp of the image's record, so Keycloak has run none itself.
const RECORDED: &str = "SELECT count(*) > 100 AND bool_and(dateexecuted = 'epoch') \
     FROM keycloak.databasechangelog";

const TABLES: &str = "SELECT count(*) FROM pg_tables WHERE schemaname = 'keycloak'";

async fn keycloak_tables_are_loaded_from_the_image_atomically() {
    let project = Project::new("first-start");
    let up = ["--no-golden", "--only", "keycloak,openldap"];
    let running = project
        .up(&[&up[..], &["--progress", "json"]].concat())
        .spawn();
    let was_seen = running.wait_for_event(|event| {
        event["name"] == "keycloak" && event["activity"] == "creating its tables"
    });
    running.signal(Signal::KILL);
    let output = running.wait();
    assert!(
        was_seen,
        "the run did not reach the step that creates the tables\n{output}"
    );
    // `dm` was killed before the tables were loaded, or after all of them were.
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
        .stderr_contains("Michael Scott: manager");
}
