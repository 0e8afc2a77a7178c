use dm_core::error::UserError as _;
use proptest::prelude::*;

use super::*;
use crate::examples::manifest;

fn store() -> (tempfile::TempDir, BackupStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = BackupStore::new(directory.path().join("backups"));
    (directory, store)
}

fn begin(store: &BackupStore, id: &str) -> PartialBackup {
    store.begin_backup(id, &Recipients::default()).unwrap()
}

fn create(store: &BackupStore, id: &str) -> Backup {
    create_with_purpose(store, id, Purpose::Manual)
}

fn create_with_purpose(store: &BackupStore, id: &str, purpose: Purpose) -> Backup {
    let partial = begin(store, id);
    for (name, text) in [
        ("postgres/toc.dat", "a table of contents"),
        ("realm.json", "{}"),
    ] {
        let mut file = partial.create_file(name).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        partial.finish_file(file).unwrap();
    }
    let taken_at = DateTime::parse_from_str(&id.replace('Z', "000Z+0000"), "%Y%m%dT%H%M%S%3fZ%z");
    let mut manifest = manifest(id, &taken_at.unwrap().to_rfc3339());
    manifest.purpose = purpose;
    manifest.files = partial.files();
    store.complete_backup(&partial, manifest).unwrap()
}

#[test]
fn completed_backup_is_found_and_verified() {
    let (_directory, store) = store();
    assert!(matches!(
        store.find("latest"),
        Err(BackupError::NoBackups(_))
    ));
    let backup = create(&store, "20261126T100000Z");
    assert_eq!(store.find("latest").unwrap(), backup);
    assert_eq!(store.find("20261126").unwrap(), backup);
    assert!(matches!(store.find("2025"), Err(BackupError::NotFound(_))));
    backup.verify_files().unwrap();
    backup.mark_verified(Utc::now()).unwrap();
    assert!(store.find("latest").unwrap().verified_at.is_some());
    backup.verify_files().unwrap();
}

#[test]
fn find_error_suggests_commands_with_the_dir_option() {
    let (_directory, store) = store();
    let error = store.find("latest").unwrap_err();
    assert_eq!(error.suggestions(), ["dm backup create"]);
    let store = store.with_dir_option("/mnt/b".into());
    let error = store.find("latest").unwrap_err();
    assert_eq!(error.suggestions(), ["dm backup --dir /mnt/b create"]);
    create(&store, "20261126T100000Z");
    let error = store.find("2025").unwrap_err();
    assert_eq!(error.suggestions(), ["dm backup --dir /mnt/b ls"]);
}

#[test]
fn hints_and_errors_are_completed_with_the_dir_option() {
    let (_directory, store) = store();
    let hint = "not verified: dm backup verify --restore";
    let error = || BackupError::OpsSchema("20261126T10".into());
    assert_eq!(store.complete_hint(hint), hint);
    assert_eq!(
        store.complete_error(error()).suggestions(),
        error().suggestions()
    );
    let store = store.with_dir_option("/mnt/b".into());
    assert_eq!(
        store.complete_hint(hint),
        "not verified: dm backup --dir /mnt/b verify --restore"
    );
    assert_eq!(
        store.complete_error(error()).suggestions(),
        [
            "restore the whole backup: dm backup --dir /mnt/b restore 20261126T10",
            "or another schema; list them: dm backup --dir /mnt/b show 20261126T10"
        ]
    );
}

#[test]
fn incomplete_backup_is_not_listed_and_is_removed() {
    let (_directory, store) = store();
    let partial = begin(&store, "20261126T100000Z");
    let mut file = partial.create_file("realm.json").unwrap();
    file.write_all(b"{").unwrap();
    assert!(store.list().unwrap().is_empty());
    assert_eq!(
        store.remove_leftovers().unwrap(),
        ["20261126T100000Z.partial"]
    );
    assert!(!partial.path().exists());
}

#[test]
fn newer_format_is_an_unsupported_format() {
    let (_directory, store) = store();
    let partial = begin(&store, "20261126T100000Z");
    let mut future = manifest("20261126T100000Z", "2026-11-26T10:00:00Z");
    future.format = FORMAT_VERSION + 1;
    store.complete_backup(&partial, future).unwrap();
    assert!(matches!(
        store.find("latest"),
        Err(BackupError::UnsupportedFormat { .. })
    ));
}

#[test]
fn verify_files_reports_missing_and_unknown_files() {
    let (_directory, store) = store();
    let backup = create(&store, "20261126T100000Z");
    fs::remove_file(backup.path.join("realm.json")).unwrap();
    fs::write(backup.path.join("other"), "").unwrap();
    let Err(BackupError::Damaged { problems, .. }) = backup.verify_files() else {
        panic!("the damage was not detected");
    };
    assert_eq!(problems.len(), 2, "{problems:?}");
}

