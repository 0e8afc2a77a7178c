//! All current images in one file, for a machine without network.
//!
//! The file is a zstd-compressed tar: first `dm-images.json`, which says what is
//! in it, then what the engine's own save gives, at last `dm-images.sha256`, a
//! checksum over all entries before. An engine's own `load` takes it, too, once
//! it is decompressed. Nothing of it is ever in memory as a whole.

mod contents;
mod fault;
mod format;
mod manifest;
mod meter;
mod stream;

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Seek as _};
use std::path::Path;
use std::sync::Arc;

use chrono::Utc;
use dm_host::target;
use futures_util::StreamExt;
use serde::Serialize;
use tokio_util::io::{StreamReader, SyncIoBridge};

use self::fault::Fault;
use self::format::{FORMAT, unpack, verify, write};
use self::meter::{Meter, NAME};
use self::stream::Counted;
use super::context::produce;
use super::error::ImageError;
use super::inventory::Standing;
use super::store::Images;

pub(crate) use self::manifest::{Manifest, Saved};

/// What was saved or loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Transferred {
    /// The images.
    pub images: Vec<Saved>,
    /// The size of the file, in bytes.
    pub size: u64,
}

impl Images {
    /// Saves all current images to one file, which its owner alone may read; those
    /// that hold the state after a first start, with its keys and hashes of passwords,
    /// only where `golden` is set. The file appears when it is complete.
    ///
    /// # Errors
    /// Where there are none, the engine fails or the file can't be written, or on
    /// cancellation.
    pub async fn save(&self, path: &Path, golden: bool) -> Result<Transferred, ImageError> {
        target::regular(path).map_err(ImageError::named_file(path))?;
        let images: Vec<_> = self
            .list()
            .await?
            .into_iter()
            .filter(|row| row.standing == Standing::Current && (golden || !row.golden))
            .filter_map(|row| {
                Some(Saved {
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
        let services = self.complete_services().await?;
        let manifest = Manifest {
            format: FORMAT.to_owned(),
            created: Utc::now(),
            images,
            sources: services.map(|sources| sources.to_string()),
        };
        let (target, meter) = (path.to_owned(), self.meter("saving", None));
        let contents = manifest.clone();
        let size = tokio::task::spawn_blocking(move || {
            let parent = match target.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            let file = tempfile::Builder::new()
                .prefix(".dm-images-")
                .suffix(".partial")
                // Its owner's alone, as temporary files are: golden images hold keys.
                .tempfile_in(parent)?;
            write(&contents, tar, BufWriter::new(file.as_file()), meter)?;
            file.as_file().sync_all()?;
            let size = file.as_file().metadata()?.len();
            file.persist(&target)?;
            io::Result::Ok(size)
        })
        .await
        .map_err(io::Error::other)
        .flatten()
        .map_err(|error| match error.kind() {
            // A folder that is not there, or is not the user's.
            io::ErrorKind::NotFound
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory => ImageError::named_file(path)(error),
            _ => self.transfer_failed(format!("save images to {}", path.display()), error),
        })?;
        Ok(Transferred {
            images: manifest.images,
            size,
        })
    }

    /// Loads the images of a file that [`Images::save`] made. The file is read
    /// through and verified before anything of it reaches the engine.
    ///
    /// # Errors
    /// Where the file is none of ours, cut short or damaged, or the engine fails,
    /// or on cancellation.
    pub async fn load(&self, path: &Path) -> Result<Transferred, ImageError> {
        let file = File::open(path).map_err(ImageError::named_file(path))?;
        let size = file
            .metadata()
            .map_err(ImageError::io(format!("read {}", path.display())))?
            .len();
        let meter = self.meter("verifying", Some(size));
        // The very file is read twice, whatever becomes of its name.
        let again = file
            .try_clone()
            .map_err(ImageError::io(format!("read {}", path.display())))?;
        let verified = tokio::task::spawn_blocking(move || verify(BufReader::new(file), meter))
            .await
            .map_err(|error| ImageError::io("verify the archive")(io::Error::other(error)))?
            .map_err(|fault| self.refuse(path, fault))?;
        let manifest = verified.manifest;
        if let Some(other) = manifest.images.iter().find(|image| !self.is_ours(image)) {
            return Err(ImageError::Archive {
                path: path.to_owned(),
                reason: format!(
                    "it names {}, which is not an image of this project",
                    other.reference
                ),
                hints: vec![
                    "load the archive in the project that saved it, with the same images.mirror"
                        .into(),
                ],
            });
        }
        let mut meter = self.meter("loading", Some(size));
        let digest = verified.digest;
        let body = produce(move |engine| {
            let mut file = again;
            file.rewind()?;
            let counted = Counted::new(BufReader::new(file), move |done| meter.tell(done));
            unpack(counted, &digest, engine)
        });
        tokio::select! {
            () = self.cancel.cancelled() => return Err(ImageError::Cancelled),
            loaded = self.engine.load_images(body) => loaded?,
        }
        for image in &manifest.images {
            let loaded = self.engine.image(&image.reference).await?;
            if let Some(loaded) = &loaded {
                self.adopt_official(&image.component, &image.reference, loaded)?;
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
            if !self.adopt_services(sources, references)? {
                let text = "the sources of the services differ from those of the archive; the next dm up compiles them";
                self.progress.note(NAME, text.to_owned());
            }
        }
        Ok(Transferred {
            images: manifest.images,
            size,
        })
    }

    /// Whether a reference is one that `save` writes: one of ours, or the official one of a
    /// component.
    fn is_ours(&self, image: &Saved) -> bool {
        let local = image.reference.strip_prefix("dm/");
        let local = local.and_then(|local| local.split_once(':'));
        if let Some((component, tag)) = local {
            return component == image.component
                && self.components.contains(component)
                && !tag.is_empty();
        }
        let official = self.catalog.get(&image.component).ok();
        let official = official.and_then(|spec| self.official(spec));
        official.is_some_and(|official| official.to_string() == image.reference)
    }

    fn meter(&self, doing: &'static str, total: Option<u64>) -> Meter {
        Meter {
            progress: Arc::clone(&self.progress),
            cancel: self.cancel.clone(),
            doing,
            total,
        }
    }

    fn transfer_failed(&self, doing: String, error: io::Error) -> ImageError {
        if self.cancel.is_cancelled() {
            ImageError::Cancelled
        } else {
            ImageError::Io {
                doing,
                source: error,
            }
        }
    }

    fn refuse(&self, path: &Path, fault: Fault) -> ImageError {
        let (reason, hint) = match fault {
            _ if self.cancel.is_cancelled() => return ImageError::Cancelled,
            Fault::Io(error) => {
                return ImageError::io(format!("read {}", path.display()))(error);
            }
            Fault::Foreign => (
                "it was not written by dm images save".to_owned(),
                "write an archive: dm images save FILE",
            ),
            Fault::Version(format) => (
                format!("its format is {format}, and this version of dm reads {FORMAT}"),
                "use the version of dm that saved the archive",
            ),
            Fault::CutShort => (
                "it is truncated".to_owned(),
                "copy the archive again, and compare the sizes",
            ),
            Fault::Damaged(what) => (
                format!("it is damaged: {what}"),
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
