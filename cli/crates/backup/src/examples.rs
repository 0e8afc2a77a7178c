//! Examples for the tests of this and other crates.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::backup_store::{MANIFEST_DIGEST_FILE, MANIFEST_FILE};
use crate::digest::digest_bytes;
use crate::manifest::{FORMAT_VERSION, Manifest, PostgresManifest, Purpose};
use crate::{Backup, BackupStore, Recipients};

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

/// Returns a backup with this manifest. It has no directory.
#[must_use]
pub fn backup(manifest: Manifest) -> Backup {
    Backup {
        path: PathBuf::new(),
        manifest,
        verified_at: None,
        restore_started_at: None,
        restored_at: None,
    }
}

/// Creates a manual backup of the first day of 2020, without files.
pub fn create_backup(store: &BackupStore, id: &str) -> Backup {
    complete_backup(store, manifest(id, "2020-01-01T00:00:00Z"))
}

/// Like [`create_backup`], for a backup of this instance of a project.
pub fn create_backup_of(store: &BackupStore, id: &str, project: &str, instance: &str) -> Backup {
    let manifest = Manifest {
        project: project.to_owned(),
        instance: instance.to_owned(),
        ..manifest(id, "2020-01-01T00:00:00Z")
    };
    complete_backup(store, manifest)
}

/// Changes the manifest of the backup in a directory, and its digest accordingly.
#[allow(clippy::unwrap_used, reason = "tests alone use it")]
pub fn change_manifest(directory: &Path, change: impl FnOnce(&mut Manifest)) {
    let path = directory.join(MANIFEST_FILE);
    let mut manifest = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut manifest);
    let text = serde_json::to_vec_pretty(&manifest).unwrap();
    fs::write(path, &text).unwrap();
    fs::write(directory.join(MANIFEST_DIGEST_FILE), digest_bytes(&text)).unwrap();
}

#[allow(clippy::unwrap_used, reason = "tests alone use it")]
fn complete_backup(store: &BackupStore, manifest: Manifest) -> Backup {
    let recipients = Recipients::default();
    let partial = store.begin_backup(&manifest.id, &recipients).unwrap();
    store.complete_backup(&partial, manifest).unwrap()
}
