//! The table of contents of an archive of pg_dump (`--format=custom`): each object as an entry with
//! its name, schema and owner, so that nothing has to be parsed from SQL.
//!
//! The format is that of PostgreSQL's `pg_backup_archiver.c` (`ReadHead`, `ReadToc`).

use thiserror::Error;

/// An object in an archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ArchiveEntry {
    /// The kind of the object, e.g. `TABLE`.
    pub(super) kind: String,
    /// The name that pg_dump gives the object within its kind.
    pub(super) name: String,
    /// The schema of the object, if it is in a schema.
    pub(super) schema: Option<String>,
    /// The owner of the object.
    pub(super) owner: String,
    /// The statement that creates the object.
    pub(super) create_statement: String,
    /// The statement that drops the object.
    pub(super) drop_statement: String,
    /// The tablespace, or an empty string.
    pub(super) tablespace: String,
    /// The table access method, or an empty string.
    pub(super) access_method: String,
}

/// An archive cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DumpArchiveError {
    /// The output is not an archive.
    #[error("the output of pg_dump is not an archive")]
    NotAnArchive,
    /// The version of the archive is not supported.
    #[error("the output of pg_dump has archive version {0}.{1}, and dm reads 1.12 to 1.16")]
    UnsupportedVersion(u8, u8),
    /// The archive is truncated or damaged.
    #[error("the output of pg_dump ends at byte {0}, in the middle of an object")]
    Truncated(usize),
    /// A string in the archive is not UTF-8.
    #[error("the output of pg_dump has a text that is not UTF-8, at byte {0}")]
    InvalidUtf8(usize),
}

/// The supported minor versions of archives: those of PostgreSQL 9.0 to 18.
const SUPPORTED_MINOR_VERSIONS: std::ops::RangeInclusive<u8> = 12..=16;

/// Reads the objects of an archive, in the order of pg_dump.
pub(super) fn read_entries(bytes: &[u8]) -> Result<Vec<ArchiveEntry>, DumpArchiveError> {
    let mut archive = ArchiveReader {
        bytes,
        position: 0,
        integer_size: 4,
    };
    if archive.read_bytes(5).ok() != Some(b"PGDMP") {
        return Err(DumpArchiveError::NotAnArchive);
    }
    let (major, minor) = (archive.read_byte()?, archive.read_byte()?);
    if major != 1 || !SUPPORTED_MINOR_VERSIONS.contains(&minor) {
        return Err(DumpArchiveError::UnsupportedVersion(major, minor));
    }
    archive.read_byte()?;
    archive.integer_size = archive.read_byte()?.into();
    let offset: usize = archive.read_byte()?.into();
    // The format, and how data is compressed.
    archive.read_byte()?;
    if minor >= 15 {
        archive.read_byte()?;
    } else {
        archive.read_integer()?;
    }
    // The time of the dump.
    for _ in 0..7 {
        archive.read_integer()?;
    }
    // The database, and the versions of the server and of pg_dump.
    for _ in 0..3 {
        archive.read_string()?;
    }
    let count = archive.read_integer()?;
    let mut entries = Vec::new();
    for _ in 0..count {
        entries.push(archive.read_entry(minor, offset)?);
    }
    Ok(entries)
}

struct ArchiveReader<'a> {
    bytes: &'a [u8],
    position: usize,
    /// The number of bytes of an integer.
    integer_size: usize,
}

