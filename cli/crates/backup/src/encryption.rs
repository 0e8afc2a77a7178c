//! The files of a set, encrypted where it has recipients. The form is that of age
//! (<https://age-encryption.org/v1>), so that `age --decrypt` opens each of them, too.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Cursor, Read, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use age::stream::StreamWriter;
use age::x25519::Recipient;
use age::{Decryptor, Encryptor, Identity, IdentityFile};

use super::digest::DigestWriter;
use super::{Backup, BackupError, manifest};

/// How much of a file is written at a time.
const BUFFER_BYTES: usize = 64 << 10;
/// Ends the name of a file that is encrypted.
const ENCRYPTED_SUFFIX: &str = ".age";

/// To whom the files of a set are encrypted. Where to nobody, they are plain.
#[derive(Clone, Default)]
pub struct Recipients(Vec<Recipient>);

impl Recipients {
    /// The recipients of these texts: `age1…`.
    ///
    /// # Errors
    /// [`BackupError::Recipient`] for a text that is none.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, BackupError> {
        let one = |text: &str| {
            text.parse()
                .map_err(|reason: &str| BackupError::InvalidRecipient {
                    text: text.to_owned(),
                    reason: reason.to_owned(),
                })
        };
        texts
            .into_iter()
            .map(one)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Each as a text.
    pub(super) fn to_strings(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }

    /// A new file, under this name or what it is called where it is encrypted.
    pub(super) fn create_file(&self, path: PathBuf) -> Result<BackupFileWriter, BackupError> {
        let mut path = path.into_os_string();
        if !self.0.is_empty() {
            path.push(ENCRYPTED_SUFFIX);
        }
        let path = PathBuf::from(path);
        let created = File::create(&path).and_then(|file| {
            let disk = file.try_clone()?;
            Ok((disk, self.writer(DigestWriter::new(file))?))
        });
        let (disk, writer) = created.map_err(BackupError::file("write", &path))?;
        Ok(BackupFileWriter {
            path,
            file: disk,
            writer,
        })
    }

    fn writer(&self, file: DigestWriter<File>) -> io::Result<FileWriter> {
        let to = BufWriter::with_capacity(BUFFER_BYTES, file);
        if self.0.is_empty() {
            return Ok(FileWriter::Plain(to));
        }
        let recipients = self.0.iter().map(|it| it as &dyn age::Recipient);
        let encryptor = Encryptor::with_recipients(recipients).map_err(io::Error::other)?;
        Ok(FileWriter::Encrypted(Box::new(encryptor.wrap_output(to)?)))
    }
}

type PlainWriter = BufWriter<DigestWriter<File>>;

enum FileWriter {
    Plain(PlainWriter),
    Encrypted(Box<StreamWriter<PlainWriter>>),
}

/// A file of a set that is being written.
pub(super) struct BackupFileWriter {
    path: PathBuf,
    file: File,
    writer: FileWriter,
}

impl BackupFileWriter {
    /// Puts on the disk what was written up to here, so that less is left to be waited for
    /// in the end.
    pub(super) fn sync_data(&self) -> Result<(), BackupError> {
        self.file
            .sync_data()
            .map_err(BackupError::file("write", &self.path))
    }

    /// Writes what is left, and puts it on the disk. Without it the file is not whole.
    pub(super) fn finish(self) -> Result<(PathBuf, manifest::FileDigest), BackupError> {
        let plain = match self.writer {
            FileWriter::Plain(writer) => Ok(writer),
            FileWriter::Encrypted(writer) => writer.finish(),
        };
        let finished = plain.and_then(|mut writer| {
            writer.flush()?;
            self.file.sync_all()?;
            Ok(writer.get_ref().file_digest())
        });
        let file = finished.map_err(BackupError::file("write", &self.path))?;
        Ok((self.path, file))
    }
}

impl Write for BackupFileWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.writer {
            FileWriter::Plain(writer) => writer.write(bytes),
            FileWriter::Encrypted(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.writer {
            FileWriter::Plain(writer) => writer.flush(),
            FileWriter::Encrypted(writer) => writer.flush(),
        }
    }
}

/// The keys to encrypted sets.
#[derive(Default)]
pub struct Identities(Vec<Box<dyn Identity + Send + Sync>>);

impl Identities {
    /// The keys of a file, as `age-keygen` writes it.
    ///
    /// # Errors
    /// [`BackupError::Identity`] where it can't be read, or has none.
    pub fn load(path: &Path) -> Result<Self, BackupError> {
        let failed = |reason: String| BackupError::InvalidIdentity {
            path: path.to_owned(),
            reason,
        };
        let file = File::open(path).map_err(|error| failed(error.to_string()))?;
        let file = IdentityFile::from_buffer(BufReader::new(file));
        let keys = file.map_err(|error| failed(error.to_string()))?;
        let keys = keys.into_identities();
        let keys = keys.map_err(|error| failed(error.to_string()))?;
        if keys.is_empty() {
            return Err(failed("the file has no key".to_owned()));
        }
        Ok(Self(keys))
    }
}

