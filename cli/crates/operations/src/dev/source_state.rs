//! What decides whether something has to be made anew.

use std::path::Path;

use dm_images::ImageError;

/// The sources and the configuration, as they were at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceState {
    sources: dm_images::recipe::Sha256Digest,
    configuration: [Option<Vec<u8>>; 2],
}

impl SourceState {
    /// Reads them below the project's folder.
    ///
    /// # Errors
    /// Where the sources can't be read.
    pub(super) fn read(root: &Path) -> Result<Self, ImageError> {
        Ok(Self {
            sources: dm_images::sources_digest(root)?,
            configuration: [dm_config::CONFIG_FILE, dm_config::LOCAL_CONFIG_FILE]
                .map(|file| std::fs::read(root.join(file)).ok()),
        })
    }
}