#[test]
fn find_accepts_unambiguous_prefixes_only() {
    let (_directory, store) = store();
    create(&store, "20251126T100000Z");
    create(&store, "20261126T100000Z");
    let last = create_with_purpose(&store, "20261127T100000Z", Purpose::Scheduled);
    assert_eq!(store.find("20261127").unwrap(), last);
    assert_eq!(store.find("2025").unwrap().manifest.id, "20251126T100000Z");
    assert!(matches!(store.find(""), Err(BackupError::NotFound(_))));
    let Err(error @ BackupError::Ambiguous { .. }) = store.find("2026") else {
        panic!("the id is ambiguous");
    };
    let details = error.details();
    assert_eq!(details.len(), 2, "{details:?}");
    assert!(details[1].starts_with("20261127T100000Z  2026-11-27 10:00:00 UTC, "));
    assert!(details[1].ends_with(", scheduled"), "{details:?}");
    // An unreadable backup is a candidate, too.
    fs::remove_file(last.path.join(MANIFEST_DIGEST_FILE)).unwrap();
    let Err(error) = store.find("2026") else {
        panic!("the id is ambiguous");
    };
    assert!(error.details()[1].ends_with("damaged"));
    assert!(matches!(
        store.find("20261127"),
        Err(BackupError::Damaged { .. })
    ));
}

#[test]
fn latest_ignores_safety_backups_and_future_dates() {
    let (_directory, store) = store();
    let safety = create_with_purpose(&store, "20260101T100000Z", Purpose::Safety);
    let Err(error @ BackupError::OnlySafetyBackups { .. }) = store.find("latest") else {
        panic!("`latest` selected a safety backup");
    };
    assert!(error.details()[0].starts_with(&safety.manifest.id));
    let good = create(&store, "20260102T100000Z");
    create_with_purpose(&store, "20260103T100000Z", Purpose::Safety);
    assert_eq!(store.find("latest").unwrap(), good);
    create(&store, "29990101T100000Z");
    assert_eq!(store.find("latest").unwrap(), good);
    let scheduled = create_with_purpose(&store, "20260104T100000Z", Purpose::Scheduled);
    assert_eq!(store.find("latest").unwrap(), scheduled);
    // An older backup is not used silently if the newest one cannot be read.
    fs::remove_file(scheduled.path.join(MANIFEST_FILE)).unwrap();
    assert!(matches!(
        store.find("latest"),
        Err(BackupError::Damaged { .. })
    ));
    assert_eq!(store.find("20260102").unwrap(), good);
}

#[test]
fn verify_files_ignores_marker_files() {
    let (_directory, store) = store();
    let backup = create(&store, "20261126T100000Z");
    backup
        .mark_restored("2026-11-27T10:00:00Z".parse().unwrap())
        .unwrap();
    // A marker file of a killed call.
    fs::write(backup.path.join("restored.json.new"), "\"20").unwrap();
    let restored = store.find("latest").unwrap();
    restored.verify_files().unwrap();
    assert!(restored.restored_at.is_some());
}

#[test]
fn restoring_and_restored_markers_are_independent() {
    let (_directory, store) = store();
    let backup = create(&store, "20261126T100000Z");
    let time = |instant: &str| instant.parse().unwrap();
    let (first, second) = (time("2026-11-27T10:00:00Z"), time("2026-11-28T10:00:00Z"));
    let markers = || {
        let latest = store.find("latest").unwrap();
        latest.verify_files().unwrap();
        (latest.restore_started_at, latest.restored_at)
    };
    backup.mark_restoring(first).unwrap();
    assert_eq!(markers(), (Some(first), None));
    backup.clear_restoring().unwrap();
    assert_eq!(markers(), (None, None));
    backup.mark_restoring(first).unwrap();
    backup.mark_restored(first).unwrap();
    assert_eq!(markers(), (None, Some(first)));
    // The next restore fails before anything has changed.
    backup.mark_restoring(second).unwrap();
    assert_eq!(markers(), (Some(second), Some(first)));
    backup.clear_restoring().unwrap();
    backup.clear_restoring().unwrap();
    assert_eq!(markers(), (None, Some(first)));
}

#[test]
fn killed_removal_is_completed_by_the_next_call() {
    let (_directory, store) = store();
    let (removed, kept) = (
        create(&store, "20261126T100000Z"),
        create(&store, "20261127T100000Z"),
    );
    // The removal renamed the directory and removed some of its files.
    let removing = store.directory.join("20261126T100000Z.leaving");
    fs::rename(&removed.path, &removing).unwrap();
    fs::remove_file(removing.join("postgres/toc.dat")).unwrap();
    assert_eq!(store.readable_backups().unwrap(), [kept]);
    assert_eq!(store.list().unwrap().len(), 1);
    assert_eq!(
        store.remove_leftovers().unwrap(),
        ["20261126T100000Z.leaving"]
    );
    assert!(!removing.exists());
    // Killed before that: the backup is unchanged and can be removed again.
    let removed = create(&store, "20261126T100000Z");
    removed.verify_files().unwrap();
    store.remove(&removed).unwrap();
    assert_eq!(store.list().unwrap().len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// For any bit of any file.
    #[test]
    fn flipped_bit_is_detected(file: prop::sample::Index, position: prop::sample::Index, bit in 0_u8..8) {
        let (_directory, store) = store();
        let backup = create(&store, "20261126T100000Z");
        let names = list_files(&backup.path).unwrap();
        let path = backup.path.join(file.get(&names));
        let mut bytes = fs::read(&path).unwrap();
        let position = position.index(bytes.len());
        bytes[position] ^= 1 << bit;
        fs::write(&path, bytes).unwrap();
        let verified = store.find("latest").and_then(|backup| backup.verify_files());
        prop_assert!(matches!(verified, Err(BackupError::Damaged { .. })), "{:?}", verified);
    }
}
