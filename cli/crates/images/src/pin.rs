//! Pins of registry references to the images that they pointed to at first use: every account with
//! write access to the registry can move a tag, and the image's programs run on this machine.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use dm_engine::images::Image;
use serde::{Deserialize, Serialize};

use super::error::ImageError;
use super::recipe::Sha256Digest;
use super::reference::RegistryReference;

const PINS_DIR: &str = "pins";

/// The image that a reference is pinned to on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ImagePin {
    /// The reference, for human readers of the file.
    reference: String,
    /// The image's id.
    id: String,
    /// Its digest in the registry, `sha256:…`, if it was pulled from one.
    digest: Option<String>,
}

impl ImagePin {
    /// Creates the pin of a reference to an image.
    pub(super) fn from_image(reference: &RegistryReference, image: &Image) -> Self {
        let repository = reference.qualified_repository();
        let digest = image.digests.iter().find_map(|named| {
            let (name, digest) = named.split_once('@')?;
            (RegistryReference::parse(name).qualified_repository() == repository)
                .then(|| digest.to_owned())
        });
        Self {
            reference: reference.to_string(),
            id: image.id.clone(),
            digest,
        }
    }

    /// Returns whether an image is the pinned one.
    pub(super) fn matches_image(&self, image: &Image) -> bool {
        self.id == image.id
    }

    /// Returns the reference by digest, if the digest is known.
    pub(super) fn digest_reference(
        &self,
        reference: &RegistryReference,
    ) -> Option<RegistryReference> {
        self.digest
            .as_deref()
            .map(|digest| reference.with_digest(digest))
    }

    /// Returns the digest or id to show in messages.
    pub(super) fn display_id(&self) -> &str {
        self.digest.as_deref().unwrap_or(&self.id)
    }

    /// Loads the pin of a reference. An unreadable pin is an error, since it must not be
    /// treated as missing.
    pub(super) fn load(
        state: &Path,
        reference: &RegistryReference,
    ) -> Result<Option<Self>, ImageError> {
        let path = pin_path(state, reference);
        let failed = || ImageError::io(format!("read {}", path.display()));
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|error| failed()(io::Error::other(error))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed()(error)),
        }
    }

    /// Saves the pin, replacing the previous one.
    pub(super) fn save(
        &self,
        state: &Path,
        reference: &RegistryReference,
    ) -> Result<(), ImageError> {
        let path = pin_path(state, reference);
        let written = || -> io::Result<()> {
            let directory = path.parent().unwrap_or(state);
            fs::create_dir_all(directory)?;
            let text = serde_json::to_vec(self)?;
            let mut file = tempfile::NamedTempFile::new_in(directory)?;
            file.write_all(&text)?;
            file.as_file().sync_data()?;
            file.persist(&path)?;
            Ok(())
        };
        written().map_err(ImageError::io(format!("write {}", path.display())))
    }
}

fn pin_path(state: &Path, reference: &RegistryReference) -> PathBuf {
    let name = Sha256Digest::compute(reference.to_string().as_bytes());
    state.join(PINS_DIR).join(format!("{name}.json"))
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
            digests: digests.iter().map(|&digest| digest.to_owned()).collect(),
        }
    }

    #[test]
    fn pin_contains_the_digest_of_the_matching_repository() {
        let reference = RegistryReference::parse("registry.example:5000/library/postgres:17");
        let image = image(
            "sha256:1",
            &[
                "postgres@sha256:aa",
                "registry.example:5000/library/postgres@sha256:bb",
            ],
        );
        let pin = ImagePin::from_image(&reference, &image);
        assert_eq!(
            pin.digest_reference(&reference).unwrap().to_string(),
            "registry.example:5000/library/postgres@sha256:bb"
        );
        let state = tempfile::tempdir().unwrap();
        assert_eq!(ImagePin::load(state.path(), &reference).unwrap(), None);
        pin.save(state.path(), &reference).unwrap();
        let read = ImagePin::load(state.path(), &reference).unwrap().unwrap();
        assert_eq!(read, pin);
        assert!(read.matches_image(&image));
        fs::write(pin_path(state.path(), &reference), "{").unwrap();
        assert!(ImagePin::load(state.path(), &reference).is_err());
    }
}
