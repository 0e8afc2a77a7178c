//! Property test: a backup with a mutated manifest is either read or refused, without a panic or an
//! overflow.

use std::fs;

use proptest::prelude::*;
use serde_json::json;

use super::{BackupError, BackupStore, digest, manifest};

const ID: &str = "20261126T100000000Z";

fn corpus() -> Vec<String> {
    let manifest = json!({
        "format": manifest::FORMAT_VERSION,
        "id": ID,
        "purpose": "safety",
        "taken_at": "2026-11-26T10:00:00Z",
        "dm": "0.1.0",
        "project": "p",
        "instance": "default",
        "postgres": {
            "version": "17.12", "database": "d", "lsn": "0/1", "bytes": 1,
            "rows": {"orders.orders": 3, "sales.leads": 9_223_372_036_854_775_807_i64},
        },
        "rabbitmq": "4.0.5",
        "keycloak": "26.7.3",
        "dead_letters": {"inventory.order-events.q": 1},
        "pending": 0,
        "recipients": [],
        "seconds": {"database": 1.5},
        "files": {
            "realm.json": {"bytes": 2, "blake3": "00"},
            "postgres/toc.dat": {"bytes": u64::MAX, "blake3": "00"},
        },
    });
    vec![
        manifest.to_string(),
        serde_json::to_string_pretty(&manifest).unwrap(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn mutated_manifest_is_read_or_refused(text in dm_text_mutations::mutated_bytes(corpus())) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(ID);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("manifest.json"), &text).unwrap();
        fs::write(path.join("manifest.blake3"), digest::digest_bytes(&text)).unwrap();
        fs::write(path.join("realm.json"), "{}").unwrap();
        let store = BackupStore::new(directory.path().to_owned());
        match store.find(ID) {
            Ok(backup) => {
                prop_assert_eq!(&backup.manifest.id, ID);
                // Sums of arbitrary numbers must not overflow.
                let _ = (backup.manifest.total_bytes(), backup.manifest.total_rows());
                let _ = (backup.manifest.schemas(), backup.manifest.postgres.major_version());
                // The files are missing or do not match the manifest.
                let verified = backup.verify_files();
                prop_assert!(verified.is_err());
                prop_assert!(!directory.path().join("x").exists());
            }
            Err(error) => {
                let message = format!("{error}");
                prop_assert!(message.contains(ID), "{}", message);
                let is_known = matches!(
                    error,
                    BackupError::Damaged { .. } | BackupError::UnsupportedFormat { .. }
                );
                prop_assert!(is_known, "{}", message);
            }
        }
    }
}
