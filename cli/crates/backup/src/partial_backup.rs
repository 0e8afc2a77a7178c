//! A backup that is being created.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::encryption::BackupFileWriter;
use super::manifest::FileDigest;
use super::{BackupError, Recipients};

/// The directory of an incomplete backup, with the files that are complete.
pub(super) struct PartialBackup {
    path: PathBuf,
    recipients: Recipients,
    files: Mutex<BTreeMap<String, FileDigest>>,
}

impl PartialBackup {
    /// Returns a backup without files, in an existing directory.
    pub(super) fn new(path: PathBuf, recipients: Recipients) -> Self {
        Self {
            path,
            recipients,
            files: Mutex::default(),
        }
    }

    /// Returns the directory of the backup.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Creates a file. It becomes a file of the backup by [`Self::finish_file`].
    ///
    /// # Errors
    /// Returns [`BackupError::File`] if the file cannot be created.
    pub(super) fn create_file(&self, name: &str) -> Result<BackupFileWriter, BackupError> {
        let path = self.path.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(BackupError::file("create", parent))?;
        }
        self.recipients.create_file(path)
    }

    /// Finishes a file, syncs it to disk and adds it to the backup.
    ///
    /// # Errors
    /// Returns [`BackupError::File`] if the file cannot be written.
    pub(super) fn finish_file(&self, file: BackupFileWriter) -> Result<(), BackupError> {
        let (path, digest) = file.finish()?;
        let name = path.strip_prefix(&self.path).unwrap_or(&path);
        self.lock_files()
            .insert(name.to_string_lossy().into_owned(), digest);
        Ok(())
    }

    /// Returns the complete files, by their path in the backup.
    pub(super) fn files(&self) -> BTreeMap<String, FileDigest> {
        self.lock_files().clone()
    }

    fn lock_files(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, FileDigest>> {
        // A panic cannot leave an incomplete entry.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Syncs a file or the entries of a directory to disk.
pub(super) fn fsync(path: &Path) -> Result<(), BackupError> {
    fs::File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(BackupError::file("write", path))
}
