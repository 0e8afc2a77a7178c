//! An image that can be used, and its origin.

use std::fmt;

use dm_engine::images::Image;

/// How an image was obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageOrigin {
    /// It was on the engine already.
    Local,
    /// It was pulled.
    Pulled,
    /// It was built.
    Built,
}

/// An image that can be used now.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct AcquiredImage {
    /// The component.
    pub name: String,
    /// The reference that containers are created from.
    pub reference: String,
    /// The image's id.
    pub id: String,
    /// How it was obtained.
    pub origin: ImageOrigin,
    /// The reason for this origin, as the end of a sentence.
    pub reason: String,
}

impl fmt::Display for AcquiredImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = match self.origin {
            ImageOrigin::Local => "is present",
            ImageOrigin::Pulled => "was pulled",
            ImageOrigin::Built => "was built",
        };
        write!(f, "{} {origin}: {}", self.reference, self.reason)
    }
}

pub(crate) fn acquired_image(
    name: &str,
    reference: &str,
    image: Image,
    origin: ImageOrigin,
    reason: impl Into<String>,
) -> AcquiredImage {
    AcquiredImage {
        name: name.to_owned(),
        reference: reference.to_owned(),
        id: image.id,
        origin,
        reason: reason.into(),
    }
}
