//! The engine's API, independent of `dm`: reads what exists and changes it as a user would.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use bollard::Docker;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveVolumeOptions,
};

const ROOT: &str = "com.dundermifflin.dm.root";
const PROJECT: &str = "com.dundermifflin.dm.project";
const INSTANCE: &str = "com.dundermifflin.dm.instance";
const COMPONENT: &str = "com.dundermifflin.dm.component";
const DIGEST: &str = "com.dundermifflin.dm.config-digest";

/// A client of the engine's API.
pub(crate) struct Engine(pub Docker);

/// A container of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Container {
    pub id: String,
    pub name: String,
    pub state: String,
    pub labels: BTreeMap<String, String>,
    /// The host addresses at which the container's ports are published.
    pub host_addresses: BTreeSet<String>,
}

impl Container {
    /// Returns the name of the container's component.
    pub(crate) fn component(&self) -> &str {
        self.labels.get(COMPONENT).map_or("", String::as_str)
    }
}

/// The containers, networks and volumes of some projects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EngineObjects {
    pub containers: Vec<Container>,
    /// Network names by id, because two networks may have the same name.
    pub networks: BTreeMap<String, String>,
    pub volumes: BTreeSet<String>,
}

impl EngineObjects {
    /// Returns the kind and the name of every object.
    pub(crate) fn names(&self) -> Vec<String> {
        let containers = self
            .containers
            .iter()
            .map(|container| format!("container {}", container.name));
        let networks = self.networks.values().map(|name| format!("network {name}"));
        let volumes = self.volumes.iter().map(|name| format!("volume {name}"));
        containers.chain(networks).chain(volumes).collect()
    }

    /// Returns the container id of each component.
    pub(crate) fn ids(&self) -> BTreeMap<String, String> {
        self.containers
            .iter()
            .map(|container| (container.component().to_owned(), container.id.clone()))
            .collect()
    }

    /// Returns the container of a component.
    #[track_caller]
    pub(crate) fn container(&self, component: &str) -> &Container {
        self.containers
            .iter()
            .find(|container| container.component() == component)
            .unwrap_or_else(|| panic!("{component} has no container: {:?}", self.names()))
    }

    /// Asserts what holds for an instance at any moment, even after `dm` was killed: no object
    /// exists twice, and every object can be found by its labels.
    #[track_caller]
    pub(crate) fn assert_consistent(&self) {
        let mut seen = BTreeSet::new();
        for container in &self.containers {
            for label in [PROJECT, INSTANCE, COMPONENT, DIGEST, ROOT] {
                assert!(
                    container
                        .labels
                        .get(label)
                        .is_some_and(|value| !value.is_empty()),
                    "{} lacks the label {label}",
                    container.name
                );
            }
            let key = (
                container.labels[INSTANCE].clone(),
                container.component().to_owned(),
            );
            assert!(seen.insert(key), "{} exists twice", container.name);
            let expected = format!(
                "{}-{}-{}",
                container.labels[PROJECT],
                container.labels[INSTANCE],
                container.component()
            );
            assert_eq!(container.name, expected);
        }
        let names: BTreeSet<&String> = self.networks.values().collect();
        assert_eq!(names.len(), self.networks.len(), "a network exists twice");
    }
}

impl Engine {
    /// Connects to the engine that the tests use.
    pub(crate) fn connect() -> Self {
        Self(Docker::connect_with_local_defaults().expect("the engine client cannot be configured"))
    }

    /// Returns everything that belongs to a project in or below a directory.
    pub(crate) async fn below(&self, directory: &Path) -> EngineObjects {
        let labelled = HashMap::from([("label", vec![ROOT])]);
        let is_below = |labels: &HashMap<String, String>| {
            labels
                .get(ROOT)
                .is_some_and(|root| Path::new(root).starts_with(directory))
        };
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&labelled)
            .build();
        let containers = self
            .0
            .list_containers(Some(options))
            .await
            .expect("could not list the containers");
        let options = ListNetworksOptionsBuilder::new().filters(&labelled).build();
        let networks = self
            .0
            .list_networks(Some(options))
            .await
            .expect("could not list the networks");
        let options = ListVolumesOptionsBuilder::new().filters(&labelled).build();
        let volumes = self
            .0
            .list_volumes(Some(options))
            .await
            .expect("could not list the volumes");
        EngineObjects {
            containers: containers
                .into_iter()
                .filter(|container| container.labels.as_ref().is_some_and(is_below))
                .map(|container| Container {
                    id: container.id.unwrap_or_default(),
                    name: container
                        .names
                        .unwrap_or_default()
                        .concat()
                        .trim_matches('/')
                        .to_owned(),
                    state: container
                        .state
                        .map(|state| state.to_string())
                        .unwrap_or_default(),
                    labels: container.labels.unwrap_or_default().into_iter().collect(),
                    host_addresses: container
                        .ports
                        .unwrap_or_default()
                        .into_iter()
                        .filter_map(|port| port.ip)
                        .collect(),
                })
                .collect(),
            networks: networks
                .into_iter()
                .filter(|network| network.labels.as_ref().is_some_and(is_below))
                .map(|network| {
                    (
                        network.id.unwrap_or_default(),
                        network.name.unwrap_or_default(),
                    )
                })
                .collect(),
            volumes: volumes
                .volumes
                .unwrap_or_default()
                .into_iter()
                .filter(|volume| is_below(&volume.labels))
                .map(|volume| volume.name)
                .collect(),
        }
    }

    /// Removes all these objects.
    pub(crate) async fn remove(&self, objects: &EngineObjects) {
        let force = RemoveContainerOptionsBuilder::new().force(true).build();
        for container in &objects.containers {
            let _ = self
                .0
                .remove_container(&container.id, Some(force.clone()))
                .await;
        }
        for network in objects.networks.keys() {
            let _ = self.0.remove_network(network).await;
        }
        for volume in &objects.volumes {
            let _ = self
                .0
                .remove_volume(volume, None::<RemoveVolumeOptions>)
                .await;
        }
    }

    /// Removes a container as `docker rm --force` does.
    pub(crate) async fn remove_container(&self, id: &str) {
        let force = RemoveContainerOptionsBuilder::new().force(true).build();
        self.0
            .remove_container(id, Some(force))
            .await
            .expect("the container exists");
    }
}
