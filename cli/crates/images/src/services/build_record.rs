//! Records of the images that were built from a state of the sources.
//!
//! The records are a cache: without one, cargo has to check again that everything is fresh.
//! A record belongs to the sources and not to a directory, so that a second clone of the
//! same sources uses the images of the first one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::super::error::ImageError;
use super::super::recipe::Sha256Digest;

/// The directory of the records.
const RECORDS_DIR: &str = "services";

/// The number of records that are kept: the most recently used ones. Most records share
/// most of their images, since a change seldom affects more than one service.
const MAX_RECORDS: usize = 16;

/// The images that were built from one state of the sources.
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

    /// Loads the record of these sources and marks it as used. Returns `None` if it is
    /// missing or unreadable.
    pub(super) fn load(state: &Path, sources: &Sha256Digest) -> Option<Self> {
        let path = record_path(state, sources);
        let record = read_record(&path)?;
        if record.sources != sources.as_str() {
            return None;
        }
        // A failure only affects the order of removal.
        let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        Some(record)
    }

    /// Saves the record atomically, and removes the least recently used records.
    pub(super) fn save(&self, state: &Path, sources: &Sha256Digest) -> Result<(), ImageError> {
        let path = record_path(state, sources);
        let write_error = || ImageError::io(format!("write {}", path.display()));
        let directory = path.parent().unwrap_or(state);
        fs::create_dir_all(directory).map_err(write_error())?;
        let text = serde_json::to_vec(self).map_err(|error| write_error()(error.into()))?;
        let mut file = tempfile::NamedTempFile::new_in(directory).map_err(write_error())?;
        file.write_all(&text).map_err(write_error())?;
        file.persist(&path)
            .map_err(|error| write_error()(error.error))?;
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

    /// Returns the image of a service.
    pub(super) fn image_reference(&self, name: &str) -> Option<&str> {
        self.images.get(name).map(String::as_str)
    }
}

/// Returns the images of all records.
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

/// Returns the files of the records, most recently used first.
fn paths_by_last_use(state: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(state.join(RECORDS_DIR))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        // Another process may be writing a temporary file.
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
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

    /// Sets the last use of a record, in seconds before now.
    fn set_last_use(state: &Path, sources: &Sha256Digest, seconds: u64) {
        File::open(record_path(state, sources))
            .unwrap()
            .set_modified(SystemTime::now() - Duration::from_secs(seconds))
            .unwrap();
    }

    #[test]
    fn build_record_is_found_by_the_digest_of_its_sources() {
        let state = tempfile::tempdir().unwrap();
        let sources = Sha256Digest::compute(b"sources");
        ServiceBuildRecord::new(&sources, images("dm/order:1"))
            .save(state.path(), &sources)
            .unwrap();
        let record = ServiceBuildRecord::load(state.path(), &sources).unwrap();
        assert_eq!(record.image_reference("order"), Some("dm/order:1"));
        assert_eq!(record.image_reference("sales"), None);
        assert_eq!(
            ServiceBuildRecord::load(state.path(), &Sha256Digest::compute(b"changed")),
            None
        );
    }

    #[test]
    fn all_references_contains_the_images_of_every_record() {
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
    fn save_removes_the_least_recently_used_records() {
        let state = tempfile::tempdir().unwrap();
        let sources = |number: usize| Sha256Digest::compute(number.to_string().as_bytes());
        let write = |number: usize| {
            ServiceBuildRecord::new(&sources(number), images(&format!("dm/order:{number}")))
                .save(state.path(), &sources(number))
                .unwrap();
        };
        for number in 0..MAX_RECORDS {
            write(number);
            set_last_use(state.path(), &sources(number), 1_000 - number as u64);
        }
        // The oldest record is used again, so that the next one is removed first.
        assert!(ServiceBuildRecord::load(state.path(), &sources(0)).is_some());
        write(MAX_RECORDS);
        assert!(ServiceBuildRecord::load(state.path(), &sources(0)).is_some());
        assert!(ServiceBuildRecord::load(state.path(), &sources(1)).is_none());
        assert!(!all_references(state.path()).contains("dm/order:1"));
        assert_eq!(all_references(state.path()).len(), MAX_RECORDS);
    }

    #[test]
    fn unreadable_build_record_counts_as_missing() {
        let state = tempfile::tempdir().unwrap();
        let sources = Sha256Digest::compute(b"sources");
        let file = record_path(state.path(), &sources);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "{").unwrap();
        assert_eq!(ServiceBuildRecord::load(state.path(), &sources), None);
        assert!(all_references(state.path()).is_empty());
    }
}
