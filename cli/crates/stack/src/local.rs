//! The images that the engine has, each asked for once.

use std::collections::BTreeMap;

use dm_core::error::Result;
use dm_images::Images;

/// What is known of the images that the engine has.
#[derive(Debug)]
pub(crate) struct LocalImages<'a> {
    images: &'a Images,
    known: BTreeMap<String, Option<String>>,
}

impl<'a> LocalImages<'a> {
    pub(crate) const fn new(images: &'a Images) -> Self {
        Self {
            images,
            known: BTreeMap::new(),
        }
    }

    /// The reference of the image of that name, if it is there.
    ///
    /// # Errors
    /// There is no such image, or the engine fails.
    pub(crate) async fn reference(&mut self, name: &str) -> Result<Option<String>> {
        if let Some(known) = self.known.get(name) {
            return Ok(known.clone());
        }
        let found = self.images.local(name).await?.map(|image| image.reference);
        self.known.insert(name.to_owned(), found.clone());
        Ok(found)
    }
}
