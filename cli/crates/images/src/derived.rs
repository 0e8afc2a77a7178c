//! Images made of another image and some files: golden ones, which hold what is
//! slow to make and the same every time, and those of services.

use std::collections::HashMap;
use std::io;

use bytes::Bytes;
use dm_engine::images::BuildOptions;
use futures_util::{Stream, StreamExt};
use tokio::io::AsyncWriteExt;

use super::build::Builder;
use super::context::{self, Contents, Entry};
use super::error::ImageError;
use super::progress::Update;
use super::recipe::{Digest, LABEL_COMPONENT};
use super::store::{Again, Images};

/// The label with the reference that a derived image was made from.
pub const LABEL_FROM: &str = "com.dundermifflin.dm.from";
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

impl Images {
    /// Makes an image of another and a tar of files, at most once for its
    /// reference, and returns that. Owners and modes are taken from the tar. The
    /// files go through a temporary file, not through memory.
    ///
    /// # Errors
    /// Where the files can't be read, or the build fails, or on cancellation.
    pub async fn build_derived(
        &self,
        derivation: &Derivation,
        files: impl Stream<Item = io::Result<Bytes>> + Send + Unpin,
    ) -> Result<String, ImageError> {
        let reference = derivation.reference();
        let name = derivation.told_as.as_str();
        let digest = Digest::of(reference.as_bytes());
        let Some((_turn, lock)) = self
            .exclusively(name, &reference, &digest, Again::Keep, &self.cancel)
            .await?
        else {
            return Ok(reference);
        };
        let spooled = lock.work_dir()?.join("files.tar");
        let spool = async {
            let doing = || ImageError::io(format!("write {}", spooled.display()));
            let mut file = tokio::fs::File::create(&spooled).await.map_err(doing())?;
            let mut files = files;
            let mut done = 0;
            while let Some(chunk) = files.next().await {
                let chunk = chunk.map_err(ImageError::io(format!("read the files of {name}")))?;
                file.write_all(&chunk).await.map_err(doing())?;
                done += chunk.len() as u64;
                self.progress
                    .working(name, Update::doing("packing").bytes(done, None));
            }
            file.flush().await.map_err(doing())
        };
        tokio::select! {
            () = self.cancel.cancelled() => return Err(ImageError::Cancelled),
            result = spool => result?,
        }
        let mut instructions = format!(
            "FROM {}\nADD files.tar {}\n",
            derivation.from, derivation.to
        );
        for change in &derivation.changes {
            instructions.push_str(change);
            instructions.push('\n');
        }
        let mut entries = vec![
            Entry::text(context::DOCKERFILE, instructions),
            Entry {
                path: "files.tar".into(),
                mode: 0o600,
                contents: Contents::File(spooled),
            },
        ];
        let mut labels = derivation.labels.clone();
        labels.insert(LABEL_COMPONENT.to_owned(), derivation.component.clone());
        labels.insert(LABEL_FROM.to_owned(), derivation.from.clone());
        if derivation.golden {
            labels.insert(LABEL_GOLDEN.to_owned(), "true".to_owned());
        }
        context::label(&mut entries, &labels);
        let builder = Builder {
            engine: &self.engine,
            progress: self.progress.as_ref(),
            cancel: &self.cancel,
        };
        let options = BuildOptions {
            dockerfile: context::DOCKERFILE.into(),
            ..BuildOptions::default()
        };
        let _slot = self.slot(name, &self.cancel).await?;
        let id = builder
            .build(name, options, context::stream(entries))
            .await?;
        self.publish(&id, &reference, &lock).await?;
        Ok(reference)
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
