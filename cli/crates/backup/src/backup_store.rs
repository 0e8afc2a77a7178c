//! The folder of sets.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::manifest::{FORMAT_VERSION, Manifest, Purpose};
use super::partial_backup::{PartialBackup, fsync};
use super::{BackupError, Recipients, digest};

/// What a set is named by while it is being made.
const PARTIAL_SUFFIX: &str = ".partial";
/// What a set is named by while it is being removed.
const REMOVING_SUFFIX: &str = ".leaving";
/// What says what a set is.
const MANIFEST_FILE: &str = "manifest.json";
/// The digest of that.
const MANIFEST_DIGEST_FILE: &str = "manifest.blake3";
/// When it was last restored elsewhere and found to be equal.
const VERIFIED_FILE: &str = "proved.json";
/// When a restore of it was begun whose end is not known.
const RESTORING_FILE: &str = "restoring.json";
/// When the data was last restored from it.
const RESTORED_FILE: &str = "restored.json";
/// Ends the name of a note that is being written.
const TEMP_SUFFIX: &str = ".new";
/// What names the newest manual or scheduled set.
const LATEST_ID: &str = "latest";

/// The folder of an instance's sets.
#[derive(Debug, Clone)]
pub struct BackupStore {
    directory: PathBuf,
}

/// A complete set.
#[derive(Debug, Clone, PartialEq)]
pub struct Backup {
    /// Its folder.
    pub path: PathBuf,
    /// What it is.
    pub manifest: Manifest,
    /// When it was last restored elsewhere and found to be equal.
    pub verified_at: Option<DateTime<Utc>>,
    /// When a restore of it was begun whose end is not known: it was killed, or it is running.
    pub restore_started_at: Option<DateTime<Utc>>,
    /// When the data was last restored from it.
    pub restored_at: Option<DateTime<Utc>>,
}

/// A set that an ambiguous id may mean.
#[derive(Debug, Clone)]
pub struct BackupCandidate {
    /// Its id.
    pub id: String,
    /// When its state was, and why it was made; none where it can't be read.
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

/// A set, or what can't be read as one.
#[derive(Debug)]
pub enum BackupEntry {
    /// A set.
    Complete(Box<Backup>),
    /// Something wrong, by its name.
    Unreadable(String, BackupError),
}

impl BackupStore {
    /// The sets in a folder, which need not be there.
    #[must_use]
    pub const fn new(folder: PathBuf) -> Self {
        Self { directory: folder }
    }

    /// Where they are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// An id for a set that is begun now. A clock that was put back can name a moment twice.
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

    /// Begins a set, whose files are encrypted for the recipients.
    ///
    /// # Errors
    /// The folder can't be made.
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

