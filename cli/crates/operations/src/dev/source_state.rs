//! The state of the sources, which decides whether services have to be rebuilt.

use std::path::Path;

use dm_images::ImageError;

/// The digest of the sources and the content of the configuration at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceState {
    sources: dm_images::recipe::Sha256Digest,
    configuration: [Option<Vec<u8>>; 2],
}

impl SourceState {
    /// Reads the state from the project directory.
    ///
    /// # Errors
    /// Returns [`ImageError`] if the sources cannot be read.
    pub(super) fn read(root: &Path) -> Result<Self, ImageError> {
        Ok(Self {
            sources: dm_images::sources_digest(root)?,
            configuration: [dm_config::CONFIG_FILE, dm_config::LOCAL_CONFIG_FILE]
                .map(|file| std::fs::read(root.join(file)).ok()),
        })
    }
}