impl<'a> ArchiveReader<'a> {
    fn read_bytes(&mut self, count: usize) -> Result<&'a [u8], DumpArchiveError> {
        let end = self.position.checked_add(count);
        let bytes = end.and_then(|end| self.bytes.get(self.position..end));
        let bytes = bytes.ok_or(DumpArchiveError::Truncated(self.position))?;
        self.position += count;
        Ok(bytes)
    }

    fn read_byte(&mut self) -> Result<u8, DumpArchiveError> {
        Ok(self.read_bytes(1)?[0])
    }

    /// Reads an integer: a sign, and then its bytes, lowest first.
    fn read_integer(&mut self) -> Result<i64, DumpArchiveError> {
        let negative = self.read_byte()? != 0;
        let position = self.position;
        let bytes = self.read_bytes(self.integer_size)?;
        let mut value: i64 = 0;
        for byte in bytes.iter().rev() {
            value = value
                .checked_mul(256)
                .and_then(|value| value.checked_add((*byte).into()))
                .ok_or(DumpArchiveError::Truncated(position))?;
        }
        Ok(if negative { -value } else { value })
    }

    /// Reads a string. Returns `None` for a null string, which differs from an empty one.
    fn read_string(&mut self) -> Result<Option<String>, DumpArchiveError> {
        let position = self.position;
        let Ok(length) = usize::try_from(self.read_integer()?) else {
            return Ok(None);
        };
        let text = std::str::from_utf8(self.read_bytes(length)?);
        text.map(|text| Some(text.to_owned()))
            .map_err(|_| DumpArchiveError::InvalidUtf8(position))
    }

    fn read_entry(&mut self, minor: u8, offset: usize) -> Result<ArchiveEntry, DumpArchiveError> {
        // The number of the entry, whether it has data, and its catalogue ids.
        self.read_integer()?;
        self.read_integer()?;
        self.read_string()?;
        self.read_string()?;
        let name = self.read_string()?.unwrap_or_default();
        let kind = self.read_string()?.unwrap_or_default();
        // The section.
        self.read_integer()?;
        let create_statement = self.read_string()?.unwrap_or_default();
        let drop_statement = self.read_string()?.unwrap_or_default();
        // The COPY statement.
        self.read_string()?;
        let schema = self.read_string()?.filter(|schema| !schema.is_empty());
        let tablespace = self.read_string()?.unwrap_or_default();
        let access_method = if minor >= 14 {
            self.read_string()?.unwrap_or_default()
        } else {
            String::new()
        };
        if minor >= 16 {
            self.read_integer()?;
        }
        let owner = self.read_string()?.unwrap_or_default();
        // Whether the table has OIDs, and the dependencies.
        self.read_string()?;
        while self.read_string()?.is_some() {}
        // The offset of the data.
        self.read_bytes(1 + offset)?;
        Ok(ArchiveEntry {
            kind,
            name,
            schema,
            owner,
            create_statement,
            drop_statement,
            tablespace,
            access_method,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn write_integer(bytes: &mut Vec<u8>, value: i32) {
        bytes.push(u8::from(value < 0));
        bytes.extend(value.unsigned_abs().to_le_bytes());
    }

    fn write_string(bytes: &mut Vec<u8>, text: Option<&str>) {
        let Some(text) = text else {
            return write_integer(bytes, -1);
        };
        write_integer(bytes, i32::try_from(text.len()).unwrap());
        bytes.extend(text.as_bytes());
    }

    /// Returns an archive in the format of pg_dump 17.
    pub(crate) fn write_archive(entries: &[ArchiveEntry]) -> Vec<u8> {
        let mut bytes = b"PGDMP".to_vec();
        bytes.extend([1, 16, 0, 4, 8, 1, 1]);
        for value in [1, 2, 3, 4, 5, 126, 0] {
            write_integer(&mut bytes, value);
        }
        for string in ["dunder", "17.6", "17.6"] {
            write_string(&mut bytes, Some(string));
        }
        write_integer(&mut bytes, i32::try_from(entries.len()).unwrap());
        for (id, entry) in (1..).zip(entries) {
            write_integer(&mut bytes, id);
            write_integer(&mut bytes, 0);
            for string in ["1259", "16400", &entry.name, &entry.kind] {
                write_string(&mut bytes, Some(string));
            }
            write_integer(&mut bytes, 2);
            write_string(&mut bytes, Some(&entry.create_statement));
            write_string(&mut bytes, Some(&entry.drop_statement));
            write_string(&mut bytes, None);
            write_string(&mut bytes, entry.schema.as_deref());
            write_string(&mut bytes, Some(&entry.tablespace));
            write_string(&mut bytes, Some(&entry.access_method));
            write_integer(&mut bytes, 114);
            for string in [Some(entry.owner.as_str()), Some("false"), Some("7"), None] {
                write_string(&mut bytes, string);
            }
            bytes.extend([3, 0, 0, 0, 0, 0, 0, 0, 0]);
        }
        bytes
    }

    fn entries() -> impl Strategy<Value = Vec<ArchiveEntry>> {
        let entry = (
            "[A-Z ]{1,12}",
            "\\PC{0,12}",
            proptest::option::of("\\PC{1,6}"),
            "\\PC{0,40}",
        );
        let entry = entry.prop_map(|(kind, name, schema, create)| ArchiveEntry {
            kind,
            name,
            schema,
            create_statement: create,
            owner: "o".into(),
            ..ArchiveEntry::default()
        });
        proptest::collection::vec(entry, 0..6)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// For any names and texts.
        #[test]
        fn written_entries_are_read_back(entries in entries()) {
            prop_assert_eq!(read_entries(&write_archive(&entries)), Ok(entries));
        }

        /// A damaged archive is an error or another archive, without a panic or an excessive
        /// allocation.
        #[test]
        fn damaged_archive_is_refused_or_read(
            entries in entries(),
            changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6),
            cut: proptest::sample::Index,
        ) {
            let mut bytes = write_archive(&entries);
            for (position, byte) in changes {
                let position = position.index(bytes.len());
                bytes[position] = byte;
            }
            let read_back = read_entries(&bytes);
            if let Ok(read_back) = read_back {
                let total: usize = read_back.iter().map(|entry| entry.create_statement.len() + entry.name.len()).sum();
                prop_assert!(total <= bytes.len());
            }
            bytes.truncate(cut.index(bytes.len()));
            let _ = read_entries(&bytes);
        }
    }

    #[test]
    fn invalid_unsupported_and_truncated_archives_are_refused() {
        assert_eq!(read_entries(b""), Err(DumpArchiveError::NotAnArchive));
        assert_eq!(
            read_entries(b"--\n-- PostgreSQL"),
            Err(DumpArchiveError::NotAnArchive)
        );
        let mut newer = write_archive(&[]);
        newer[6] = 17;
        assert_eq!(
            read_entries(&newer),
            Err(DumpArchiveError::UnsupportedVersion(1, 17))
        );
        let complete = write_archive(&[ArchiveEntry::default()]);
        let truncated = read_entries(&complete[..complete.len() - 1]);
        assert!(
            matches!(truncated, Err(DumpArchiveError::Truncated(_))),
            "{truncated:?}"
        );
    }
}
