//! Containers and specifications for the tests of several modules.

use std::collections::{BTreeMap, HashMap};

use dm_engine::containers::{Container, ContainerState};
use dm_engine::spec::{ContainerSpec, DigestKey};

/// Returns a running container with the digest `1`.
pub(crate) fn container(component: &str) -> Container {
    Container {
        id: component.to_owned(),
        name: component.to_owned(),
        component: component.to_owned(),
        instance: "default".to_owned(),
        image: String::new(),
        state: ContainerState::Running,
        status: "Exited (1) 2 minutes ago".to_owned(),
        digest: "1".to_owned(),
        has_network: true,
        ports: BTreeMap::new(),
        labels: HashMap::new(),
    }
}

/// Returns a specification without files and volumes.
pub(crate) fn spec(component: &str) -> ContainerSpec {
    ContainerSpec {
        name: format!("dm-{component}"),
        component: component.to_owned(),
        image: String::new(),
        recipe: String::new(),
        digest_key: DigestKey::default(),
        hostname: component.to_owned(),
        env: BTreeMap::new(),
        command: Vec::new(),
        files: Vec::new(),
        mounts: Vec::new(),
        ports: Vec::new(),
        network: "dm".to_owned(),
        memory: None,
        shm_size: None,
        stop_timeout: 10,
        sysctls: BTreeMap::new(),
        host: None,
        labels: BTreeMap::new(),
    }
}
