//! The engine beside `dm`: what is really there, and what a person may do to it.

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

/// The engine, by its API.
pub(crate) struct Engine(pub Docker);

/// A container of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Container {
    pub id: String,
    pub name: String,
    pub state: String,
    pub labels: BTreeMap<String, String>,
    /// The addresses on the host that its ports are published at.
    pub bound: BTreeSet<String>,
}

impl Container {
    /// The component that it is.
    pub(crate) fn component(&self) -> &str {
        self.labels.get(COMPONENT).map_or("", String::as_str)
    }
}

/// What the engine has of some projects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub containers: Vec<Container>,
    /// Networks by id: two may have the same name.
    pub networks: BTreeMap<String, String>,
    pub volumes: BTreeSet<String>,
}

impl Found {
    /// What there is, by name.
    pub(crate) fn names(&self) -> Vec<String> {
        let containers = self
            .containers
            .iter()
            .map(|it| format!("container {}", it.name));
        let networks = self.networks.values().map(|it| format!("network {it}"));
        let volumes = self.volumes.iter().map(|it| format!("volume {it}"));
        containers.chain(networks).chain(volumes).collect()
    }

    /// The id of each component's container.
    pub(crate) fn ids(&self) -> BTreeMap<String, String> {
        self.containers
            .iter()
            .map(|it| (it.component().to_owned(), it.id.clone()))
            .collect()
    }

    /// The container of a component.
    #[track_caller]
    pub(crate) fn container(&self, component: &str) -> &Container {
        self.containers
            .iter()
            .find(|it| it.component() == component)
            .unwrap_or_else(|| panic!("{component} has no container: {:?}", self.names()))
    }

    /// What must hold of an instance at any moment, whatever became of `dm`:
    /// nothing is there twice, and everything can be found by its labels.
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
            assert!(seen.insert(key), "there are two of {}", container.name);
            let expected = format!(
                "{}-{}-{}",
                container.labels[PROJECT],
                container.labels[INSTANCE],
                container.component()
            );
            assert_eq!(container.name, expected);
        }
        let names: BTreeSet<&String> = self.networks.values().collect();
        assert_eq!(names.len(), self.networks.len(), "a network is there twice");
    }
}

impl Engine {
    /// The engine that the tests run on.
    pub(crate) fn connect() -> Self {
        Self(Docker::connect_with_local_defaults().expect("the address of an engine"))
    }

    /// Everything that belongs to a project in or below a folder.
    pub(crate) async fn below(&self, folder: &Path) -> Found {
        let labelled = HashMap::from([("label", vec![ROOT])]);
        let ours = |labels: &HashMap<String, String>| {
            labels
                .get(ROOT)
                .is_some_and(|root| Path::new(root).starts_with(folder))
        };
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&labelled)
            .build();
        let containers = self
            .0
            .list_containers(Some(options))
            .await
            .expect("containers");
        let options = ListNetworksOptionsBuilder::new().filters(&labelled).build();
        let networks = self.0.list_networks(Some(options)).await.expect("networks");
        let options = ListVolumesOptionsBuilder::new().filters(&labelled).build();
        let volumes = self.0.list_volumes(Some(options)).await.expect("volumes");
        Found {
            containers: containers
                .into_iter()
                .filter(|it| it.labels.as_ref().is_some_and(ours))
                .map(|it| Container {
                    id: it.id.unwrap_or_default(),
                    name: it
                        .names
                        .unwrap_or_default()
                        .concat()
                        .trim_matches('/')
                        .to_owned(),
                    state: it.state.map(|state| state.to_string()).unwrap_or_default(),
                    labels: it.labels.unwrap_or_default().into_iter().collect(),
                    bound: it
                        .ports
                        .unwrap_or_default()
                        .into_iter()
                        .filter_map(|port| port.ip)
                        .collect(),
                })
                .collect(),
            networks: networks
                .into_iter()
                .filter(|it| it.labels.as_ref().is_some_and(ours))
                .map(|it| (it.id.unwrap_or_default(), it.name.unwrap_or_default()))
                .collect(),
            volumes: volumes
                .volumes
                .unwrap_or_default()
                .into_iter()
                .filter(|it| ours(&it.labels))
                .map(|it| it.name)
                .collect(),
        }
    }

    /// Removes all of it.
    pub(crate) async fn remove(&self, found: &Found) {
        let force = RemoveContainerOptionsBuilder::new().force(true).build();
        for container in &found.containers {
            let _ = self
                .0
                .remove_container(&container.id, Some(force.clone()))
                .await;
        }
        for network in found.networks.keys() {
            let _ = self.0.remove_network(network).await;
        }
        for volume in &found.volumes {
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
            .expect("the container is there");
    }
}