    /// Ends a set, whose files are on the disk: manifest and seal, before it gets its name.
    ///
    /// # Errors
    /// The disk is full, or the like: the set stays partial.
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
        for folder in manifest
            .files
            .keys()
            .filter_map(|name| Path::new(name).parent())
            .collect::<BTreeSet<_>>()
        {
            fsync(&partial.path().join(folder))?;
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

    /// The names of all sets, oldest first.
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
            let is_set = !name.ends_with(PARTIAL_SUFFIX) && !name.ends_with(REMOVING_SUFFIX);
            if is_set && entry.path().is_dir() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// All of them, oldest first.
    ///
    /// # Errors
    /// The folder can't be read.
    pub fn list(&self) -> Result<Vec<BackupEntry>, BackupError> {
        let read = |name: String| match self.read_backup(&name) {
            Ok(set) => BackupEntry::Complete(Box::new(set)),
            Err(error) => BackupEntry::Unreadable(name, error),
        };
        Ok(self.backup_names()?.into_iter().map(read).collect())
    }

    /// Those that can be read, oldest first.
    ///
    /// # Errors
    /// The folder can't be read.
    pub fn readable_backups(&self) -> Result<Vec<Backup>, BackupError> {
        let names = self.backup_names()?;
        let mut sets: Vec<Backup> = names
            .iter()
            .filter_map(|it| self.read_backup(it).ok())
            .collect();
        sets.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
        Ok(sets)
    }

    /// The newest one of these purposes that can be read. One that is dated later than now
    /// was made while the clock was wrong: it comes after all others.
    ///
    /// # Errors
    /// The folder can't be read.
    pub fn newest(&self, purposes: &[Purpose]) -> Result<Option<Backup>, BackupError> {
        let now = Utc::now();
        let sets = self.readable_backups()?.into_iter();
        let fitting = sets.filter(|set| purposes.contains(&set.manifest.purpose));
        Ok(fitting.max_by(|a, b| {
            let key = |set: &Backup| (set.manifest.taken_at <= now, set.manifest.taken_at);
            key(a).cmp(&key(b))
        }))
    }

    /// The set of this id, or the only one whose id begins so; for `latest` the newest manual
    /// or scheduled one.
    ///
    /// # Errors
    /// There is none, several begin so, or its manifest is not what its seal says.
    pub fn find(&self, id: &str) -> Result<Backup, BackupError> {
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
        let begins = |name: &&String| !id.is_empty() && name.starts_with(id);
        let fitting: Vec<&String> = names.iter().filter(begins).collect();
        match fitting.as_slice() {
            [] => Err(BackupError::NotFound(id.to_owned())),
            [name] => self.read_backup(name),
            _ => Err(BackupError::Ambiguous {
                prefix: id.to_owned(),
                candidates: fitting
                    .into_iter()
                    .map(|it| self.to_candidate(it))
                    .collect(),
            }),
        }
    }

    /// The newest manual or scheduled set. What can't be read and is newer may be one, too:
    /// an older one in its place would be a surprise.
    fn find_latest(&self, names: &[String]) -> Result<Backup, BackupError> {
        let newest = self.newest(&[Purpose::Manual, Purpose::Scheduled])?;
        let after = newest.as_ref().map_or("", |set| set.manifest.id.as_str());
        let now = format_id(Utc::now());
        let newer = names.iter().rev();
        let newer = newer.filter(|name| name.as_str() > after && **name <= now);
        for name in newer {
            self.read_backup(name)?;
        }
        newest.ok_or_else(|| BackupError::OnlySafetyBackups {
            candidates: names.iter().map(|it| self.to_candidate(it)).collect(),
        })
    }

    fn to_candidate(&self, name: &str) -> BackupCandidate {
        let set = self.read_backup(name).ok();
        BackupCandidate {
            id: name.to_owned(),
            summary: set.map(|set| (set.manifest.taken_at, set.manifest.purpose)),
        }
    }

    fn read_backup(&self, name: &str) -> Result<Backup, BackupError> {
        let path = self.directory.join(name);
        let damaged = |found: String| BackupError::Damaged {
            id: name.to_owned(),
            problems: vec![found],
        };
        let (text, seal) = (path.join(MANIFEST_FILE), path.join(MANIFEST_DIGEST_FILE));
        let text = fs::read(&text).map_err(|error| damaged(format!("{MANIFEST_FILE}: {error}")))?;
        let seal =
            fs::read(&seal).map_err(|error| damaged(format!("{MANIFEST_DIGEST_FILE}: {error}")))?;
        if seal != digest::digest_bytes(&text).as_bytes() {
            return Err(damaged(format!(
                "{MANIFEST_FILE} does not match {MANIFEST_DIGEST_FILE}"
            )));
        }
        // Before the rest of it is read, which may be other in another format.
        #[derive(serde::Deserialize)]
        struct FormatHeader {
            format: u32,
        }
        let form: FormatHeader = serde_json::from_slice(&text)
            .map_err(|error| damaged(format!("{MANIFEST_FILE}: {error}")))?;
        if form.format != FORMAT_VERSION {
            return Err(BackupError::UnsupportedFormat {
                id: name.to_owned(),
                found: form.format,
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
        let noted = |name: &str| {
            let text = fs::read(path.join(name)).ok()?;
            serde_json::from_slice(&text).ok()
        };
        Ok(Backup {
            verified_at: noted(VERIFIED_FILE),
            restore_started_at: noted(RESTORING_FILE),
            restored_at: noted(RESTORED_FILE),
            path,
            manifest,
        })
    }

    /// Removes what calls that were killed have left. Answers what that was.
    ///
    /// # Errors
    /// Something can't be removed.
    pub fn remove_leftovers(&self) -> Result<Vec<String>, BackupError> {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return Ok(Vec::new());
        };
        let mut swept = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(PARTIAL_SUFFIX) || name.ends_with(REMOVING_SUFFIX) {
                let path = entry.path();
                fs::remove_dir_all(&path).map_err(BackupError::file("remove", &path))?;
                swept.push(name);
            }
        }
        Ok(swept)
    }

    /// Removes a set. It loses its name first: killed at any moment, the set is whole or it
    /// is none, and [`Store::sweep`] removes what is left of it.
    ///
    /// # Errors
    /// It can't be removed.
    pub fn remove(&self, set: &Backup) -> Result<(), BackupError> {
        let leaving = self
            .directory
            .join(format!("{}{REMOVING_SUFFIX}", set.manifest.id));
        fs::rename(&set.path, &leaving).map_err(BackupError::file("remove", &set.path))?;
        // Before the first file goes: after a power failure half of a set would have its name.
        fsync(&self.directory)?;
        fs::remove_dir_all(&leaving).map_err(BackupError::file("remove", &leaving))
    }
}

/// The id of a set that was begun then.
pub(super) fn format_id(time: DateTime<Utc>) -> String {
    time.format("%Y%m%dT%H%M%S%3fZ").to_string()
}

impl Backup {
    /// What sets are ordered by: when the state was that it holds.
    fn sort_key(&self) -> (DateTime<Utc>, &str) {
        (self.manifest.taken_at, &self.manifest.id)
    }

    /// How long ago the state was that it holds.
    #[must_use]
    pub fn age(&self) -> Duration {
        let age = Utc::now() - self.manifest.taken_at;
        age.to_std().unwrap_or_default()
    }

    /// Compares every file with what the manifest says of it.
    ///
    /// # Errors
    /// [`BackupError::Damaged`] with all that is other.
    pub fn verify_files(&self) -> Result<(), BackupError> {
        let mut found = Vec::new();
        for (name, expected) in &self.manifest.files {
            match digest::digest_file(&self.path.join(name)) {
                Ok(file) if file == *expected => {}
                Ok(file) if file.bytes != expected.bytes => found.push(format!(
                    "{name} has {} bytes instead of {}",
                    file.bytes, expected.bytes
                )),
                Ok(_) => found.push(format!("{name} does not match its digest in the manifest")),
                Err(error) => found.push(format!("{name}: {error}")),
            }
        }
        let there = list_files(&self.path).map_err(BackupError::file("read", &self.path))?;
        let known = |name: &&String| {
            let note = name.strip_suffix(TEMP_SUFFIX).unwrap_or(name);
            self.manifest.files.contains_key(*name)
                || [MANIFEST_FILE, MANIFEST_DIGEST_FILE].contains(&name.as_str())
                || [VERIFIED_FILE, RESTORING_FILE, RESTORED_FILE].contains(&note)
        };
        let strange = there.iter().filter(|name| !known(name));
        found.extend(strange.map(|name| format!("{name} is not in the manifest")));
        if found.is_empty() {
            return Ok(());
        }
        Err(BackupError::Damaged {
            id: self.manifest.id.clone(),
            problems: found,
        })
    }

    /// Notes that it was restored elsewhere, and found to be equal.
    ///
    /// # Errors
    /// That can't be written.
    pub fn mark_verified(&self, at: DateTime<Utc>) -> Result<(), BackupError> {
        self.write_marker(VERIFIED_FILE, at)
    }

    /// Notes that a restore of it begins. It stays as long as that restore may have put its
    /// data in place, and takes no protection from the backup that was restored before.
    ///
    /// # Errors
    /// That can't be written.
    pub fn mark_restoring(&self, at: DateTime<Utc>) -> Result<(), BackupError> {
        self.write_marker(RESTORING_FILE, at)
    }

    /// Notes that the data is restored from it: it stays until the data is restored from
    /// another one.
    ///
    /// # Errors
    /// That can't be written.
    pub fn mark_restored(&self, at: DateTime<Utc>) -> Result<(), BackupError> {
        // In this order: killed in between, it is protected twice.
        self.write_marker(RESTORED_FILE, at)?;
        self.clear_restoring()
    }

    /// Notes that a restore of it has ended: nothing is protected by its beginning any more.
    ///
    /// # Errors
    /// The note can't be removed.
    pub fn clear_restoring(&self) -> Result<(), BackupError> {
        let path = self.path.join(RESTORING_FILE);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(BackupError::file("remove", &path)(error))
            }
            _ => fsync(&self.path),
        }
    }

    /// Writes a note about it, which is no part of what it holds.
    fn write_marker(&self, name: &str, at: DateTime<Utc>) -> Result<(), BackupError> {
        let text = serde_json::to_vec(&at)
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

/// All files below a folder, by their path in it.
fn list_files(folder: &Path) -> io::Result<Vec<String>> {
    fn collect_files(folder: &Path, prefix: &str, files: &mut Vec<String>) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
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
    collect_files(folder, "", &mut files)?;
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

/// Passwords' hashes are in it.
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
