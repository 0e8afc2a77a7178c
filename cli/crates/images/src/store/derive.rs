//! Makes derived images.

use std::io;

use bytes::Bytes;
use dm_engine::images::BuildOptions;
use futures_util::{Stream, StreamExt};
use tokio::io::AsyncWriteExt;

use super::{Again, Images};
use crate::build::Builder;
use crate::context::{self, Contents, Entry};
use crate::derived::{Derivation, LABEL_FROM, LABEL_GOLDEN};
use crate::error::ImageError;
use crate::progress::Update;
use crate::recipe::{Digest, LABEL_COMPONENT};

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
