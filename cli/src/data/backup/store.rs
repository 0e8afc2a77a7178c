//! The folder of sets.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::manifest::{FORMAT, Manifest};
use super::partial::{Partial, sync};
use super::{BackupError, Recipients, digest};

/// What a set is named by while it is being made.
const PARTIAL: &str = ".partial";
/// What a set is named by while it is being removed.
const LEAVING: &str = ".leaving";
/// What says what a set is.
const MANIFEST: &str = "manifest.json";
/// The digest of that.
const SEAL: &str = "manifest.blake3";
/// When it was last restored elsewhere and found to be equal.
const PROOF: &str = "proved.json";

/// The folder of an instance's sets.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

/// A complete set.
#[derive(Debug, Clone, PartialEq)]
pub struct Set {
    /// Its folder.
    pub path: PathBuf,
    /// What it is.
    pub manifest: Manifest,
    /// When it was last restored elsewhere and found to be equal.
    pub proved_at: Option<DateTime<Utc>>,
}

/// A set, or what can't be read as one.
#[derive(Debug)]
pub enum Listed {
    /// A set.
    Whole(Box<Set>),
    /// Something wrong, by its name.
    Broken(String, BackupError),
}

impl Store {
    /// The sets in a folder, which need not be there.
    #[must_use]
    pub const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Where they are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Begins a set, whose files are encrypted for the recipients.
    ///
    /// # Errors
    /// The folder can't be made.
    pub(super) fn begin(&self, id: &str, recipients: &Recipients) -> Result<Partial, BackupError> {
        let path = self.folder.join(format!("{id}{PARTIAL}"));
        fs::create_dir_all(&self.folder)
            .and_then(|()| fs::create_dir(&path))
            .map_err(BackupError::file("make", &path))?;
        private(&path)?;
        Ok(Partial::new(path, recipients.clone()))
    }

    /// Ends a set, whose files are on the disk: manifest and seal, before it gets its name.
    ///
    /// # Errors
    /// The disk is full, or the like: the set stays partial.
    pub(super) fn complete(
        &self,
        partial: &Partial,
        manifest: Manifest,
    ) -> Result<Set, BackupError> {
        let text = serde_json::to_vec_pretty(&manifest)
            .map_err(io::Error::other)
            .map_err(BackupError::file("write", partial.path()))?;
        write(&partial.path().join(MANIFEST), &text)?;
        write(&partial.path().join(SEAL), digest::of(&text).as_bytes())?;
        for folder in manifest
            .files
            .keys()
            .filter_map(|name| Path::new(name).parent())
            .collect::<BTreeSet<_>>()
        {
            sync(&partial.path().join(folder))?;
        }
        sync(partial.path())?;
        let path = self.folder.join(&manifest.id);
        fs::rename(partial.path(), &path).map_err(BackupError::file("name", &path))?;
        sync(&self.folder)?;
        Ok(Set {
            path,
            manifest,
            proved_at: None,
        })
    }

