//! The directory of backups.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::error::repeat_dir_option;
use super::manifest::{FORMAT_VERSION, Manifest, Purpose};
use super::partial_backup::{PartialBackup, fsync};
use super::{BackupError, Recipients, digest};

/// The suffix of the directory of a backup that is being created.
const PARTIAL_SUFFIX: &str = ".partial";
/// The suffix of the directory of a backup that is being removed.
const REMOVING_SUFFIX: &str = ".leaving";
/// The file with the manifest.
pub(super) const MANIFEST_FILE: &str = "manifest.json";
/// The file with the digest of the manifest.
pub(super) const MANIFEST_DIGEST_FILE: &str = "manifest.blake3";
/// The file with the time of the last successful verification by a restore.
const VERIFIED_FILE: &str = "proved.json";
/// The file with the start time of a restore whose result is unknown.
const RESTORING_FILE: &str = "restoring.json";
/// The file with the time of the last restore of the data from the backup.
const RESTORED_FILE: &str = "restored.json";
/// The suffix of a marker file that is being written.
const TEMP_SUFFIX: &str = ".new";
/// The id that selects the newest manual or scheduled backup.
const LATEST_ID: &str = "latest";

/// The directory of the backups of an instance.
#[derive(Debug, Clone)]
pub struct BackupStore {
    directory: PathBuf,
    /// The value of `--dir`, if the command has one.
    dir_option: Option<PathBuf>,
}

/// A complete backup.
#[derive(Debug, Clone, PartialEq)]
pub struct Backup {
    /// The directory of the backup.
    pub path: PathBuf,
    /// The manifest of the backup.
    pub manifest: Manifest,
    /// When the backup was last restored to another instance and compared.
    pub verified_at: Option<DateTime<Utc>>,
    /// When a restore was started whose result is unknown, because it was killed or is running.
    pub restore_started_at: Option<DateTime<Utc>>,
    /// When the data was last restored from the backup.
    pub restored_at: Option<DateTime<Utc>>,
}

/// A backup that an ambiguous id may select.
#[derive(Debug, Clone)]
pub struct BackupCandidate {
    /// The id of the backup.
    pub id: String,
    /// The time and the purpose of the backup, or `None` if its manifest cannot be read.
    pub summary: Option<(DateTime<Utc>, Purpose)>,
}

impl fmt::Display for BackupCandidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((taken_at, purpose)) = self.summary else {
            return write!(f, "{}  damaged", self.id);
        };
        let time = taken_at.format("%Y-%m-%d %H:%M:%S UTC");
        let age = (Utc::now() - taken_at).to_std().ok();
        let age = age.map_or_else(
            || "in the future".to_owned(),
            |age| {
                let age = Duration::from_secs(age.as_secs());
                format!("{} ago", dm_core::units::format_duration(age))
            },
        );
        write!(f, "{}  {time}, {age}, {}", self.id, purpose.as_str())
    }
}

/// A backup, or a directory that cannot be read as one.
#[derive(Debug)]
pub enum BackupEntry {
    /// A complete backup.
    Complete(Box<Backup>),
    /// The name of an unreadable directory, with the error.
    Unreadable(String, BackupError),
}

