//! The files of a backup, encrypted if it has recipients. The format is that of age
//! (<https://age-encryption.org/v1>), so that `age --decrypt` also decrypts each of them.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Cursor, Read, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use age::stream::StreamWriter;
use age::x25519::Recipient;
use age::{Decryptor, Encryptor, Identity, IdentityFile};

use super::digest::DigestWriter;
use super::{Backup, BackupError, manifest};

/// The number of bytes of a file that are written at a time.
const BUFFER_BYTES: usize = 64 << 10;
/// The suffix of the name of an encrypted file.
const ENCRYPTED_SUFFIX: &str = ".age";

/// The age recipients that the files of a backup are encrypted for. Without recipients, the files
/// are not encrypted.
#[derive(Clone, Default)]
pub struct Recipients(Vec<Recipient>);

impl Recipients {
    /// Parses recipients: `age1…`.
    ///
    /// # Errors
    /// Returns [`BackupError::InvalidRecipient`] for a text that is not a recipient.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, BackupError> {
        let parse = |text: &str| {
            text.parse()
                .map_err(|reason: &str| BackupError::InvalidRecipient {
                    text: text.to_owned(),
                    reason: reason.to_owned(),
                })
        };
        texts
            .into_iter()
            .map(parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Returns the recipients as strings.
    pub(super) fn to_strings(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }

    /// Creates a file of this name, with a suffix if it is encrypted.
    pub(super) fn create_file(&self, path: PathBuf) -> Result<BackupFileWriter, BackupError> {
        let mut path = path.into_os_string();
        if !self.0.is_empty() {
            path.push(ENCRYPTED_SUFFIX);
        }
        let path = PathBuf::from(path);
        let created = File::create(&path).and_then(|file| {
            let handle = file.try_clone()?;
            Ok((handle, self.writer(DigestWriter::new(file))?))
        });
        let (file, writer) = created.map_err(BackupError::file("write", &path))?;
        Ok(BackupFileWriter { path, file, writer })
    }

    fn writer(&self, file: DigestWriter<File>) -> io::Result<FileWriter> {
        let writer = BufWriter::with_capacity(BUFFER_BYTES, file);
        if self.0.is_empty() {
            return Ok(FileWriter::Plain(writer));
        }
        let recipients = self.0.iter();
        let recipients = recipients.map(|recipient| recipient as &dyn age::Recipient);
        let encryptor = Encryptor::with_recipients(recipients).map_err(io::Error::other)?;
        let encrypted = encryptor.wrap_output(writer)?;
        Ok(FileWriter::Encrypted(Box::new(encrypted)))
    }
}

type PlainWriter = BufWriter<DigestWriter<File>>;

enum FileWriter {
    Plain(PlainWriter),
    Encrypted(Box<StreamWriter<PlainWriter>>),
}

/// A writer of a file of a backup.
pub(super) struct BackupFileWriter {
    path: PathBuf,
    file: File,
    writer: FileWriter,
}

impl BackupFileWriter {
    /// Syncs the bytes that were written so far, so that less is left to sync at the end.
    pub(super) fn sync_data(&self) -> Result<(), BackupError> {
        self.file
            .sync_data()
            .map_err(BackupError::file("write", &self.path))
    }

    /// Writes the remaining bytes and syncs the file, which is incomplete otherwise.
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
        let digest = finished.map_err(BackupError::file("write", &self.path))?;
        Ok((self.path, digest))
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

/// The age identities that decrypt backups.
#[derive(Default)]
pub struct Identities(Vec<Box<dyn Identity + Send + Sync>>);

impl Identities {
    /// Loads the identities of a file that `age-keygen` wrote.
    ///
    /// # Errors
    /// Returns [`BackupError::InvalidIdentity`] if the file cannot be read or has no identity.
    pub fn load(path: &Path) -> Result<Self, BackupError> {
        let failed = |reason: String| BackupError::InvalidIdentity {
            path: path.to_owned(),
            reason,
        };
        let file = File::open(path).map_err(|error| failed(error.to_string()))?;
        let file = IdentityFile::from_buffer(BufReader::new(file));
        let file = file.map_err(|error| failed(error.to_string()))?;
        let identities = file.into_identities();
        let identities = identities.map_err(|error| failed(error.to_string()))?;
        if identities.is_empty() {
            return Err(failed("the file has no key".to_owned()));
        }
        Ok(Self(identities))
    }
}

/// A backup with the identities that decrypt it.
pub struct OpenBackup<'a> {
    /// The backup.
    pub backup: &'a Backup,
    identities: &'a Identities,
}

/// The content of a file of a backup, decrypted.
pub(super) struct FileContent {
    /// The size of the content, in bytes.
    pub(super) bytes: u64,
    reader: Box<dyn Read + Send>,
}

impl FileContent {
    /// Returns content from memory.
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Self {
        Self {
            bytes: bytes.len() as u64,
            reader: Box::new(Cursor::new(bytes)),
        }
    }
}

impl Read for FileContent {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

impl Backup {
    /// Opens the backup with identities.
    ///
    /// # Errors
    /// Returns [`BackupError::DecryptionFailed`] if no identity decrypts the backup.
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
    /// Opens the files of a directory of the backup, by their path in that directory.
    pub(super) fn read_directory(
        &self,
        directory: &str,
    ) -> Result<Vec<(String, FileContent)>, BackupError> {
        let names = self.backup.manifest.files.keys();
        let names = names.filter_map(|name| name.strip_prefix(directory)?.strip_prefix('/'));
        names
            .map(|name| name.strip_suffix(ENCRYPTED_SUFFIX).unwrap_or(name))
            .map(|name| {
                Ok((
                    name.to_owned(),
                    self.open_file(&format!("{directory}/{name}"))?,
                ))
            })
            .collect()
    }

