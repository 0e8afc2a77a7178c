//! Which images the services' sources became the last time.
//!
//! A cache: without it, cargo finds out again that nothing is to be done.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::error::ImageError;
use super::super::recipe::Digest;

/// The folder of the records.
const FOLDER: &str = "services";

/// The record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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

    /// The record of a project; an empty one where there is none that can be read.
    pub(super) fn read(state: &Path, root: &Path) -> Self {
        fs::read(path(state, root))
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default()
    }

    /// Keeps the record, all of it or nothing.
    pub(super) fn write(&self, state: &Path, root: &Path) -> Result<(), ImageError> {
        let path = path(state, root);
        let doing = || ImageError::io(format!("write {}", path.display()));
        let folder = path.parent().unwrap_or(state);
        fs::create_dir_all(folder).map_err(doing())?;
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(doing())?;
        serde_json::to_writer(&mut file, self)
            .map_err(|error| doing()(std::io::Error::other(error)))?;
        file.persist(&path).map_err(|error| doing()(error.error))?;
        Ok(())
    }

    /// The image that these sources became.
    pub(super) fn of_sources(&self, sources: &Digest, name: &str) -> Option<String> {
        (self.sources == sources.as_str())
            .then(|| self.images.get(name).cloned())
            .flatten()
    }
}

/// The images that any clone's sources became the last time.
pub(super) fn all_references(state: &Path) -> BTreeSet<String> {
    fs::read_dir(state.join(FOLDER))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| fs::read(entry.path()).ok())
        .filter_map(|text| serde_json::from_slice::<Record>(&text).ok())
        .flat_map(|record| record.images.into_values())
        .collect()
}

/// Two clones have a record each.
fn path(state: &Path, root: &Path) -> PathBuf {
    let root = Digest::of(root.as_os_str().as_encoded_bytes());
    state.join(FOLDER).join(format!("{}.json", root.short()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_of_its_sources_and_its_clone() {
        let state = tempfile::tempdir().unwrap();
        let (one, other) = (Path::new("/one"), Path::new("/other"));
        let sources = Digest::of(b"sources");
        let images = BTreeMap::from([("order".to_owned(), "dm/order:1".to_owned())]);
        Record::new(&sources, images)
            .write(state.path(), one)
            .unwrap();
        let found = Record::read(state.path(), one);
        assert_eq!(
            found.of_sources(&sources, "order"),
            Some("dm/order:1".to_owned())
        );
        assert_eq!(found.of_sources(&sources, "sales"), None);
        assert_eq!(found.of_sources(&Digest::of(b"changed"), "order"), None);
        assert_eq!(Record::read(state.path(), other), Record::default());
    }

    #[test]
    fn what_any_clone_needs_is_known() {
        let state = tempfile::tempdir().unwrap();
        assert!(all_references(state.path()).is_empty());
        for (root, reference) in [("/one", "dm/order:1"), ("/other", "dm/order:2")] {
            let images = BTreeMap::from([("order".to_owned(), reference.to_owned())]);
            Record::new(&Digest::of(b"sources"), images)
                .write(state.path(), Path::new(root))
                .unwrap();
        }
        let all: Vec<_> = all_references(state.path()).into_iter().collect();
        assert_eq!(all, ["dm/order:1", "dm/order:2"]);
    }

    #[test]
    fn a_broken_record_is_none() {
        let state = tempfile::tempdir().unwrap();
        let file = path(state.path(), Path::new("/one"));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "{").unwrap();
        assert_eq!(
            Record::read(state.path(), Path::new("/one")),
            Record::default()
        );
    }
}
