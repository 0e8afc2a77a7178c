//! Tests against an engine, with the image of a component.

use std::time::Duration;

use super::*;
use crate::EngineSettings;

/// A server that ignores signals while it starts.
const SERVER: &str = "
trap '' TERM
sleep 1
: > /dev/shm/started
trap 'exit 0' TERM
while :; do sleep 0.1; done";

/// How long a condition may take on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(60);

async fn connect() -> (Engine, ThrowawaySpec) {
    let engine = Engine::connect(&EngineSettings::default())
        .await
        .expect("this test needs a container engine; run: dm engine start --yes");
    let label = format!("{}=rabbitmq", labels::COMPONENT);
    let images = engine.list_images_with_label(&label).await.unwrap();
    let image = images
        .into_iter()
        .filter(|image| !image.labels.contains_key(labels::GOLDEN))
        .max_by_key(|image| image.created)
        .and_then(|image| image.references.into_iter().next())
        .expect("this test needs an image; run: dm images build rabbitmq --yes");
    let spec = ThrowawaySpec {
        image,
        command: ["sh", "-c", SERVER].map(str::to_owned).to_vec(),
        port: 5672,
        ..ThrowawaySpec::default()
    };
    (engine, spec)
}

async fn wait_until(mut condition: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(TIMEOUT, wait).await;
    waited.expect("the condition did not hold in time");
}

async fn wait_until_removed(engine: &Engine, id: &str) {
    wait_until(async || engine.inspect_container(id).await.unwrap().is_none()).await;
}

#[tokio::test]
async fn server_starts_and_ends_with_its_guard() {
    let (engine, spec) = connect().await;
    let container = engine.start_throwaway_container(&spec).await.unwrap();
    assert_ne!(container.port(), 0);
    let id = container.id().to_owned();
    let started = ExecSpec {
        command: ["test", "-e", "/dev/shm/started"]
            .map(str::to_owned)
            .to_vec(),
        ..ExecSpec::default()
    };
    wait_until(async || {
        let output = engine.exec_output(&id, &started).await.unwrap();
        output.exit_code == 0
    })
    .await;
    drop(container);
    wait_until_removed(&engine, &id).await;
}

#[tokio::test]
async fn server_that_ignores_signals_while_it_starts_ends_with_its_guard() {
    let (engine, spec) = connect().await;
    let container = engine.start_throwaway_container(&spec).await.unwrap();
    let id = container.id().to_owned();
    drop(container);
    wait_until_removed(&engine, &id).await;
}

/// A process that is killed after it has started the container starts no guard.
#[tokio::test]
async fn container_without_a_guard_ends() {
    let (engine, spec) = connect().await;
    let id = engine.create_waiting_container(&spec, 2).await.unwrap();
    engine.start_container(&id).await.unwrap();
    // A server that had started would not end.
    wait_until_removed(&engine, &id).await;
}