impl BackupStore {
    /// Returns the store in a directory, which need not exist.
    #[must_use]
    pub const fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            dir_option: None,
        }
    }

    /// Sets the value of `--dir`, which suggested commands repeat.
    #[must_use]
    pub fn with_dir_option(self, directory: PathBuf) -> Self {
        Self {
            dir_option: Some(directory),
            ..self
        }
    }

    /// Adds the value of `--dir` to the `dm backup` command in a sentence, if the value is set:
    /// without the option, the command uses another directory.
    #[must_use]
    pub fn complete_hint(&self, sentence: &str) -> String {
        match &self.dir_option {
            Some(directory) => repeat_dir_option(sentence, directory),
            None => sentence.to_owned(),
        }
    }

    /// Completes the suggestions of an error, as in [`BackupStore::complete_hint`].
    #[must_use]
    pub fn complete_error(&self, error: BackupError) -> BackupError {
        error.with_dir_option(self.dir_option.clone())
    }

    /// Returns the directory of the backups.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns an unused id for a new backup. A clock that was set back can repeat a time.
    pub(super) fn unused_id(&self, now: DateTime<Utc>) -> String {
        let mut time = now;
        loop {
            let id = format_id(time);
            if !self.directory.join(&id).exists() {
                return id;
            }
            time += TimeDelta::milliseconds(1);
        }
    }

    /// Begins a backup, whose files are encrypted for the recipients.
    ///
    /// # Errors
    /// Returns [`BackupError::File`] if the directory cannot be created.
    pub(super) fn begin_backup(
        &self,
        id: &str,
        recipients: &Recipients,
    ) -> Result<PartialBackup, BackupError> {
        let path = self.directory.join(format!("{id}{PARTIAL_SUFFIX}"));
        fs::create_dir_all(&self.directory)
            .and_then(|()| fs::create_dir(&path))
            .map_err(BackupError::file("create", &path))?;
        restrict_permissions(&path)?;
        Ok(PartialBackup::new(path, recipients.clone()))
    }

    /// Completes a backup whose files are on disk: writes the manifest and its digest, and then
    /// renames the directory.
    ///
    /// # Errors
    /// Returns [`BackupError::File`] if a file cannot be written. The backup remains partial.
    pub(super) fn complete_backup(
        &self,
        partial: &PartialBackup,
        manifest: Manifest,
    ) -> Result<Backup, BackupError> {
        let text = serde_json::to_vec_pretty(&manifest)
            .map_err(io::Error::other)
            .map_err(BackupError::file("write", partial.path()))?;
        write_synced(&partial.path().join(MANIFEST_FILE), &text)?;
        write_synced(
            &partial.path().join(MANIFEST_DIGEST_FILE),
            digest::digest_bytes(&text).as_bytes(),
        )?;
        for directory in manifest
            .files
            .keys()
            .filter_map(|name| Path::new(name).parent())
            .collect::<BTreeSet<_>>()
        {
            fsync(&partial.path().join(directory))?;
        }
        fsync(partial.path())?;
        let path = self.directory.join(&manifest.id);
        fs::rename(partial.path(), &path).map_err(BackupError::file("create", &path))?;
        fsync(&self.directory)?;
        Ok(Backup {
            path,
            manifest,
            verified_at: None,
            restore_started_at: None,
            restored_at: None,
        })
    }

    /// Returns the names of all backups, oldest first.
    fn backup_names(&self) -> Result<Vec<String>, BackupError> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(BackupError::file("read", &self.directory)(source)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(BackupError::file("read", &self.directory))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_backup = !name.ends_with(PARTIAL_SUFFIX) && !name.ends_with(REMOVING_SUFFIX);
            if is_backup && entry.path().is_dir() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Returns all backups, oldest first.
    ///
    /// # Errors
    /// Returns [`BackupError::File`] if the directory cannot be read.
    pub fn list(&self) -> Result<Vec<BackupEntry>, BackupError> {
        let read = |name: String| match self.read_backup(&name) {
            Ok(backup) => BackupEntry::Complete(Box::new(backup)),
            Err(error) => BackupEntry::Unreadable(name, error),
        };
        Ok(self.backup_names()?.into_iter().map(read).collect())
    }

    /// Returns the backups whose manifests can be read, oldest first.
    ///
    /// # Errors
    /// Returns [`BackupError::File`] if the directory cannot be read.
    pub fn readable_backups(&self) -> Result<Vec<Backup>, BackupError> {
        let names = self.backup_names()?;
        let mut backups: Vec<Backup> = names
            .iter()
            .filter_map(|name| self.read_backup(name).ok())
            .collect();
        backups.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
        Ok(backups)
    }

    /// Returns the newest readable backup with one of these purposes. A backup with a date in the
    /// future was created with a wrong clock and counts as older than all others.
    ///
    /// # Errors
    /// Returns [`BackupError::File`] if the directory cannot be read.
    pub fn newest(&self, purposes: &[Purpose]) -> Result<Option<Backup>, BackupError> {
        let now = Utc::now();
        let backups = self.readable_backups()?.into_iter();
        let matching = backups.filter(|backup| purposes.contains(&backup.manifest.purpose));
        Ok(matching.max_by(|a, b| {
            let key = |backup: &Backup| (backup.manifest.taken_at <= now, backup.manifest.taken_at);
            key(a).cmp(&key(b))
        }))
    }

    /// Returns the backup with this id, or the only one whose id begins with it. For `latest`, returns
    /// the newest manual or scheduled backup.
    ///
    /// # Errors
    /// Returns [`BackupError::NotFound`], [`BackupError::NoBackups`] or
    /// [`BackupError::OnlySafetyBackups`] if there is no such backup, [`BackupError::Ambiguous`] if
    /// several ids begin with it, and [`BackupError::Damaged`] or [`BackupError::UnsupportedFormat`]
    /// if the manifest cannot be read.
    pub fn find(&self, id: &str) -> Result<Backup, BackupError> {
        self.find_backup(id)
            .map_err(|error| self.complete_error(error))
    }

    fn find_backup(&self, id: &str) -> Result<Backup, BackupError> {
        let names = self.backup_names()?;
        if names.is_empty() {
            return Err(BackupError::NoBackups(self.directory.clone()));
        }
        if id == LATEST_ID {
            return self.find_latest(&names);
        }
        if names.iter().any(|name| name == id) {
            return self.read_backup(id);
        }
        let has_prefix = |name: &&String| !id.is_empty() && name.starts_with(id);
        let matching: Vec<&String> = names.iter().filter(has_prefix).collect();
        match matching.as_slice() {
            [] => Err(BackupError::NotFound(id.to_owned())),
            [name] => self.read_backup(name),
            _ => Err(BackupError::Ambiguous {
                prefix: id.to_owned(),
                candidates: matching
                    .into_iter()
                    .map(|name| self.to_candidate(name))
                    .collect(),
            }),
        }
    }

    /// Returns the newest manual or scheduled backup. A newer directory that cannot be read is an
    /// error, because it may be one: an older backup must not be used silently.
    fn find_latest(&self, names: &[String]) -> Result<Backup, BackupError> {
        let newest = self.newest(&[Purpose::Manual, Purpose::Scheduled])?;
        let newest_id = newest
            .as_ref()
            .map_or("", |backup| backup.manifest.id.as_str());
        let now = format_id(Utc::now());
        let newer = names.iter().rev();
        let newer = newer.filter(|name| name.as_str() > newest_id && **name <= now);
        for name in newer {
            self.read_backup(name)?;
        }
        newest.ok_or_else(|| BackupError::OnlySafetyBackups {
            candidates: names.iter().map(|name| self.to_candidate(name)).collect(),
        })
    }

    fn to_candidate(&self, name: &str) -> BackupCandidate {
        let backup = self.read_backup(name).ok();
        BackupCandidate {
            id: name.to_owned(),
            summary: backup.map(|backup| (backup.manifest.taken_at, backup.manifest.purpose)),
        }
    }

    fn read_backup(&self, name: &str) -> Result<Backup, BackupError> {
        let path = self.directory.join(name);
        let damaged = |problem: String| BackupError::Damaged {
            id: name.to_owned(),
            problems: vec![problem],
        };
        let text = fs::read(path.join(MANIFEST_FILE))
            .map_err(|error| damaged(format!("{MANIFEST_FILE}: {error}")))?;
        let expected_digest = fs::read(path.join(MANIFEST_DIGEST_FILE))
            .map_err(|error| damaged(format!("{MANIFEST_DIGEST_FILE}: {error}")))?;
        if expected_digest != digest::digest_bytes(&text).as_bytes() {
            return Err(damaged(format!(
                "{MANIFEST_FILE} does not match {MANIFEST_DIGEST_FILE}"
            )));
        }
        // The format is read first, because other fields depend on it.
        #[derive(serde::Deserialize)]
        struct FormatHeader {
            format: u32,
        }
        let header: FormatHeader = serde_json::from_slice(&text)
            .map_err(|error| damaged(format!("{MANIFEST_FILE}: {error}")))?;
        if header.format != FORMAT_VERSION {
            return Err(BackupError::UnsupportedFormat {
                id: name.to_owned(),
                found: header.format,
            });
        }
        let manifest: Manifest = serde_json::from_slice(&text)
            .map_err(|error| damaged(format!("{MANIFEST_FILE}: {error}")))?;
        if manifest.id != name {
            return Err(damaged(format!(
                "the directory is named `{name}`, and the id in the manifest is `{}`",
                manifest.id
            )));
        }
        let read_marker = |name: &str| {
            let text = fs::read(path.join(name)).ok()?;
            serde_json::from_slice(&text).ok()
        };
        Ok(Backup {
            verified_at: read_marker(VERIFIED_FILE),
            restore_started_at: read_marker(RESTORING_FILE),
            restored_at: read_marker(RESTORED_FILE),
            path,
            manifest,
        })
    }

    /// Removes the leftovers of killed calls. Returns their names.
    ///
    /// # Errors
    /// Returns [`BackupError::File`] if a directory cannot be removed.
    pub fn remove_leftovers(&self) -> Result<Vec<String>, BackupError> {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return Ok(Vec::new());
        };
        let mut removed = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(PARTIAL_SUFFIX) || name.ends_with(REMOVING_SUFFIX) {
                let path = entry.path();
                fs::remove_dir_all(&path).map_err(BackupError::file("remove", &path))?;
                removed.push(name);
            }
        }
        Ok(removed)
    }

    /// Removes a backup. Its directory is renamed first: after a kill at any moment, the backup is
    /// either complete or gone, and [`Self::remove_leftovers`] removes the rest of its files.
    ///
    /// # Errors
    /// Returns [`BackupError::File`] if the directory cannot be renamed or removed.
    pub fn remove(&self, backup: &Backup) -> Result<(), BackupError> {
        let removing = self
            .directory
            .join(format!("{}{REMOVING_SUFFIX}", backup.manifest.id));
        fs::rename(&backup.path, &removing).map_err(BackupError::file("remove", &backup.path))?;
        // Synced before the first file is removed: otherwise, after a power failure, an incomplete
        // backup could have its old name.
        fsync(&self.directory)?;
        fs::remove_dir_all(&removing).map_err(BackupError::file("remove", &removing))
    }
}

