//! A specification of a container, for the tests of this crate.

use std::collections::BTreeMap;

use crate::spec::{ContainerFile, ContainerSpec, DigestKey, PublishedPort};

/// Returns the specification of a container with one of each usual property.
pub(crate) fn spec() -> ContainerSpec {
    ContainerSpec {
        name: "dm-postgres".into(),
        component: "postgres".into(),
        image: "dm/postgres:1".into(),
        recipe: "postgres@1".into(),
        digest_key: DigestKey::default(),
        hostname: "postgres".into(),
        env: BTreeMap::from([("A".into(), "1".into())]),
        command: vec![],
        files: vec![ContainerFile::world_readable("/a", "x")],
        mounts: vec![],
        ports: vec![PublishedPort {
            name: "postgres".into(),
            container: 5432,
            host: 5432,
        }],
        network: "dm".into(),
        memory: None,
        shm_size: None,
        stop_timeout: 10,
        sysctls: BTreeMap::new(),
        host: None,
        labels: BTreeMap::new(),
    }
}
