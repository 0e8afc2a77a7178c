//! What a file of images says of itself.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// What is in a file of images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ArchiveManifest {
    /// Name and version of the format.
    pub format: String,
    /// When the file was made.
    pub created: DateTime<Utc>,
    /// The images.
    pub images: Vec<ArchivedImage>,
    /// The digest of the sources that the services' images were compiled from,
    /// where all of those are in the file.
    #[serde(default)]
    pub sources: Option<String>,
}

/// One image of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchivedImage {
    /// The component.
    pub component: String,
    /// The reference that it has after loading.
    pub reference: String,
    /// The image's id on the machine that it was saved on.
    pub id: String,
    /// The digest of its recipe, where it was made from one.
    pub digest: Option<String>,
    /// True for one that holds the state after a first start.
    pub golden: bool,
}
