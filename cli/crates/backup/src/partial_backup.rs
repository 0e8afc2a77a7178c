//! A set while it is being made.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::encryption::BackupFileWriter;
use super::manifest::FileDigest;
use super::{BackupError, Recipients};

/// The folder of a set that is not complete, and which of its files are.
pub(super) struct PartialBackup {
    path: PathBuf,
    recipients: Recipients,
    files: Mutex<BTreeMap<String, FileDigest>>,
}

impl PartialBackup {
    /// A set without files, in a folder that is there.
    pub(super) fn new(path: PathBuf, recipients: Recipients) -> Self {
        Self {
            path,
            recipients,
            files: Mutex::default(),
        }
    }

    /// Its folder.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A new file, of which the set has nothing before it is added.
    ///
    /// # Errors
    /// The disk is full, or the like.
    pub(super) fn create_file(&self, name: &str) -> Result<BackupFileWriter, BackupError> {
        let path = self.path.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(BackupError::file("create", folder))?;
        }
        self.recipients.create_file(path)
    }

    /// Ends a file, puts it on the disk and has it in the set.
    ///
    /// # Errors
    /// The disk is full, or the like.
    pub(super) fn finish_file(&self, sealed: BackupFileWriter) -> Result<(), BackupError> {
        let (path, file) = sealed.finish()?;
        let name = path.strip_prefix(&self.path).unwrap_or(&path);
        self.lock_files()
            .insert(name.to_string_lossy().into_owned(), file);
        Ok(())
    }

    /// The files that it has, by their path in it.
    pub(super) fn files(&self) -> BTreeMap<String, FileDigest> {
        self.lock_files().clone()
    }

    fn lock_files(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, FileDigest>> {
        // Nobody panics with half an entry in it.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts a folder's entries, or a file, on the disk.
pub(super) fn fsync(path: &Path) -> Result<(), BackupError> {
    fs::File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(BackupError::file("write", path))
}