/// Returns the id of a backup that was begun at this time.
pub(super) fn format_id(time: DateTime<Utc>) -> String {
    time.format("%Y%m%dT%H%M%S%3fZ").to_string()
}

impl Backup {
    /// Returns the key by which backups are sorted: the time of the saved state.
    fn sort_key(&self) -> (DateTime<Utc>, &str) {
        (self.manifest.taken_at, &self.manifest.id)
    }

    /// Returns the age of the saved state.
    #[must_use]
    pub fn age(&self) -> Duration {
        let age = Utc::now() - self.manifest.taken_at;
        age.to_std().unwrap_or_default()
    }

    /// Compares every file with the manifest.
    ///
    /// # Errors
    /// Returns [`BackupError::Damaged`] with all differences if there are any.
    pub fn verify_files(&self) -> Result<(), BackupError> {
        let mut problems = Vec::new();
        for (name, expected) in &self.manifest.files {
            match digest::digest_file(&self.path.join(name)) {
                Ok(file) if file == *expected => {}
                Ok(file) if file.bytes != expected.bytes => problems.push(format!(
                    "{name} has {} bytes instead of {}",
                    file.bytes, expected.bytes
                )),
                Ok(_) => problems.push(format!("{name} does not match its digest in the manifest")),
                Err(error) => problems.push(format!("{name}: {error}")),
            }
        }
        let files = list_files(&self.path).map_err(BackupError::file("read", &self.path))?;
        let is_known = |name: &&String| {
            let marker = name.strip_suffix(TEMP_SUFFIX).unwrap_or(name);
            self.manifest.files.contains_key(*name)
                || [MANIFEST_FILE, MANIFEST_DIGEST_FILE].contains(&name.as_str())
                || [VERIFIED_FILE, RESTORING_FILE, RESTORED_FILE].contains(&marker)
        };
        let unknown = files.iter().filter(|name| !is_known(name));
        problems.extend(unknown.map(|name| format!("{name} is not in the manifest")));
        if problems.is_empty() {
            return Ok(());
        }
        Err(BackupError::Damaged {
            id: self.manifest.id.clone(),
            problems,
        })
    }

