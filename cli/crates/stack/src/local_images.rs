//! A cache of the engine's images, each looked up once.

use std::collections::BTreeMap;

use dm_core::error::Result;
use dm_images::ImageStore;

/// A cache of the references of the engine's images.
#[derive(Debug)]
pub(crate) struct LocalImages<'a> {
    images: &'a ImageStore,
    references: BTreeMap<String, Option<String>>,
}

impl<'a> LocalImages<'a> {
    pub(crate) const fn new(images: &'a ImageStore) -> Self {
        Self {
            images,
            references: BTreeMap::new(),
        }
    }

    /// Returns the reference of the image with this name, if the engine has it.
    ///
    /// # Errors
    /// If no image has this name or an engine request fails.
    pub(crate) async fn find_reference(&mut self, name: &str) -> Result<Option<String>> {
        if let Some(reference) = self.references.get(name) {
            return Ok(reference.clone());
        }
        let reference = self
            .images
            .find_local(name)
            .await?
            .map(|image| image.reference);
        self.references.insert(name.to_owned(), reference.clone());
        Ok(reference)
    }
}
