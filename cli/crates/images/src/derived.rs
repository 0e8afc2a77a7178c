//! Images derived from another image and some files: golden images, which contain data that
//! is slow to create and always the same, and images of services.

use std::collections::HashMap;

use super::recipe::Sha256Digest;

/// The label with the reference of the image that a derived image is based on.
pub(crate) const LABEL_DERIVED_FROM: &str = "com.dundermifflin.dm.from";

/// The base of an image without a base image.
pub(super) const SCRATCH: &str = "scratch";

/// The specification of a derived image, beside its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DerivedImageSpec {
    /// Its component, the name in its reference.
    pub component: String,
    /// The name under which the build reports its progress.
    pub progress_name: String,
    /// The digest of everything that the files depend on. The caller knows it before the
    /// files exist, and therefore finds the image without creating them.
    pub content_digest: Sha256Digest,
    /// The reference of the base image, or `scratch`.
    pub base_image: String,
    /// True for an image that contains the state after a first start.
    pub golden: bool,
    /// The directory in the image that receives the files.
    pub target_dir: String,
    /// Further labels.
    pub labels: HashMap<String, String>,
    /// Further instructions, e.g. `ENTRYPOINT ["/service"]`.
    pub instructions: Vec<String>,
}

impl DerivedImageSpec {
    /// Returns the reference of the image. Its tag depends on the content digest, the base
    /// image and the instructions.
    #[must_use]
    pub fn reference(&self) -> String {
        let mut text = format!(
            "{}\n{}\n{}\n{}\n",
            self.content_digest, self.base_image, self.target_dir, self.golden
        );
        for instruction in &self.instructions {
            text.push_str(instruction);
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
    fn reference_changes_with_every_input() {
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