    /// The names of all sets, oldest first.
    fn names(&self) -> Result<Vec<String>, BackupError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(BackupError::file("read", &self.folder)(source)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(BackupError::file("read", &self.folder))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_set = !name.ends_with(PARTIAL) && !name.ends_with(LEAVING);
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
    pub fn list(&self) -> Result<Vec<Listed>, BackupError> {
        let read = |name: String| match self.read(&name) {
            Ok(set) => Listed::Whole(Box::new(set)),
            Err(error) => Listed::Broken(name, error),
        };
        Ok(self.names()?.into_iter().map(read).collect())
    }

    /// The newest one that is whole.
    ///
    /// # Errors
    /// The folder can't be read.
    pub fn newest(&self) -> Result<Option<Set>, BackupError> {
        let names = self.names()?;
        Ok(names.iter().rev().find_map(|name| self.read(name).ok()))
    }

    /// The set of this id or of one that begins so; the newest one for `latest`.
    ///
    /// # Errors
    /// There is none, or its manifest is not what its seal says.
    pub fn find(&self, id: &str) -> Result<Set, BackupError> {
        let names = self.names()?;
        if names.is_empty() {
            return Err(BackupError::NoSets(self.folder.clone()));
        }
        let mut fitting = names.iter().filter(|name| {
            *name == id || id == "latest" || (id.len() >= 6 && name.starts_with(id))
        });
        let name = fitting.next_back();
        self.read(name.ok_or_else(|| BackupError::NoSet(id.to_owned()))?)
    }

    fn read(&self, name: &str) -> Result<Set, BackupError> {
        let path = self.folder.join(name);
        let damaged = |found: String| BackupError::Damaged {
            id: name.to_owned(),
            found: vec![found],
        };
        let (text, seal) = (path.join(MANIFEST), path.join(SEAL));
        let text = fs::read(&text).map_err(|error| damaged(format!("{MANIFEST}: {error}")))?;
        let seal = fs::read(&seal).map_err(|error| damaged(format!("{SEAL}: {error}")))?;
        if seal != digest::of(&text).as_bytes() {
            return Err(damaged(format!("{MANIFEST} is not what {SEAL} says")));
        }
        // Before the rest of it is read, which may be other in another format.
        #[derive(serde::Deserialize)]
        struct Form {
            format: u32,
        }
        let form: Form = serde_json::from_slice(&text)
            .map_err(|error| damaged(format!("{MANIFEST}: {error}")))?;
        if form.format != FORMAT {
            return Err(BackupError::Format {
                id: name.to_owned(),
                found: form.format,
            });
        }
        let manifest: Manifest = serde_json::from_slice(&text)
            .map_err(|error| damaged(format!("{MANIFEST}: {error}")))?;
        if manifest.id != name {
            return Err(damaged(format!(
                "it is named `{name}` and is `{}`",
                manifest.id
            )));
        }
        let proved = fs::read(path.join(PROOF)).ok();
        let proved_at = proved.and_then(|text| serde_json::from_slice(&text).ok());
        Ok(Set {
            path,
            manifest,
            proved_at,
        })
    }

    /// Removes what calls that were killed have left. Answers what that was.
    ///
    /// # Errors
    /// Something can't be removed.
    pub fn sweep(&self) -> Result<Vec<String>, BackupError> {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return Ok(Vec::new());
        };
        let mut swept = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(PARTIAL) || name.ends_with(LEAVING) {
                let path = entry.path();
                fs::remove_dir_all(&path).map_err(BackupError::file("remove", &path))?;
                swept.push(name);
            }
        }
        Ok(swept)
    }

    /// Removes a set: at once, as far as anybody sees.
    ///
    /// # Errors
    /// It can't be removed.
    pub fn remove(&self, set: &Set) -> Result<(), BackupError> {
        let leaving = self.folder.join(format!("{}{LEAVING}", set.manifest.id));
        fs::rename(&set.path, &leaving).map_err(BackupError::file("remove", &set.path))?;
        fs::remove_dir_all(&leaving).map_err(BackupError::file("remove", &leaving))
    }
}

impl Set {
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
    pub fn check(&self) -> Result<(), BackupError> {
        let mut found = Vec::new();
        for (name, expected) in &self.manifest.files {
            match digest::read(&self.path.join(name)) {
                Ok(file) if file == *expected => {}
                Ok(file) if file.bytes != expected.bytes => found.push(format!(
                    "{name} has {} bytes and not {}",
                    file.bytes, expected.bytes
                )),
                Ok(_) => found.push(format!("{name} is other than it was")),
                Err(error) => found.push(format!("{name}: {error}")),
            }
        }
        let there = files(&self.path).map_err(BackupError::file("read", &self.path))?;
        let known = |name: &&String| {
            self.manifest.files.contains_key(*name)
                || [MANIFEST, SEAL, PROOF].contains(&name.as_str())
        };
        let strange = there.iter().filter(|name| !known(name));
        found.extend(strange.map(|name| format!("{name} is no part of it")));
        if found.is_empty() {
            return Ok(());
        }
        Err(BackupError::Damaged {
            id: self.manifest.id.clone(),
            found,
        })
    }

    /// Notes that it was restored elsewhere, and found to be equal.
    ///
    /// # Errors
    /// That can't be written.
    pub fn prove(&self, at: DateTime<Utc>) -> Result<(), BackupError> {
        let text = serde_json::to_vec(&at)
            .map_err(io::Error::other)
            .map_err(BackupError::file("write", &self.path))?;
        write(&self.path.join(PROOF), &text)
    }
}

/// All files below a folder, by their path in it.
fn files(folder: &Path) -> io::Result<Vec<String>> {
    fn below(folder: &Path, prefix: &str, files: &mut Vec<String>) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                below(&entry.path(), &format!("{name}/"), files)?;
            } else {
                files.push(name);
            }
        }
        Ok(())
    }
    let mut files = Vec::new();
    below(folder, "", &mut files)?;
    files.sort();
    Ok(files)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    let written = fs::File::create(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(BackupError::file("write", path))
}

