//! An image that can be used, and how it came here.

use std::fmt;

use dm_engine::images::Image;

/// The way in which an image was obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageOrigin {
    /// It was here already.
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
    /// What a container is made from.
    pub reference: String,
    /// The image's id.
    pub id: String,
    /// The way it took.
    pub how: ImageOrigin,
    /// Why it took that way, as a sentence's end.
    pub why: String,
}

impl fmt::Display for AcquiredImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.how {
            ImageOrigin::Local => "is present",
            ImageOrigin::Pulled => "was pulled",
            ImageOrigin::Built => "was built",
        };
        write!(f, "{} {how}: {}", self.reference, self.why)
    }
}

pub(crate) fn acquired_image(
    name: &str,
    reference: &str,
    image: Image,
    how: ImageOrigin,
    why: impl Into<String>,
) -> AcquiredImage {
    AcquiredImage {
        name: name.to_owned(),
        reference: reference.to_owned(),
        id: image.id,
        how,
        why: why.into(),
    }
}
