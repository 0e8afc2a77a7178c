//! What happened to a stack behind the back of `dm`, and the `up` that mends it.

use bollard::query_parameters::{
    RemoveImageOptions, StopContainerOptionsBuilder, TagImageOptionsBuilder,
};

use crate::harness::project::row;
use crate::harness::proxy::{Fate, Proxy};
use crate::harness::{Engine, Project};
use crate::test_list;

test_list![
    up_mends_what_stopped_froze_and_vanished,
    an_image_that_is_deleted_under_a_run_is_named,
];

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

/// Where no registry answers.
const REPOSITORY: &str = "127.0.0.1:9/dm-stack-test/openldap";

async fn an_image_that_is_deleted_under_a_run_is_named() {
    let project = Project::new("image-deleted");
    project.up(&["--only", "openldap"]).ok();
    let built = row(&project.status(), "openldap")["image"].clone();
    let built = built.as_str().unwrap();
    // A name of its own for it, so that no other test misses the image.
    let engine = Engine::connect().0;
    let tag = format!("of-{}", std::process::id());
    let image = format!("{REPOSITORY}:{tag}");
    let give = || async {
        let options = TagImageOptionsBuilder::new()
            .repo(REPOSITORY)
            .tag(&tag)
            .build();
        engine.tag_image(built, Some(options)).await.unwrap();
    };
    let take = || async {
        let gone = engine.remove_image(&image, None::<RemoveImageOptions>, None);
        gone.await.unwrap();
    };
    let set = format!("openldap.image={image}");
    let up = [
        "--only",
        "openldap",
        "--set",
        "images.source=pull",
        "--set",
        &set,
    ];

    give().await;
    let proxy = Proxy::start(|call| {
        if call.what.ends_with("/containers/create") {
            Fate::Hold
        } else {
            Fate::Forward
        }
    });
    let running = project.up(&up).env("DOCKER_HOST", proxy.address()).spawn();
    proxy.wait_for("/containers/create").await;
    take().await;
    proxy.release();
    running.wait().exits(4).tells(&image);

    // Nobody has it now, and that is said, too.
    project.up(&up).run().exits(4).tells("127.0.0.1:9");
    give().await;
    let healed = project.up(&up).run();
    let status = project.status();
    project.dm(&["down"]).ok();
    take().await;
    healed.exits(0);
    assert_eq!(row(&status, "openldap")["state"], "ready");
    assert_eq!(row(&status, "openldap")["image"], image);
    project.up(&["--only", "openldap"]).ok();
}
