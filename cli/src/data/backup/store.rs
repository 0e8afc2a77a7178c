//! The folder of sets.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use sha2::{Digest as _, Sha256};

use super::BackupError;
use super::manifest::{FORMAT, File, Manifest};

/// What a set is named by while it is being made.
const PARTIAL: &str = ".partial";
/// What a set is named by while it is being removed.
const LEAVING: &str = ".leaving";
/// What says what a set is.
const MANIFEST: &str = "manifest.json";
/// The digest of that.
const SEAL: &str = "manifest.sha256";
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

/// Which sets stay.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// The newest one of each of so many days.
    pub days: usize,
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

    /// Begins a set.
    ///
    /// # Errors
    /// The folder can't be made.
    pub(super) fn begin(&self, id: &str) -> Result<PathBuf, BackupError> {
        let path = self.folder.join(format!("{id}{PARTIAL}"));
        fs::create_dir_all(&self.folder)
            .and_then(|()| fs::create_dir(&path))
            .map_err(BackupError::file("make", &path))?;
        private(&path)?;
        Ok(path)
    }

    /// Ends a set: manifest, seal, and all of it on the disk before it gets its name.
    ///
    /// # Errors
    /// The disk is full, or the like: the set stays partial.
    pub(super) fn complete(&self, partial: &Path, manifest: &Manifest) -> Result<Set, BackupError> {
        let text = serde_json::to_vec_pretty(manifest)
            .map_err(io::Error::other)
            .map_err(BackupError::file("write", partial))?;
        for file in manifest.files.keys() {
            sync(&partial.join(file))?;
        }
        write(&partial.join(MANIFEST), &text)?;
        write(&partial.join(SEAL), hex(&Sha256::digest(&text)).as_bytes())?;
        sync(partial)?;
        let path = self.folder.join(&manifest.id);
        fs::rename(partial, &path).map_err(BackupError::file("name", &path))?;
        sync(&self.folder)?;
        Ok(Set {
            path,
            manifest: manifest.clone(),
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
        if seal != hex(&Sha256::digest(&text)).as_bytes() {
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

impl Keep {
    /// Those of some sets that may go: all but the newest of each of the last days on which
    /// there is one, and the newest that has proved itself.
    #[must_use]
    pub fn leave(self, sets: &[Set]) -> Vec<Set> {
        let mut newest: BTreeMap<NaiveDate, &Set> = BTreeMap::new();
        for set in sets {
            let of_day = newest
                .entry(set.manifest.taken_at.date_naive())
                .or_insert(set);
            if of_day.manifest.taken_at < set.manifest.taken_at {
                *of_day = set;
            }
        }
        let mut kept: BTreeSet<&str> = newest
            .values()
            .rev()
            .take(self.days.max(1))
            .map(|set| set.manifest.id.as_str())
            .collect();
        let proved = sets.iter().filter(|set| set.proved_at.is_some());
        kept.extend(
            proved
                .max_by_key(|set| set.manifest.taken_at)
                .map(|set| set.manifest.id.as_str()),
        );
        sets.iter()
            .filter(|set| !kept.contains(set.manifest.id.as_str()))
            .cloned()
            .collect()
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
            match digest(&self.path.join(name)) {
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

/// The digests of all files below a folder.
pub(super) fn digests(folder: &Path) -> Result<BTreeMap<String, File>, BackupError> {
    let names = files(folder).map_err(BackupError::file("read", folder))?;
    let one = |name: String| {
        let path = folder.join(&name);
        let file = digest(&path).map_err(BackupError::file("read", &path))?;
        Ok((name, file))
    };
    names.into_iter().map(one).collect()
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

fn digest(path: &Path) -> io::Result<File> {
    let mut file = fs::File::open(path)?;
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        bytes += read as u64;
    }
    Ok(File {
        bytes,
        sha256: hex(&hash.finalize()),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    let written = fs::File::create(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(BackupError::file("write", path))
}

fn sync(path: &Path) -> Result<(), BackupError> {
    fs::File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(BackupError::file("write", path))
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
                rows: [("orders.orders".to_owned(), 3)].into(),
            },
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

    fn made(store: &Store, id: &str) -> Set {
        let partial = store.begin(id).unwrap();
        fs::create_dir(partial.join("postgres")).unwrap();
        fs::write(partial.join("postgres/toc.dat"), "a table of contents").unwrap();
        fs::write(partial.join("realm.json"), "{}").unwrap();
        let mut manifest = manifest(id, "2026-11-26T10:00:00Z");
        manifest.files = digests(&partial).unwrap();
        store.complete(&partial, &manifest).unwrap()
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
        let partial = store.begin("20261126T100000Z").unwrap();
        fs::write(partial.join("realm.json"), "{").unwrap();
        assert!(store.list().unwrap().is_empty());
        assert_eq!(store.sweep().unwrap(), ["20261126T100000Z.partial"]);
        assert!(!partial.exists());
    }

    #[test]
    fn a_newer_format_is_told_as_that() {
        let (_folder, store) = store();
        let partial = store.begin("20261126T100000Z").unwrap();
        let mut future = manifest("20261126T100000Z", "2026-11-26T10:00:00Z");
        future.format = FORMAT + 1;
        store.complete(&partial, &future).unwrap();
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

        /// However many there are, and of whichever days.
        #[test]
        fn the_newest_and_the_newest_proved_stay(
            days in prop::collection::vec((0_i64..40, 0_i64..24, any::<bool>()), 1..30),
            keep in 1_usize..9,
        ) {
            let sets: Vec<Set> = days
                .iter()
                .enumerate()
                .map(|(at, (day, hour, proved))| {
                    let start: DateTime<Utc> = "2026-10-01T00:00:00Z".parse().unwrap();
                    let taken = start + chrono::TimeDelta::days(*day) + chrono::TimeDelta::hours(*hour)
                        + chrono::TimeDelta::seconds(i64::try_from(at).unwrap());
                    let mut manifest = manifest(&format!("set{at}"), "2026-11-26T10:00:00Z");
                    manifest.taken_at = taken;
                    Set { path: PathBuf::new(), manifest, proved_at: proved.then_some(taken) }
                })
                .collect();
            let leave = Keep { days: keep }.leave(&sets);
            let stay: Vec<&Set> = sets.iter().filter(|set| !leave.contains(set)).collect();
            let newest = sets.iter().max_by_key(|set| set.manifest.taken_at).unwrap();
            prop_assert!(stay.contains(&newest));
            if let Some(proved) = sets.iter().filter(|it| it.proved_at.is_some()).max_by_key(|it| it.manifest.taken_at) {
                prop_assert!(stay.contains(&proved));
            }
            prop_assert!(stay.len() <= keep + 1);
            let all: BTreeSet<_> = sets.iter().map(|set| set.manifest.taken_at.date_naive()).collect();
            prop_assert!(stay.len() >= keep.min(all.len()));
        }
    }
}
