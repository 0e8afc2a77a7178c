//! Tests of a first start: Keycloak's tables are loaded from its image instead of being created
//! by Keycloak, and the users of the directory are imported.

use rustix::process::Signal;

use crate::harness::Project;
use crate::test_list;

test_list![
    keycloak_tables_are_loaded_from_the_image_atomically,
    users_are_imported_before_the_first_sign_in,
];

/// A first start of the components that sign users in.
const UP: [&str; 3] = ["--no-golden", "--only", "keycloak,openldap"];

/// Every migration has the timestamp of the image's record, so Keycloak has run none itself.
const RECORDED: &str = "SELECT count(*) > 100 AND bool_and(dateexecuted = 'epoch') \
     FROM keycloak.databasechangelog";

const TABLES: &str = "SELECT count(*) FROM pg_tables WHERE schemaname = 'keycloak'";

async fn keycloak_tables_are_loaded_from_the_image_atomically() {
    let project = Project::new("first-start");
    let running = project
        .up(&[&UP[..], &["--progress", "json"]].concat())
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

    project.up(&UP).ok();
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

/// The users that Keycloak has imported.
const IMPORTED: &str =
    "SELECT count(*) FROM keycloak.user_entity WHERE federation_link IS NOT NULL";

/// Removes the imported users and the record of the import.
const FORGET_IMPORT: &str = "CREATE TEMPORARY VIEW imported AS SELECT id FROM keycloak.user_entity WHERE federation_link IS NOT NULL; \
     DELETE FROM keycloak.user_attribute WHERE user_id IN (TABLE imported); \
     DELETE FROM keycloak.user_role_mapping WHERE user_id IN (TABLE imported); \
     DELETE FROM keycloak.user_entity WHERE id IN (TABLE imported); \
     DELETE FROM keycloak.component_config WHERE name LIKE 'lastSync%'";

async fn users_are_imported_before_the_first_sign_in() {
    let project = Project::new("directory");
    project.up(&UP).ok();
    assert_eq!(project.sql(IMPORTED), "20");
    // The state after a run that was killed before the import, or of an older backup.
    project.sql(FORGET_IMPORT);
    assert_eq!(project.sql(IMPORTED), "0");
    project.up(&UP).ok();
    assert_eq!(project.sql(IMPORTED), "20");
}
