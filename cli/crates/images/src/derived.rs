//! Images made of another image and some files: golden ones, which hold what is
//! slow to make and the same every time, and those of services.

use std::collections::HashMap;

use super::recipe::Digest;

/// The label with the reference that a derived image was made from.
pub(crate) const LABEL_FROM: &str = "com.dundermifflin.dm.from";
/// The label of an image that holds the state after a first start.
pub const LABEL_GOLDEN: &str = "com.dundermifflin.dm.golden";

/// What an image stands on that stands on nothing.
pub(super) const SCRATCH: &str = "scratch";

/// What an image is derived from, beside the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derivation {
    /// Its component, the name in its reference.
    pub component: String,
    /// The name under which the build is told.
    pub told_as: String,
    /// The digest of everything that the files depend on. The caller knows it
    /// before the files exist, and so finds the image without making them.
    pub key: Digest,
    /// The reference of the image below, or `scratch`.
    pub from: String,
    /// True for an image that holds the state after a first start.
    pub golden: bool,
    /// The folder in the image that the files go to.
    pub to: String,
    /// Further labels.
    pub labels: HashMap<String, String>,
    /// Further instructions, e.g. `ENTRYPOINT ["/service"]`.
    pub changes: Vec<String>,
}

impl Derivation {
    /// The reference of the image: its key, what it stands on and its own
    /// instructions are in the tag.
    #[must_use]
    pub fn reference(&self) -> String {
        let mut text = format!(
            "{}\n{}\n{}\n{}\n",
            self.key, self.from, self.to, self.golden
        );
        for change in &self.changes {
            text.push_str(change);
            text.push('\n');
        }
        let kind = if self.golden { "golden-" } else { "" };
        let digest = Digest::of(text.as_bytes());
        format!("dm/{}:{kind}{}", self.component, digest.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_follows_from_all_that_matters() {
        let one = Derivation {
            component: "postgres".into(),
            told_as: "postgres".into(),
            key: Digest::of(b"migrations"),
            from: "dm/postgres:1".into(),
            golden: true,
            to: "/".into(),
            labels: HashMap::new(),
            changes: Vec::new(),
        };
        assert!(one.reference().starts_with("dm/postgres:golden-"));
        let others = [
            Derivation {
                key: Digest::of(b"others"),
                ..one.clone()
            },
            Derivation {
                from: "dm/postgres:2".into(),
                ..one.clone()
            },
            Derivation {
                to: "/data".into(),
                ..one.clone()
            },
            Derivation {
                changes: vec!["CMD [\"x\"]".into()],
                ..one.clone()
            },
        ];
        for other in others {
            assert_ne!(one.reference(), other.reference());
        }
    }
}
