//! What a reference in a registry stood for when it was used first: a tag can be moved by
//! whoever may write to the registry, and what is in an image runs here.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use dm_engine::images::Image;
use serde::{Deserialize, Serialize};

use super::error::ImageError;
use super::recipe::Digest;
use super::reference::Reference;

const FOLDER: &str = "pins";

/// The image that a reference stands for on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pin {
    /// The reference, for whoever reads the file.
    reference: String,
    /// The image's id.
    id: String,
    /// Its digest in the registry, `sha256:…`, where it came from one.
    digest: Option<String>,
}

impl Pin {
    /// What an image is that a reference stands for.
    pub(super) fn of(reference: &Reference, image: &Image) -> Self {
        let repository = reference.without_version();
        let digest = image.digests.iter().find_map(|named| {
            let (name, digest) = named.split_once('@')?;
            (Reference::parse(name).without_version() == repository).then(|| digest.to_owned())
        });
        Self {
            reference: reference.to_string(),
            id: image.id.clone(),
            digest,
        }
    }

    /// Whether an image is the one.
    pub(super) fn is(&self, image: &Image) -> bool {
        self.id == image.id
    }

    /// The same image by its digest, where that is known.
    pub(super) fn by_digest(&self, reference: &Reference) -> Option<Reference> {
        self.digest
            .as_deref()
            .map(|digest| reference.at_digest(digest))
    }

    /// How a person tells two of them apart.
    pub(super) fn shown(&self) -> &str {
        self.digest.as_deref().unwrap_or(&self.id)
    }

    /// What is recorded of a reference. A record that can't be read is an error: it is not
    /// to be thought that there is none.
    pub(super) fn read(state: &Path, reference: &Reference) -> Result<Option<Self>, ImageError> {
        let path = path(state, reference);
        let failed = || ImageError::io(format!("read {}", path.display()));
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|error| failed()(io::Error::other(error))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed()(error)),
        }
    }

    /// Records it, in place of what was recorded before.
    pub(super) fn write(&self, state: &Path, reference: &Reference) -> Result<(), ImageError> {
        let path = path(state, reference);
        let written = || -> io::Result<()> {
            let folder = path.parent().unwrap_or(state);
            fs::create_dir_all(folder)?;
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            serde_json::to_writer(&mut file, self)?;
            file.as_file().sync_data()?;
            file.persist(&path)?;
            Ok(())
        };
        written().map_err(ImageError::io(format!("write {}", path.display())))
    }
}

fn path(state: &Path, reference: &Reference) -> PathBuf {
    let name = Digest::of(reference.to_string().as_bytes());
    state.join(FOLDER).join(format!("{name}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(id: &str, digests: &[&str]) -> Image {
        Image {
            id: id.into(),
            references: Vec::new(),
            size: 0,
            created: chrono::DateTime::default(),
            labels: std::collections::HashMap::new(),
            layers: Vec::new(),
            digests: digests.iter().map(|&it| it.to_owned()).collect(),
        }
    }

    #[test]
    fn a_pin_is_of_the_repository_that_it_came_from() {
        let reference = Reference::parse("registry.example:5000/library/postgres:17");
        let image = image(
            "sha256:1",
            &[
                "postgres@sha256:aa",
                "registry.example:5000/library/postgres@sha256:bb",
            ],
        );
        let pin = Pin::of(&reference, &image);
        assert_eq!(
            pin.by_digest(&reference).unwrap().to_string(),
            "registry.example:5000/library/postgres@sha256:bb"
        );
        let state = tempfile::tempdir().unwrap();
        assert_eq!(Pin::read(state.path(), &reference).unwrap(), None);
        pin.write(state.path(), &reference).unwrap();
        let read = Pin::read(state.path(), &reference).unwrap().unwrap();
        assert_eq!(read, pin);
        assert!(read.is(&image));
        fs::write(path(state.path(), &reference), "{").unwrap();
        assert!(Pin::read(state.path(), &reference).is_err());
    }
}