    /// Records that the backup was restored to another instance and compared.
    ///
    /// # Errors
    /// Returns [`BackupError::File`] if the marker cannot be written.
    pub fn mark_verified(&self, time: DateTime<Utc>) -> Result<(), BackupError> {
        self.write_marker(VERIFIED_FILE, time)
    }

    /// Records the start of a restore. The backup is kept as long as that restore may have replaced
    /// the data. The backup that was restored before is kept, too.
    ///
    /// # Errors
    /// Returns [`BackupError::File`] if the marker cannot be written.
    pub fn mark_restoring(&self, time: DateTime<Utc>) -> Result<(), BackupError> {
        self.write_marker(RESTORING_FILE, time)
    }

    /// Records that the data was restored from the backup, which is kept until the data is restored
    /// from another one.
    ///
    /// # Errors
    /// Returns [`BackupError::File`] if a marker cannot be written or removed.
    pub fn mark_restored(&self, time: DateTime<Utc>) -> Result<(), BackupError> {
        // In this order, so that a kill in between leaves both markers.
        self.write_marker(RESTORED_FILE, time)?;
        self.clear_restoring()
    }

    /// Records the end of a restore, whose start no longer protects the backup.
    ///
    /// # Errors
    /// Returns [`BackupError::File`] if the marker cannot be removed.
    pub fn clear_restoring(&self) -> Result<(), BackupError> {
        let path = self.path.join(RESTORING_FILE);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(BackupError::file("remove", &path)(error))
            }
            _ => fsync(&self.path),
        }
    }

    /// Writes a marker file, which is not listed in the manifest.
    fn write_marker(&self, name: &str, time: DateTime<Utc>) -> Result<(), BackupError> {
        let text = serde_json::to_vec(&time)
            .map_err(io::Error::other)
            .map_err(BackupError::file("write", &self.path))?;
        let (path, new) = (
            self.path.join(name),
            self.path.join(format!("{name}{TEMP_SUFFIX}")),
        );
        write_synced(&new, &text)?;
        fs::rename(&new, &path).map_err(BackupError::file("write", &path))?;
        fsync(&self.path)
    }
}

/// Returns all files in a directory and its subdirectories, by their path in it.
fn list_files(directory: &Path) -> io::Result<Vec<String>> {
    fn collect_files(directory: &Path, prefix: &str, files: &mut Vec<String>) -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                collect_files(&entry.path(), &format!("{name}/"), files)?;
            } else {
                files.push(name);
            }
        }
        Ok(())
    }
    let mut files = Vec::new();
    collect_files(directory, "", &mut files)?;
    files.sort();
    Ok(files)
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    let written = fs::File::create(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(BackupError::file("write", path))
}

/// Restricts a directory to its owner, because it contains password hashes.
fn restrict_permissions(path: &Path) -> Result<(), BackupError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))
            .map_err(BackupError::file("protect", path))?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "backup_store_tests.rs"]
mod tests;
