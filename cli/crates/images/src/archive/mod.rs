//! All current images in one file, for a machine without network.
//!
//! The file is a zstd-compressed tar: first `dm-images.json`, the manifest, then the
//! output of the engine's own save, last `dm-images.sha256`, a checksum over all
//! preceding entries. An engine's own `load` also accepts it once it is decompressed.
//! The file is streamed and never held in memory as a whole.

mod error;
mod format;
mod manifest;
mod readers;
mod transfer_progress;
mod validator;

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Seek as _};
use std::path::Path;
use std::sync::Arc;

use chrono::Utc;
use dm_host::output_target;
use futures_util::StreamExt;
use serde::Serialize;
use tokio_util::io::{StreamReader, SyncIoBridge};

use self::error::ImageArchiveError;
use self::format::{FORMAT, unpack_archive, verify_archive, write_archive};
use self::readers::CountingReader;
use self::transfer_progress::{PROGRESS_NAME, TransferProgress};
use super::build_context::stream_from_writer;
use super::error::ImageError;
use super::inventory::ImageStatus;
use super::store::ImageStore;

pub(crate) use self::manifest::{ArchiveManifest, ArchivedImage};

/// The result of saving or loading an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ArchiveSummary {
    /// The images.
    pub images: Vec<ArchivedImage>,
    /// The size of the file, in bytes.
    pub size: u64,
}

impl ImageStore {
    /// Saves all current images to one file that only its owner may read. Golden images, which
    /// contain password hashes and the broker's cookie, are included only if `golden` is set. The
    /// file appears when it is complete.
    ///
    /// # Errors
    /// Returns [`ImageError::NothingToSave`] if there are no current images,
    /// [`ImageError::Archive`] if the file cannot be written, [`ImageError::Engine`] if the
    /// engine fails, and [`ImageError::Cancelled`] on cancellation.
    pub async fn save_archive(
        &self,
        path: &Path,
        golden: bool,
    ) -> Result<ArchiveSummary, ImageError> {
        output_target::require_regular_file(path).map_err(ImageError::archive_io(path))?;
        let images: Vec<_> = self
            .list_images()
            .await?
            .into_iter()
            .filter(|row| row.status == ImageStatus::Current && (golden || !row.golden))
            .filter_map(|row| {
                Some(ArchivedImage {
                    component: row.component,
                    reference: row.reference?,
                    id: row.id,
                    digest: row.digest,
                    golden: row.golden,
                })
            })
            .collect();
        if images.is_empty() {
            return Err(ImageError::NothingToSave);
        }
        let references: Vec<_> = images
            .iter()
            .map(|image| image.reference.as_str())
            .collect();
        let stream = self
            .engine
            .save_images(&references)
            .map(|chunk| chunk.map_err(io::Error::other));
        let tar = SyncIoBridge::new(StreamReader::new(stream));
        let services = self.complete_services_digest().await?;
        let manifest = ArchiveManifest {
            format: FORMAT.to_owned(),
            created: Utc::now(),
            images,
            sources: services.map(|sources| sources.to_string()),
        };
        let (target, progress) = (path.to_owned(), self.transfer_progress("saving", None));
        let contents = manifest.clone();
        let size = tokio::task::spawn_blocking(move || {
            let parent = match target.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            let file = tempfile::Builder::new()
                .prefix(".dm-images-")
                .suffix(".partial")
                // Temporary files are private to their owner: golden images contain keys.
                .tempfile_in(parent)?;
            write_archive(&contents, tar, BufWriter::new(file.as_file()), progress)?;
            file.as_file().sync_all()?;
            let size = file.as_file().metadata()?.len();
            file.persist(&target)?;
            io::Result::Ok(size)
        })
        .await
        .map_err(io::Error::other)
        .flatten()
        .map_err(|error| match error.kind() {
            // A missing directory, or one of another user.
            io::ErrorKind::NotFound
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory => ImageError::archive_io(path)(error),
            _ => self.transfer_error(format!("save images to {}", path.display()), error),
        })?;
        Ok(ArchiveSummary {
            images: manifest.images,
            size,
        })
    }