/// Passwords' hashes are in it.
fn private(path: &Path) -> Result<(), BackupError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))
            .map_err(BackupError::file("protect", path))?;
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::manifest::{Postgres, Purpose};
    use super::*;

    pub(crate) fn manifest(id: &str, taken_at: &str) -> Manifest {
        Manifest {
            format: FORMAT,
            id: id.into(),
            purpose: Purpose::Asked,
            taken_at: taken_at.parse().unwrap(),
            dm: "0.1.0".into(),
            project: "p".into(),
            instance: "default".into(),
            postgres: Postgres {
                version: "17.12".into(),
                database: "d".into(),
                lsn: "0/1".into(),
                bytes: 7,
                rows: [("orders.orders".to_owned(), 3)].into(),
            },
            rabbitmq: "4.0.5".into(),
            keycloak: "26.4.0".into(),
            dead_letters: BTreeMap::new(),
            pending: 0,
            recipients: Vec::new(),
            seconds: BTreeMap::new(),
            files: BTreeMap::new(),
        }
    }

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("sets"));
        (folder, store)
    }

    fn begun(store: &Store, id: &str) -> Partial {
        store.begin(id, &Recipients::default()).unwrap()
    }

    fn made(store: &Store, id: &str) -> Set {
        let partial = begun(store, id);
        for (name, text) in [
            ("postgres/toc.dat", "a table of contents"),
            ("realm.json", "{}"),
        ] {
            let mut file = partial.create(name).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            partial.add(file).unwrap();
        }
        let mut manifest = manifest(id, "2026-11-26T10:00:00Z");
        manifest.files = partial.files();
        store.complete(&partial, manifest).unwrap()
    }

    #[test]
    fn a_set_that_was_completed_is_found_and_checks() {
        let (_folder, store) = store();
        assert!(matches!(store.find("latest"), Err(BackupError::NoSets(_))));
        let set = made(&store, "20261126T100000Z");
        assert_eq!(store.find("latest").unwrap(), set);
        assert_eq!(store.find("20261126").unwrap(), set);
        assert!(matches!(store.find("2025"), Err(BackupError::NoSet(_))));
        set.check().unwrap();
        set.prove(Utc::now()).unwrap();
        assert!(store.find("latest").unwrap().proved_at.is_some());
        set.check().unwrap();
    }

    #[test]
    fn what_was_never_completed_is_no_set_and_goes() {
        let (_folder, store) = store();
        let partial = begun(&store, "20261126T100000Z");
        let mut file = partial.create("realm.json").unwrap();
        file.write_all(b"{").unwrap();
        assert!(store.list().unwrap().is_empty());
        assert_eq!(store.sweep().unwrap(), ["20261126T100000Z.partial"]);
        assert!(!partial.path().exists());
    }

    #[test]
    fn a_newer_format_is_told_as_that() {
        let (_folder, store) = store();
        let partial = begun(&store, "20261126T100000Z");
        let mut future = manifest("20261126T100000Z", "2026-11-26T10:00:00Z");
        future.format = FORMAT + 1;
        store.complete(&partial, future).unwrap();
        assert!(matches!(
            store.find("latest"),
            Err(BackupError::Format { .. })
        ));
    }

    #[test]
    fn what_is_missing_or_strange_is_told() {
        let (_folder, store) = store();
        let set = made(&store, "20261126T100000Z");
        fs::remove_file(set.path.join("realm.json")).unwrap();
        fs::write(set.path.join("other"), "").unwrap();
        let Err(BackupError::Damaged { found, .. }) = set.check() else {
            panic!("not found");
        };
        assert_eq!(found.len(), 2, "{found:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whichever bit of whichever file it is.
        #[test]
        fn one_flipped_bit_anywhere_is_found(file: prop::sample::Index, place: prop::sample::Index, bit in 0_u8..8) {
            let (_folder, store) = store();
            let set = made(&store, "20261126T100000Z");
            let names = files(&set.path).unwrap();
            let path = set.path.join(file.get(&names));
            let mut bytes = fs::read(&path).unwrap();
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
            fs::write(&path, bytes).unwrap();
            let found = store.find("latest").and_then(|set| set.check());
            prop_assert!(matches!(found, Err(BackupError::Damaged { .. })), "{:?}", found);
        }
    }
}
