//! What happened to a stack behind the back of `dm`, and the `up` that mends it.

use bollard::query_parameters::StopContainerOptionsBuilder;

use crate::harness::project::row;
use crate::harness::{Engine, Project};
use crate::test_list;

test_list![up_mends_what_stopped_froze_and_vanished];

async fn up_mends_what_stopped_froze_and_vanished() {
    let project = Project::new("healing");
    project.up(&[]).ok();
    project.leave_mark();
    let before = project.found().await;
    let engine = Engine::connect();
    engine
        .0
        .kill_container(&before.ids()["rabbitmq"], None)
        .await
        .unwrap();
    engine
        .0
        .pause_container(&before.ids()["openldap"])
        .await
        .unwrap();
    engine.remove_container(&before.ids()["keycloak"]).await;

    let status = project
        .dm(&["status", "--json", "--check"])
        .run()
        .exits(1)
        .document("dm.status/1");
    assert_eq!(status["ok"], false);
    assert_eq!(row(&status, "rabbitmq")["state"], "exited");
    assert_eq!(row(&status, "rabbitmq")["exit_code"], 137);
    assert_eq!(row(&status, "openldap")["state"], "paused");
    assert_eq!(row(&status, "keycloak")["state"], "missing");
    assert_eq!(row(&status, "postgres")["state"], "ready");
    let plan = project
        .dm(&["up", "--dry-run", "--json"])
        .ok()
        .document("dm.plan/1");
    let actions: Vec<_> = plan["plan"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|step| step["action"].as_str())
        .collect();
    assert_eq!(actions, ["keep", "start", "resume", "create"]);

    project.up(&[]).ok();
    let after = project.found().await;
    after.assert_consistent();
    for component in ["postgres", "rabbitmq", "openldap"] {
        assert_eq!(
            after.ids()[component],
            before.ids()[component],
            "{component}"
        );
    }
    assert!(
        after.containers.iter().all(|it| it.state == "running"),
        "{after:?}"
    );
    assert!(project.has_mark());
    project.dm(&["token", "jhalpert"]).ok();

    // All of it stopped, as after a restart of the machine.
    let soon = StopContainerOptionsBuilder::new().t(0).build();
    for id in after.ids().values() {
        engine
            .0
            .stop_container(id, Some(soon.clone()))
            .await
            .unwrap();
    }
    project.up(&[]).ok();
    assert_eq!(project.found().await.ids(), after.ids());
    assert!(project.has_mark());
}
