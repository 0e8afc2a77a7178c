//! Images made of another image and some files: golden ones, which hold what is
//! slow to make and the same every time, and those of services.

use std::collections::HashMap;

use super::recipe::Sha256Digest;

/// The label with the reference that a derived image was made from.
pub(crate) const LABEL_DERIVED_FROM: &str = "com.dundermifflin.dm.from";
/// The label of an image that holds the state after a first start.
pub const LABEL_GOLDEN: &str = "com.dundermifflin.dm.golden";

/// What an image stands on that stands on nothing.
pub(super) const SCRATCH: &str = "scratch";

/// What an image is derived from, beside the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DerivedImageSpec {
    /// Its component, the name in its reference.
    pub component: String,
    /// The name under which the build is told.
    pub progress_name: String,
    /// The digest of everything that the files depend on. The caller knows it
    /// before the files exist, and so finds the image without making them.
    pub content_digest: Sha256Digest,
    /// The reference of the image below, or `scratch`.
    pub base_image: String,
    /// True for an image that holds the state after a first start.
    pub golden: bool,
    /// The folder in the image that the files go to.
    pub target_dir: String,
    /// Further labels.
    pub labels: HashMap<String, String>,
    /// Further instructions, e.g. `ENTRYPOINT ["/service"]`.
    pub instructions: Vec<String>,
}

impl DerivedImageSpec {
    /// The reference of the image: its key, what it stands on and its own
    /// instructions are in the tag.
    #[must_use]
    pub fn reference(&self) -> String {
        let mut text = format!(
            "{}\n{}\n{}\n{}\n",
            self.content_digest, self.base_image, self.target_dir, self.golden
        );
        for change in &self.instructions {
            text.push_str(change);
            text.push('\n');
        }
        let kind = if self.golden { "golden-" } else { "" };
        let digest = Sha256Digest::compute(text.as_bytes());
        format!("dm/{}:{kind}{}", self.component, digest.short_hex())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_follows_from_all_that_matters() {
        let one = DerivedImageSpec {
            component: "postgres".into(),
            progress_name: "postgres".into(),
            content_digest: Sha256Digest::compute(b"migrations"),
            base_image: "dm/postgres:1".into(),
            golden: true,
            target_dir: "/".into(),
            labels: HashMap::new(),
            instructions: Vec::new(),
        };
        assert!(one.reference().starts_with("dm/postgres:golden-"));
        let others = [
            DerivedImageSpec {
                content_digest: Sha256Digest::compute(b"others"),
                ..one.clone()
            },
            DerivedImageSpec {
                base_image: "dm/postgres:2".into(),
                ..one.clone()
            },
            DerivedImageSpec {
                target_dir: "/data".into(),
                ..one.clone()
            },
            DerivedImageSpec {
                instructions: vec!["CMD [\"x\"]".into()],
                ..one.clone()
            },
        ];
        for other in others {
            assert_ne!(one.reference(), other.reference());
        }
    }
}
