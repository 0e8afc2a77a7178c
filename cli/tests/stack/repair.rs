//! Tests of `dm up` on a stack that was changed without `dm`.

use bollard::query_parameters::{
    KillContainerOptionsBuilder, RemoveImageOptions, StopContainerOptionsBuilder,
    TagImageOptionsBuilder,
};
use sqlx::Connection as _;

use crate::harness::project::row;
use crate::harness::proxy::{Proxy, ProxyMode};
use crate::harness::{Engine, Project, servers};
use crate::secrets::HARD;
use crate::test_list;

test_list![
    up_repairs_stopped_paused_and_missing_containers,
    up_starts_a_container_that_stops_during_the_run,
    image_deleted_during_up_is_named,
];

async fn up_repairs_stopped_paused_and_missing_containers() {
    let project = Project::new("repair");
    project.up(&[]).ok();
    project.write_marker();
    let before = project.objects().await;
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
    let after = project.objects().await;
    after.assert_consistent();
    for component in ["postgres", "rabbitmq", "openldap"] {
        assert_eq!(
            after.ids()[component],
            before.ids()[component],
            "{component}"
        );
    }
    assert!(
        after
            .containers
            .iter()
            .all(|container| container.state == "running"),
        "{after:?}"
    );
    assert!(project.has_marker());
    project.dm(&["token", "jhalpert"]).ok();

    // All containers are stopped, as after a restart of the machine.
    let immediately = StopContainerOptionsBuilder::new().t(0).build();
    for id in after.ids().values() {
        engine
            .0
            .stop_container(id, Some(immediately.clone()))
            .await
            .unwrap();
    }
    project.up(&[]).ok();
    assert_eq!(project.objects().await.ids(), after.ids());
    assert!(project.has_marker());
}

/// The engine continues to stop a container after the `dm` that stops it was killed.
async fn up_starts_a_container_that_stops_during_the_run() {
    let project = Project::new("stopping");
    let up = ["--only", "postgres", "--progress", "json"];
    project.up(&up).ok();
    let port = project.port("postgres");
    // A smart shutdown refuses new clients and waits for this one.
    let login = || servers::login(port, "dundermifflin", "dundermifflin", HARD);
    let client = login().await.unwrap();
    let engine = Engine::connect();
    let id = project.objects().await.ids()["postgres"].clone();
    let smart_shutdown = KillContainerOptionsBuilder::new().signal("SIGTERM").build();
    let killed = engine.0.kill_container(&id, Some(smart_shutdown)).await;
    killed.unwrap();
    while login().await.is_ok() {}

    let running = project.up(&up).spawn();
    assert!(
        running.wait_for_event(|event| {
            event["name"] == "postgres" && event["state"] == "starting"
        })
    );
    client.close().await.unwrap();
    running.wait().exits(0);
    login().await.unwrap();
}

/// A repository in a registry that does not exist.
const REPOSITORY: &str = "127.0.0.1:9/dm-stack-test/openldap";

async fn image_deleted_during_up_is_named() {
    let project = Project::new("image-deleted");
    project.up(&["--only", "openldap"]).ok();
    let source = row(&project.status(), "openldap")["image"].clone();
    let source = source.as_str().unwrap();
    // A name of its own, so that no other test loses the image.
    let engine = Engine::connect().0;
    let tag = format!("of-{}", std::process::id());
    let image = format!("{REPOSITORY}:{tag}");
    let tag_image = || async {
        let options = TagImageOptionsBuilder::new()
            .repo(REPOSITORY)
            .tag(&tag)
            .build();
        engine.tag_image(source, Some(options)).await.unwrap();
    };
    let untag_image = || async {
        let removal = engine.remove_image(&image, None::<RemoveImageOptions>, None);
        removal.await.unwrap();
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

    tag_image().await;
    let proxy = Proxy::start(|call| {
        if call.what.ends_with("/containers/create") {
            ProxyMode::Hold
        } else {
            ProxyMode::Forward
        }
    });
    let running = project.up(&up).env("DOCKER_HOST", proxy.address()).spawn();
    proxy.wait_for("/containers/create").await;
    untag_image().await;
    proxy.release();
    running.wait().exits(4).stderr_contains(&image);

    // The image is neither local nor in a registry now, and the error names the registry.
    project
        .up(&up)
        .run()
        .exits(4)
        .stderr_contains("127.0.0.1:9");
    tag_image().await;
    let repaired = project.up(&up).run();
    let status = project.status();
    project.dm(&["down"]).ok();
    untag_image().await;
    repaired.exits(0);
    assert_eq!(row(&status, "openldap")["state"], "ready");
    assert_eq!(row(&status, "openldap")["image"], image);
    project.up(&["--only", "openldap"]).ok();
}
