//! Examples for the tests of this and other crates.

use std::collections::BTreeMap;

use crate::manifest::{FORMAT_VERSION, Manifest, PostgresManifest, Purpose};

/// Returns the manifest of a backup with one table.
#[must_use]
#[allow(clippy::unwrap_used, reason = "tests alone use it")]
pub fn manifest(id: &str, taken_at: &str) -> Manifest {
    Manifest {
        format: FORMAT_VERSION,
        id: id.into(),
        purpose: Purpose::Manual,
        taken_at: taken_at.parse().unwrap(),
        dm: "0.1.0".into(),
        project: "p".into(),
        instance: "default".into(),
        postgres: PostgresManifest {
            version: "17.12".into(),
            database: "d".into(),
            lsn: "0/1".into(),
            bytes: 7,
            rows: [("orders.orders".to_owned(), 3)].into(),
        },
        rabbitmq: "4.0.5".into(),
        keycloak: "26.4.0".into(),
        dead_letters: BTreeMap::new(),
        pending: 0,
        recipients: Vec::new(),
        seconds: BTreeMap::new(),
        files: BTreeMap::new(),
    }
}
