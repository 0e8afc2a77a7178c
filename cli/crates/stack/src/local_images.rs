//! The images that the engine has, each asked for once.

use std::collections::BTreeMap;

use dm_core::error::Result;
use dm_images::ImageStore;

/// What is known of the images that the engine has.
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

    /// The reference of the image of that name, if it is there.
    ///
    /// # Errors
    /// There is no such image, or the engine fails.
    pub(crate) async fn find_reference(&mut self, name: &str) -> Result<Option<String>> {
        if let Some(known) = self.references.get(name) {
            return Ok(known.clone());
        }
        let found = self
            .images
            .find_local(name)
            .await?
            .map(|image| image.reference);
        self.references.insert(name.to_owned(), found.clone());
        Ok(found)
    }
}
