//! Which images some sources became.
//!
//! A cache: without it, cargo finds out again that nothing is to be done. A record
//! belongs to the sources and not to a folder, so that a second clone of the same
//! sources uses the images of the first one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::super::error::ImageError;
use super::super::recipe::Sha256Digest;

/// The folder of the records.
const RECORDS_DIR: &str = "services";

/// How many records are kept: those that were used last. Most sources share most of
/// their images, since a change seldom reaches more than one service.
const MAX_RECORDS: usize = 16;

/// The record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ServiceBuildRecord {
    /// The digest of the sources.
    sources: String,
    /// The images' references by service.
    images: BTreeMap<String, String>,
}

impl ServiceBuildRecord {
    pub(super) fn new(sources: &Sha256Digest, images: BTreeMap<String, String>) -> Self {
        Self {
            sources: sources.to_string(),
            images,
        }
    }

    /// The record of these sources, if there is one that can be read. It counts as
    /// used now.
    pub(super) fn load(state: &Path, sources: &Sha256Digest) -> Option<Self> {
        let path = record_path(state, sources);
        let record = read_record(&path)?;
        if record.sources != sources.as_str() {
            return None;
        }
        // Only the order of removal depends on it.
        let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        Some(record)
    }

    /// Keeps the record, all of it or nothing, and removes those that have not been
    /// used for longest.
    pub(super) fn save(&self, state: &Path, sources: &Sha256Digest) -> Result<(), ImageError> {
        let path = record_path(state, sources);
        let doing = || ImageError::io(format!("write {}", path.display()));
        let folder = path.parent().unwrap_or(state);
        fs::create_dir_all(folder).map_err(doing())?;
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(doing())?;
        serde_json::to_writer(&mut file, self)
            .map_err(|error| doing()(std::io::Error::other(error)))?;
        file.persist(&path).map_err(|error| doing()(error.error))?;
        for stale in paths_by_last_use(state).into_iter().skip(MAX_RECORDS) {
            match fs::remove_file(&stale) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(ImageError::io(format!("remove {}", stale.display()))(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The image of a service.
    pub(super) fn image_reference(&self, name: &str) -> Option<&str> {
        self.images.get(name).map(String::as_str)
    }
}

/// The images that any of the recorded sources became.
pub(super) fn all_references(state: &Path) -> BTreeSet<String> {
    paths_by_last_use(state)
        .iter()
        .filter_map(|path| read_record(path))
        .flat_map(|record| record.images.into_values())
        .collect()
}

fn read_record(path: &Path) -> Option<ServiceBuildRecord> {
    let text = fs::read(path).ok()?;
    serde_json::from_slice(&text).ok()
}

/// The files of the records, the one that was used last first.
fn paths_by_last_use(state: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(state.join(RECORDS_DIR))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        // Another process may be writing a temporary file.
        .filter(|path| path.extension().is_some_and(|it| it == "json"))
        .filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)))
        .collect();
    files.sort_by(|one, other| other.cmp(one));
    files.into_iter().map(|(_, path)| path).collect()
}

fn record_path(state: &Path, sources: &Sha256Digest) -> PathBuf {
    state
        .join(RECORDS_DIR)
        .join(format!("{}.json", sources.short_hex()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn images(reference: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("order".to_owned(), reference.to_owned())])
    }

    /// Sets when a record was used last, in seconds before now.
    fn age(state: &Path, sources: &Sha256Digest, seconds: u64) {
        File::open(record_path(state, sources))
            .unwrap()
            .set_modified(SystemTime::now() - Duration::from_secs(seconds))
            .unwrap();
    }

    #[test]
    fn a_record_belongs_to_its_sources_wherever_they_are() {
        let state = tempfile::tempdir().unwrap();
        let sources = Sha256Digest::compute(b"sources");
        ServiceBuildRecord::new(&sources, images("dm/order:1"))
            .save(state.path(), &sources)
            .unwrap();
        let found = ServiceBuildRecord::load(state.path(), &sources).unwrap();
        assert_eq!(found.image_reference("order"), Some("dm/order:1"));
        assert_eq!(found.image_reference("sales"), None);
        assert_eq!(
            ServiceBuildRecord::load(state.path(), &Sha256Digest::compute(b"changed")),
            None
        );
    }

    #[test]
    fn the_images_of_all_records_are_known() {
        let state = tempfile::tempdir().unwrap();
        assert!(all_references(state.path()).is_empty());
        for (text, reference) in [("one", "dm/order:1"), ("other", "dm/order:2")] {
            let sources = Sha256Digest::compute(text.as_bytes());
            ServiceBuildRecord::new(&sources, images(reference))
                .save(state.path(), &sources)
                .unwrap();
        }
        let all: Vec<_> = all_references(state.path()).into_iter().collect();
        assert_eq!(all, ["dm/order:1", "dm/order:2"]);
    }

    #[test]
    fn the_records_that_were_used_last_are_kept() {
        let state = tempfile::tempdir().unwrap();
        let sources = |number: usize| Sha256Digest::compute(number.to_string().as_bytes());
        let write = |number: usize| {
            ServiceBuildRecord::new(&sources(number), images(&format!("dm/order:{number}")))
                .save(state.path(), &sources(number))
                .unwrap();
        };
        for number in 0..MAX_RECORDS {
            write(number);
            age(state.path(), &sources(number), 1_000 - number as u64);
        }
        // The oldest is used again, so that the one after it is the first to go.
        assert!(ServiceBuildRecord::load(state.path(), &sources(0)).is_some());
        write(MAX_RECORDS);
        assert!(ServiceBuildRecord::load(state.path(), &sources(0)).is_some());
        assert!(ServiceBuildRecord::load(state.path(), &sources(1)).is_none());
        assert!(!all_references(state.path()).contains("dm/order:1"));
        assert_eq!(all_references(state.path()).len(), MAX_RECORDS);
    }

    #[test]
    fn a_broken_record_is_none() {
        let state = tempfile::tempdir().unwrap();
        let sources = Sha256Digest::compute(b"sources");
        let file = record_path(state.path(), &sources);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "{").unwrap();
        assert_eq!(ServiceBuildRecord::load(state.path(), &sources), None);
        assert!(all_references(state.path()).is_empty());
    }
}