    /// Opens a file of the backup.
    pub(super) fn open_file(&self, name: &str) -> Result<FileContent, BackupError> {
        let is_encrypted = !self.backup.manifest.recipients.is_empty();
        let suffix = if is_encrypted { ENCRYPTED_SUFFIX } else { "" };
        let path = self.backup.path.join(format!("{name}{suffix}"));
        let read = || BackupError::file("read", path.clone());
        let file = File::open(&path).map_err(read())?;
        if !is_encrypted {
            return Ok(FileContent {
                bytes: file.metadata().map_err(read())?.len(),
                reader: Box::new(file),
            });
        }
        let identities = self.identities.0.iter();
        let identities = identities.map(|identity| &**identity as &dyn Identity);
        let decrypted = Decryptor::new_buffered(BufReader::new(file))
            .and_then(|decryptor| decryptor.decrypt(identities));
        let mut reader = decrypted.map_err(|error| BackupError::DecryptionFailed {
            id: self.backup.manifest.id.clone(),
            reason: error.to_string(),
        })?;
        let size = reader.seek(SeekFrom::End(0)).and_then(|bytes| {
            reader.rewind()?;
            Ok(bytes)
        });
        Ok(FileContent {
            bytes: size.map_err(read())?,
            reader: Box::new(reader),
        })
    }
}

#[cfg(test)]
mod tests {
    use age::secrecy::ExposeSecret as _;

    use super::*;
    use crate::examples::manifest as example_manifest;

    #[test]
    fn encrypted_file_is_read_with_its_identity_only() {
        let directory = tempfile::tempdir().unwrap();
        let key = age::x25519::Identity::generate();
        let recipients = Recipients::parse([key.to_public().to_string().as_str()]).unwrap();
        let text = vec![7; 200_000];
        let mut file = recipients
            .create_file(directory.path().join("file"))
            .unwrap();
        file.write_all(&text).unwrap();
        file.finish().unwrap();
        let stored = std::fs::read(directory.path().join("file.age")).unwrap();
        assert!(stored.starts_with(b"age-encryption.org/v1"));

        let path = directory.path().join("key.txt");
        std::fs::write(&path, key.to_string().expose_secret()).unwrap();
        let identities = Identities::load(&path).unwrap();
        let mut manifest = example_manifest("id", "2026-11-26T10:00:00Z");
        manifest.recipients = recipients.to_strings();
        let backup = Backup {
            path: directory.path().to_owned(),
            manifest,
            verified_at: None,
            restore_started_at: None,
            restored_at: None,
        };
        let opened = OpenBackup {
            backup: &backup,
            identities: &identities,
        };
        let mut content = opened.open_file("file").unwrap();
        assert_eq!(content.bytes, 200_000);
        let mut decrypted = Vec::new();
        content.read_to_end(&mut decrypted).unwrap();
        assert_eq!(decrypted, text);

        let opened = OpenBackup {
            backup: &backup,
            identities: &Identities::default(),
        };
        let refused = opened.open_file("file").map(|_| ());
        assert!(matches!(refused, Err(BackupError::DecryptionFailed { .. })));
    }

    #[test]
    fn invalid_identity_file_and_recipient_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.txt");
        std::fs::write(&path, "# nothing\n").unwrap();
        assert!(Identities::load(&path).is_err());
        let recipients = Recipients::parse(["age1nobody"]).map(|_| ());
        assert!(matches!(
            recipients,
            Err(BackupError::InvalidRecipient { .. })
        ));
    }
}
