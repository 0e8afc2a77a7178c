//! What tests of several modules decide about.

use std::collections::{BTreeMap, HashMap};

use dm_engine::containers::{Container, ContainerState};
use dm_engine::spec::{ContainerSpec, DigestKey};

/// A container that runs and is what it should be by the digest `1`.
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

/// What a container without files and volumes should be.
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