    /// Loads the images of an archive that [`ImageStore::save_archive`] wrote. The whole
    /// file is verified before any of it is sent to the engine.
    ///
    /// # Errors
    /// Returns [`ImageError::Archive`] if the file is foreign, truncated or corrupt,
    /// [`ImageError::Engine`] if the engine fails, and [`ImageError::Cancelled`] on
    /// cancellation.
    pub async fn load_archive(&self, path: &Path) -> Result<ArchiveSummary, ImageError> {
        let file = File::open(path).map_err(ImageError::archive_io(path))?;
        let size = file
            .metadata()
            .map_err(ImageError::io(format!("read {}", path.display())))?
            .len();
        let progress = self.transfer_progress("verifying", Some(size));
        // The same open file is read twice, even if its path is replaced meanwhile.
        let second_reader = file
            .try_clone()
            .map_err(ImageError::io(format!("read {}", path.display())))?;
        let verified =
            tokio::task::spawn_blocking(move || verify_archive(BufReader::new(file), progress))
                .await
                .map_err(|error| ImageError::io("verify the archive")(io::Error::other(error)))?
                .map_err(|error| self.to_image_error(path, error))?;
        let manifest = verified.manifest;
        if let Some(foreign) = manifest
            .images
            .iter()
            .find(|image| !self.is_stack_image(image))
        {
            return Err(ImageError::Archive {
                path: path.to_owned(),
                reason: format!(
                    "it names {}, which is not an image of this project",
                    foreign.reference
                ),
                hints: vec![
                    "load the archive in the project that saved it, with the same images.mirror"
                        .into(),
                ],
            });
        }
        let mut progress = self.transfer_progress("loading", Some(size));
        let digest = verified.unpacked_digest;
        let body = stream_from_writer(move |engine| {
            let mut file = second_reader;
            file.rewind()?;
            let reader =
                CountingReader::new(BufReader::new(file), move |done| progress.report(done));
            unpack_archive(reader, &digest, engine)
        });
        tokio::select! {
            () = self.cancel.cancelled() => return Err(ImageError::Cancelled),
            loaded = self.engine.load_images(body) => loaded?,
        }
        for image in &manifest.images {
            let loaded = self.engine.inspect_image(&image.reference).await?;
            if let Some(loaded) = &loaded {
                self.pin_loaded_image(&image.component, &image.reference, loaded)?;
            } else {
                return Err(ImageError::Archive {
                    path: path.to_owned(),
                    reason: format!("it names {} and does not contain it", image.reference),
                    hints: vec!["save the images again with this version of dm".into()],
                });
            }
        }
        if let Some(sources) = &manifest.sources {
            let references = manifest
                .images
                .iter()
                .filter(|image| self.is_service(&image.component))
                .map(|image| (image.component.clone(), image.reference.clone()))
                .collect();
            if !self.record_loaded_services(sources, references)? {
                let text = "the sources of the services differ from those of the archive; the next dm up compiles them";
                self.progress.on_note(PROGRESS_NAME, text.to_owned());
            }
        }
        Ok(ArchiveSummary {
            images: manifest.images,
            size,
        })
    }

    /// Returns whether `save_archive` writes this reference: a local one of the stack, or the
    /// official one of a component.
    fn is_stack_image(&self, image: &ArchivedImage) -> bool {
        let local = image.reference.strip_prefix("dm/");
        let local = local.and_then(|local| local.split_once(':'));
        if let Some((component, tag)) = local {
            return component == image.component
                && self.components.contains(component)
                && !tag.is_empty();
        }
        let official = self.catalog.get(&image.component).ok();
        let official = official.and_then(|spec| self.official_reference(spec));
        official.is_some_and(|official| official.to_string() == image.reference)
    }

    fn transfer_progress(&self, activity: &'static str, total: Option<u64>) -> TransferProgress {
        TransferProgress {
            progress: Arc::clone(&self.progress),
            cancel: self.cancel.clone(),
            activity,
            total,
        }
    }

    fn transfer_error(&self, action: String, error: io::Error) -> ImageError {
        if self.cancel.is_cancelled() {
            ImageError::Cancelled
        } else {
            ImageError::Io {
                action,
                source: error,
            }
        }
    }

    fn to_image_error(&self, path: &Path, error: ImageArchiveError) -> ImageError {
        let (reason, hint) = match error {
            _ if self.cancel.is_cancelled() => return ImageError::Cancelled,
            ImageArchiveError::Io(error) => {
                return ImageError::io(format!("read {}", path.display()))(error);
            }
            ImageArchiveError::NotAnArchive => (
                "it was not written by dm images save".to_owned(),
                "write an archive: dm images save FILE",
            ),
            ImageArchiveError::UnsupportedFormat(format) => (
                format!("its format is {format}, and this version of dm reads {FORMAT}"),
                "use the version of dm that saved the archive",
            ),
            ImageArchiveError::Truncated => (
                "it is truncated".to_owned(),
                "copy the archive again, and compare the sizes",
            ),
            ImageArchiveError::Corrupt(detail) => (
                format!("it is damaged: {detail}"),
                "copy or save the archive again",
            ),
        };
        ImageError::Archive {
            path: path.to_owned(),
            reason,
            hints: vec![hint.to_owned()],
        }
    }
}