/// A set that can be read.
pub struct OpenBackup<'a> {
    /// The set.
    pub backup: &'a Backup,
    identities: &'a Identities,
}

/// A file of a set that is being read.
pub(super) struct FileContent {
    /// How long it is, in bytes.
    pub(super) bytes: u64,
    reader: Box<dyn Read + Send>,
}

impl FileContent {
    /// What is in memory already.
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Self {
        Self {
            bytes: bytes.len() as u64,
            reader: Box::new(Cursor::new(bytes)),
        }
    }
}

impl Read for FileContent {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.reader.read(into)
    }
}

impl Backup {
    /// The set with the keys to it.
    ///
    /// # Errors
    /// [`BackupError::Locked`] where none of them fits.
    pub fn open<'a>(&'a self, identities: &'a Identities) -> Result<OpenBackup<'a>, BackupError> {
        let opened = OpenBackup {
            backup: self,
            identities,
        };
        if !self.manifest.recipients.is_empty() {
            // All files have the same recipients.
            opened.open_file("broker/definitions.json")?;
        }
        Ok(opened)
    }
}

impl OpenBackup<'_> {
    /// The files below a folder of the set, by their path in that.
    pub(super) fn read_directory(
        &self,
        folder: &str,
    ) -> Result<Vec<(String, FileContent)>, BackupError> {
        let names = self.backup.manifest.files.keys();
        let inner = names.filter_map(|name| name.strip_prefix(folder)?.strip_prefix('/'));
        inner
            .map(|name| name.strip_suffix(ENCRYPTED_SUFFIX).unwrap_or(name))
            .map(|name| {
                Ok((
                    name.to_owned(),
                    self.open_file(&format!("{folder}/{name}"))?,
                ))
            })
            .collect()
    }

    /// A file of the set.
    pub(super) fn open_file(&self, name: &str) -> Result<FileContent, BackupError> {
        let is_sealed = !self.backup.manifest.recipients.is_empty();
        let suffix = if is_sealed { ENCRYPTED_SUFFIX } else { "" };
        let path = self.backup.path.join(format!("{name}{suffix}"));
        let read = || BackupError::file("read", path.clone());
        let file = File::open(&path).map_err(read())?;
        if !is_sealed {
            return Ok(FileContent {
                bytes: file.metadata().map_err(read())?.len(),
                reader: Box::new(file),
            });
        }
        let keys = self.identities.0.iter().map(|key| &**key as &dyn Identity);
        let opened = Decryptor::new_buffered(BufReader::new(file)).and_then(|it| it.decrypt(keys));
        let mut reader = opened.map_err(|error| BackupError::DecryptionFailed {
            id: self.backup.manifest.id.clone(),
            reason: error.to_string(),
        })?;
        let measured = reader.seek(SeekFrom::End(0)).and_then(|bytes| {
            reader.rewind()?;
            Ok(bytes)
        });
        Ok(FileContent {
            bytes: measured.map_err(read())?,
            reader: Box::new(reader),
        })
    }
}

#[cfg(test)]
mod tests {
    use age::secrecy::ExposeSecret as _;

    use super::*;
    use crate::examples::manifest as plain;

    #[test]
    fn what_is_encrypted_comes_back_to_whoever_has_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let key = age::x25519::Identity::generate();
        let recipients = Recipients::parse([key.to_public().to_string().as_str()]).unwrap();
        let text = vec![7; 200_000];
        let mut sealed = recipients.create_file(folder.path().join("file")).unwrap();
        sealed.write_all(&text).unwrap();
        sealed.finish().unwrap();
        let stored = std::fs::read(folder.path().join("file.age")).unwrap();
        assert!(stored.starts_with(b"age-encryption.org/v1"));

        let path = folder.path().join("key.txt");
        std::fs::write(&path, key.to_string().expose_secret()).unwrap();
        let keys = Identities::load(&path).unwrap();
        let mut manifest = plain("it", "2026-11-26T10:00:00Z");
        manifest.recipients = recipients.to_strings();
        let set = Backup {
            path: folder.path().to_owned(),
            manifest,
            verified_at: None,
            restore_started_at: None,
            restored_at: None,
        };
        let opened = OpenBackup {
            backup: &set,
            identities: &keys,
        };
        let mut content = opened.open_file("file").unwrap();
        assert_eq!(content.bytes, 200_000);
        let mut back = Vec::new();
        content.read_to_end(&mut back).unwrap();
        assert_eq!(back, text);

        let opened = OpenBackup {
            backup: &set,
            identities: &Identities::default(),
        };
        let locked = opened.open_file("file").map(|_| ());
        assert!(matches!(locked, Err(BackupError::DecryptionFailed { .. })));
    }

    #[test]
    fn what_is_no_key_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.txt");
        std::fs::write(&path, "# nothing\n").unwrap();
        assert!(Identities::load(&path).is_err());
        let recipients = Recipients::parse(["age1nobody"]).map(|_| ());
        assert!(matches!(
            recipients,
            Err(BackupError::InvalidRecipient { .. })
        ));
    }
}
