//! Builds derived images.

use std::io;

use bytes::Bytes;
use dm_core::labels;
use dm_engine::images::BuildOptions;
use futures_util::{Stream, StreamExt};
use tokio::io::AsyncWriteExt;

use super::{ImageStore, ReusePolicy};
use crate::build_context::{self, ContextEntry, EntrySource};
use crate::derived::{DerivedImageSpec, LABEL_DERIVED_FROM};
use crate::error::ImageError;
use crate::image_builder::ImageBuilder;
use crate::progress::ProgressUpdate;
use crate::recipe::Sha256Digest;

impl ImageStore {
    /// Builds an image from another image and a tar of files, at most once per reference, and
    /// returns the reference. Owners and modes are taken from the tar. The files are spooled
    /// to a temporary file instead of memory.
    ///
    /// # Errors
    /// Returns [`ImageError::Io`] if the files cannot be read, [`ImageError::Build`] if the
    /// build fails, and [`ImageError::Cancelled`] on cancellation.
    pub async fn build_derived(
        &self,
        spec: &DerivedImageSpec,
        files: impl Stream<Item = io::Result<Bytes>> + Send + Unpin,
    ) -> Result<String, ImageError> {
        let reference = spec.reference();
        let name = spec.progress_name.as_str();
        let digest = Sha256Digest::compute(reference.as_bytes());
        let Some((_guard, lock)) = self
            .acquire_build_lock(name, &reference, &digest, ReusePolicy::Reuse, &self.cancel)
            .await?
        else {
            return Ok(reference);
        };
        let spooled = lock.work_dir()?.join("files.tar");
        let spool = async {
            let write_error = || ImageError::io(format!("write {}", spooled.display()));
            let mut file = tokio::fs::File::create(&spooled)
                .await
                .map_err(write_error())?;
            let mut files = files;
            let mut done = 0;
            while let Some(chunk) = files.next().await {
                let chunk = chunk.map_err(ImageError::io(format!("read the files of {name}")))?;
                file.write_all(&chunk).await.map_err(write_error())?;
                done += chunk.len() as u64;
                self.progress
                    .on_progress(name, ProgressUpdate::new("packing").with_bytes(done, None));
            }
            file.flush().await.map_err(write_error())
        };
        tokio::select! {
            () = self.cancel.cancelled() => return Err(ImageError::Cancelled),
            result = spool => result?,
        }
        let mut instructions = format!(
            "FROM {}\nADD files.tar {}\n",
            spec.base_image, spec.target_dir
        );
        for instruction in &spec.instructions {
            instructions.push_str(instruction);
            instructions.push('\n');
        }
        let mut entries = vec![
            ContextEntry::from_text(build_context::DOCKERFILE, instructions),
            ContextEntry {
                path: "files.tar".into(),
                mode: 0o600,
                source: EntrySource::File(spooled),
            },
        ];
        let mut labels = spec.labels.clone();
        labels.insert(labels::COMPONENT.to_owned(), spec.component.clone());
        labels.insert(LABEL_DERIVED_FROM.to_owned(), spec.base_image.clone());
        if spec.golden {
            labels.insert(labels::GOLDEN.to_owned(), "true".to_owned());
        }
        build_context::append_labels(&mut entries, &labels);
        let builder = ImageBuilder {
            engine: &self.engine,
            progress: self.progress.as_ref(),
            cancel: &self.cancel,
        };
        let options = BuildOptions {
            dockerfile: build_context::DOCKERFILE.into(),
            ..BuildOptions::default()
        };
        let _slot = self.acquire_build_slot(name, &self.cancel).await?;
        let id = builder.build(name, options, entries).await?;
        self.tag_finished(&id, &reference, &lock).await?;
        Ok(reference)
    }
}
