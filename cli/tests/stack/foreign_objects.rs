//! Tests that `dm down` does not remove objects that lack the labels of its instance.

use std::collections::HashMap;

use bollard::Docker;
use bollard::models::{
    ContainerCreateBody, HostConfig, NetworkConnectRequest, NetworkCreateRequest,
    NetworkDisconnectRequest, VolumeCreateRequest,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, RemoveVolumeOptions,
};

use crate::harness::project::row;
use crate::harness::{Engine, Project};
use crate::test_list;

test_list![down_removes_only_labelled_objects_of_its_instance];

/// A foreign network, container and volume that resemble those of `dm`.
struct ForeignObjects {
    docker: Docker,
    name: String,
}

impl ForeignObjects {
    async fn new(name: String, image: &str, labels: HashMap<String, String>) -> Self {
        let docker = Engine::connect().0;
        let network = NetworkCreateRequest {
            name: name.clone(),
            labels: Some(labels.clone()),
            ..Default::default()
        };
        docker.create_network(network).await.unwrap();
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            entrypoint: Some(["sleep", "infinity"].map(str::to_owned).to_vec()),
            cmd: Some(Vec::new()),
            labels: Some(labels.clone()),
            host_config: Some(HostConfig {
                network_mode: Some(name.clone()),
                ..Default::default()
            }),
            ..Default::default()
        };
        docker.create_container(Some(options), body).await.unwrap();
        docker.start_container(&name, None).await.unwrap();
        let volume = VolumeCreateRequest {
            name: Some(name.clone()),
            labels: Some(labels),
            ..Default::default()
        };
        docker.create_volume(volume).await.unwrap();
        Self { docker, name }
    }

    /// Returns whether the objects exist and the container is running.
    async fn is_intact(&self) -> bool {
        let container = self.docker.inspect_container(&self.name, None).await;
        let running = container
            .ok()
            .and_then(|container| container.state)
            .and_then(|state| state.running)
            .unwrap_or_default();
        running
            && self.docker.inspect_network(&self.name, None).await.is_ok()
            && self.docker.inspect_volume(&self.name).await.is_ok()
    }

    async fn remove(self) {
        let force = RemoveContainerOptionsBuilder::new().force(true).build();
        let _ = self.docker.remove_container(&self.name, Some(force)).await;
        let _ = self.docker.remove_network(&self.name).await;
        let _ = self
            .docker
            .remove_volume(&self.name, None::<RemoveVolumeOptions>)
            .await;
    }
}

async fn down_removes_only_labelled_objects_of_its_instance() {
    let project = Project::new("foreign");
    project.up(&["--only", "openldap"]).ok();
    let own = project.objects().await;
    let network = own.networks.values().next().unwrap().clone();
    let image = row(&project.status(), "openldap")["image"]
        .as_str()
        .unwrap()
        .to_owned();
    let label = |name: &str| format!("com.dundermifflin.dm.{name}");
    let labels = own.container("openldap").labels.clone();

    // The first objects have a similar name and no labels. The others have the labels of another
    // instance, whose name begins with the name of this instance.
    let unlabelled =
        ForeignObjects::new(format!("{network}-openldap2"), &image, HashMap::new()).await;
    let other = HashMap::from([
        (label("project"), labels[&label("project")].clone()),
        (label("instance"), "default-2".to_owned()),
        (label("component"), "openldap".to_owned()),
    ]);
    let labelled = ForeignObjects::new(format!("{network}-2-openldap"), &image, other).await;

    // A foreign container uses the instance's network.
    let docker = &unlabelled.docker;
    let connect = NetworkConnectRequest {
        container: unlabelled.name.clone(),
        ..Default::default()
    };
    docker.connect_network(&network, connect).await.unwrap();
    let output = project.dm(&["down", "--volumes"]).run();
    let refusal = (
        output.code != Some(0),
        output.stderr.contains(&unlabelled.name),
    );
    let disconnect = NetworkDisconnectRequest {
        container: unlabelled.name.clone(),
        ..Default::default()
    };
    docker
        .disconnect_network(&network, disconnect)
        .await
        .unwrap();
    let again = project.dm(&["down", "--volumes"]).run();
    let remaining = project.objects().await;
    let intact = (unlabelled.is_intact().await, labelled.is_intact().await);
    unlabelled.remove().await;
    labelled.remove().await;

    assert_eq!(
        refusal,
        (true, true),
        "the container that uses the network is not named\n{output}"
    );
    let again = again.exits(0);
    assert!(remaining.names().is_empty(), "{remaining:?}\n{again}");
    assert_eq!(
        intact,
        (true, true),
        "a foreign object was removed\n{output}\n{again}"
    );
}
