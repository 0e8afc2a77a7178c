use dm_core::error::UserError as _;
use proptest::prelude::*;

use super::*;
use crate::examples::manifest;

fn store() -> (tempfile::TempDir, BackupStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = BackupStore::new(folder.path().join("sets"));
    (folder, store)
}

fn begun(store: &BackupStore, id: &str) -> PartialBackup {
    store.begin_backup(id, &Recipients::default()).unwrap()
}

fn made(store: &BackupStore, id: &str) -> Backup {
    made_for(store, id, Purpose::Manual)
}

fn made_for(store: &BackupStore, id: &str, purpose: Purpose) -> Backup {
    let partial = begun(store, id);
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
fn a_set_that_was_completed_is_found_and_checks() {
    let (_folder, store) = store();
    assert!(matches!(
        store.find("latest"),
        Err(BackupError::NoBackups(_))
    ));
    let set = made(&store, "20261126T100000Z");
    assert_eq!(store.find("latest").unwrap(), set);
    assert_eq!(store.find("20261126").unwrap(), set);
    assert!(matches!(store.find("2025"), Err(BackupError::NotFound(_))));
    set.verify_files().unwrap();
    set.mark_verified(Utc::now()).unwrap();
    assert!(store.find("latest").unwrap().verified_at.is_some());
    set.verify_files().unwrap();
}

#[test]
fn what_was_never_completed_is_no_set_and_goes() {
    let (_folder, store) = store();
    let partial = begun(&store, "20261126T100000Z");
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
fn a_newer_format_is_told_as_that() {
    let (_folder, store) = store();
    let partial = begun(&store, "20261126T100000Z");
    let mut future = manifest("20261126T100000Z", "2026-11-26T10:00:00Z");
    future.format = FORMAT_VERSION + 1;
    store.complete_backup(&partial, future).unwrap();
    assert!(matches!(
        store.find("latest"),
        Err(BackupError::UnsupportedFormat { .. })
    ));
}

#[test]
fn what_is_missing_or_strange_is_told() {
    let (_folder, store) = store();
    let set = made(&store, "20261126T100000Z");
    fs::remove_file(set.path.join("realm.json")).unwrap();
    fs::write(set.path.join("other"), "").unwrap();
    let Err(BackupError::Damaged {
        problems: found, ..
    }) = set.verify_files()
    else {
        panic!("not found");
    };
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn any_prefix_will_do_that_means_one_set() {
    let (_folder, store) = store();
    made(&store, "20251126T100000Z");
    made(&store, "20261126T100000Z");
    let last = made_for(&store, "20261127T100000Z", Purpose::Scheduled);
    assert_eq!(store.find("20261127").unwrap(), last);
    assert_eq!(store.find("2025").unwrap().manifest.id, "20251126T100000Z");
    assert!(matches!(store.find(""), Err(BackupError::NotFound(_))));
    let Err(error @ BackupError::Ambiguous { .. }) = store.find("2026") else {
        panic!("one of two was taken");
    };
    let details = error.details();
    assert_eq!(details.len(), 2, "{details:?}");
    assert!(details[1].starts_with("20261127T100000Z  2026-11-27 10:00:00 UTC, "));
    assert!(details[1].ends_with(", scheduled"), "{details:?}");
    // One that can't be read is a candidate, too.
    fs::remove_file(last.path.join(MANIFEST_DIGEST_FILE)).unwrap();
    let Err(error) = store.find("2026") else {
        panic!("one of two was taken");
    };
    assert!(error.details()[1].ends_with("damaged"));
    assert!(matches!(
        store.find("20261127"),
        Err(BackupError::Damaged { .. })
    ));
}

#[test]
fn the_latest_is_no_safety_copy_and_not_from_the_future() {
    let (_folder, store) = store();
    let safety = made_for(&store, "20260101T100000Z", Purpose::Safety);
    let Err(error @ BackupError::OnlySafetyBackups { .. }) = store.find("latest") else {
        panic!("a safety copy is none");
    };
    assert!(error.details()[0].starts_with(&safety.manifest.id));
    let good = made(&store, "20260102T100000Z");
    made_for(&store, "20260103T100000Z", Purpose::Safety);
    assert_eq!(store.find("latest").unwrap(), good);
    made(&store, "29990101T100000Z");
    assert_eq!(store.find("latest").unwrap(), good);
    let scheduled = made_for(&store, "20260104T100000Z", Purpose::Scheduled);
    assert_eq!(store.find("latest").unwrap(), scheduled);
    // An older one is not taken in silence where the newest can't be read.
    fs::remove_file(scheduled.path.join(MANIFEST_FILE)).unwrap();
    assert!(matches!(
        store.find("latest"),
        Err(BackupError::Damaged { .. })
    ));
    assert_eq!(store.find("20260102").unwrap(), good);
}

#[test]
fn a_note_is_no_part_of_a_set() {
    let (_folder, store) = store();
    let set = made(&store, "20261126T100000Z");
    set.mark_restored("2026-11-27T10:00:00Z".parse().unwrap())
        .unwrap();
    // Killed while it was noted again.
    fs::write(set.path.join("restored.json.new"), "\"20").unwrap();
    let found = store.find("latest").unwrap();
    found.verify_files().unwrap();
    assert!(found.restored_at.is_some());
}

#[test]
fn the_beginning_of_a_restore_is_a_note_of_its_own() {
    let (_folder, store) = store();
    let set = made(&store, "20261126T100000Z");
    let at = |instant: &str| instant.parse().unwrap();
    let (first, second) = (at("2026-11-27T10:00:00Z"), at("2026-11-28T10:00:00Z"));
    let notes = || {
        let found = store.find("latest").unwrap();
        found.verify_files().unwrap();
        (found.restore_started_at, found.restored_at)
    };
    set.mark_restoring(first).unwrap();
    assert_eq!(notes(), (Some(first), None));
    set.clear_restoring().unwrap();
    assert_eq!(notes(), (None, None));
    set.mark_restoring(first).unwrap();
    set.mark_restored(first).unwrap();
    assert_eq!(notes(), (None, Some(first)));
    // The next one fails before anything has changed.
    set.mark_restoring(second).unwrap();
    assert_eq!(notes(), (Some(second), Some(first)));
    set.clear_restoring().unwrap();
    set.clear_restoring().unwrap();
    assert_eq!(notes(), (None, Some(first)));
}

#[test]
fn a_removal_that_was_killed_is_done_by_the_next_call() {
    let (_folder, store) = store();
    let (gone, stays) = (
        made(&store, "20261126T100000Z"),
        made(&store, "20261127T100000Z"),
    );
    // It has lost its name, and some of its files.
    let leaving = store.directory.join("20261126T100000Z.leaving");
    fs::rename(&gone.path, &leaving).unwrap();
    fs::remove_file(leaving.join("postgres/toc.dat")).unwrap();
    assert_eq!(store.readable_backups().unwrap(), [stays]);
    assert_eq!(store.list().unwrap().len(), 1);
    assert_eq!(
        store.remove_leftovers().unwrap(),
        ["20261126T100000Z.leaving"]
    );
    assert!(!leaving.exists());
    // Killed before that: the set is as it was, and a name that is left is no hindrance.
    let gone = made(&store, "20261126T100000Z");
    gone.verify_files().unwrap();
    store.remove(&gone).unwrap();
    assert_eq!(store.list().unwrap().len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whichever bit of whichever file it is.
    #[test]
    fn one_flipped_bit_anywhere_is_found(file: prop::sample::Index, place: prop::sample::Index, bit in 0_u8..8) {
        let (_folder, store) = store();
        let set = made(&store, "20261126T100000Z");
        let names = list_files(&set.path).unwrap();
        let path = set.path.join(file.get(&names));
        let mut bytes = fs::read(&path).unwrap();
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        fs::write(&path, bytes).unwrap();
        let found = store.find("latest").and_then(|set| set.verify_files());
        prop_assert!(matches!(found, Err(BackupError::Damaged { .. })), "{:?}", found);
    }
}
