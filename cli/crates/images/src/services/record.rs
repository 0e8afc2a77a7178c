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
use super::super::recipe::Digest;

/// The folder of the records.
const FOLDER: &str = "services";

/// How many records are kept: those that were used last. Most sources share most of
/// their images, since a change seldom reaches more than one service.
const KEPT: usize = 16;

/// The record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The digest of the sources.
    sources: String,
    /// The images' references by service.
    images: BTreeMap<String, String>,
}

impl Record {
    pub(super) fn new(sources: &Digest, images: BTreeMap<String, String>) -> Self {
        Self {
            sources: sources.to_string(),
            images,
        }
    }

    /// The record of these sources, if there is one that can be read. It counts as
    /// used now.
    pub(super) fn of(state: &Path, sources: &Digest) -> Option<Self> {
        let path = path(state, sources);
        let record = read(&path)?;
        if record.sources != sources.as_str() {
            return None;
        }
        // Only the order of removal depends on it.
        let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        Some(record)
    }

    /// Keeps the record, all of it or nothing, and removes those that have not been
    /// used for longest.
    pub(super) fn write(&self, state: &Path, sources: &Digest) -> Result<(), ImageError> {
        let path = path(state, sources);
        let doing = || ImageError::io(format!("write {}", path.display()));
        let folder = path.parent().unwrap_or(state);
        fs::create_dir_all(folder).map_err(doing())?;
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(doing())?;
        serde_json::to_writer(&mut file, self)
            .map_err(|error| doing()(std::io::Error::other(error)))?;
        file.persist(&path).map_err(|error| doing()(error.error))?;
        for stale in by_last_use(state).into_iter().skip(KEPT) {
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
    pub(super) fn image(&self, name: &str) -> Option<&str> {
        self.images.get(name).map(String::as_str)
    }
}

/// The images that any of the recorded sources became.
pub(super) fn all_references(state: &Path) -> BTreeSet<String> {
    by_last_use(state)
        .iter()
        .filter_map(|path| read(path))
        .flat_map(|record| record.images.into_values())
        .collect()
}

fn read(path: &Path) -> Option<Record> {
    let text = fs::read(path).ok()?;
    serde_json::from_slice(&text).ok()
}

/// The files of the records, the one that was used last first.
fn by_last_use(state: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(state.join(FOLDER))
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

fn path(state: &Path, sources: &Digest) -> PathBuf {
    state.join(FOLDER).join(format!("{}.json", sources.short()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn images(reference: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("order".to_owned(), reference.to_owned())])
    }

    /// Sets when a record was used last, in seconds before now.
    fn age(state: &Path, sources: &Digest, seconds: u64) {
        File::open(path(state, sources))
            .unwrap()
            .set_modified(SystemTime::now() - Duration::from_secs(seconds))
            .unwrap();
    }

    #[test]
    fn a_record_belongs_to_its_sources_wherever_they_are() {
        let state = tempfile::tempdir().unwrap();
        let sources = Digest::of(b"sources");
        Record::new(&sources, images("dm/order:1"))
            .write(state.path(), &sources)
            .unwrap();
        let found = Record::of(state.path(), &sources).unwrap();
        assert_eq!(found.image("order"), Some("dm/order:1"));
        assert_eq!(found.image("sales"), None);
        assert_eq!(Record::of(state.path(), &Digest::of(b"changed")), None);
    }

    #[test]
    fn the_images_of_all_records_are_known() {
        let state = tempfile::tempdir().unwrap();
        assert!(all_references(state.path()).is_empty());
        for (text, reference) in [("one", "dm/order:1"), ("other", "dm/order:2")] {
            let sources = Digest::of(text.as_bytes());
            Record::new(&sources, images(reference))
                .write(state.path(), &sources)
                .unwrap();
        }
        let all: Vec<_> = all_references(state.path()).into_iter().collect();
        assert_eq!(all, ["dm/order:1", "dm/order:2"]);
    }

    #[test]
    fn the_records_that_were_used_last_are_kept() {
        let state = tempfile::tempdir().unwrap();
        let sources = |number: usize| Digest::of(number.to_string().as_bytes());
        let write = |number: usize| {
            Record::new(&sources(number), images(&format!("dm/order:{number}")))
                .write(state.path(), &sources(number))
                .unwrap();
        };
        for number in 0..KEPT {
            write(number);
            age(state.path(), &sources(number), 1_000 - number as u64);
        }
        // The oldest is used again, so that the one after it is the first to go.
        assert!(Record::of(state.path(), &sources(0)).is_some());
        write(KEPT);
        assert!(Record::of(state.path(), &sources(0)).is_some());
        assert!(Record::of(state.path(), &sources(1)).is_none());
        assert!(!all_references(state.path()).contains("dm/order:1"));
        assert_eq!(all_references(state.path()).len(), KEPT);
    }

    #[test]
    fn a_broken_record_is_none() {
        let state = tempfile::tempdir().unwrap();
        let sources = Digest::of(b"sources");
        let file = path(state.path(), &sources);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "{").unwrap();
        assert_eq!(Record::of(state.path(), &sources), None);
        assert!(all_references(state.path()).is_empty());
    }
}
