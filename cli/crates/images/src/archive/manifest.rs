//! The manifest of an image archive.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The contents of an image archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ArchiveManifest {
    /// Name and version of the format.
    pub format: String,
    /// The time at which the archive was written.
    pub created: DateTime<Utc>,
    /// The images.
    pub images: Vec<ArchivedImage>,
    /// The digest of the sources that the services' images were compiled from,
    /// if the archive contains all of them.
    #[serde(default)]
    pub sources: Option<String>,
}

/// One image of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchivedImage {
    /// The component.
    pub component: String,
    /// Its reference after loading.
    pub reference: String,
    /// Its id on the machine that saved it.
    pub id: String,
    /// The digest of its recipe, if it was built from one.
    pub digest: Option<String>,
    /// True for an image that contains the state after a first start.
    pub golden: bool,
}
