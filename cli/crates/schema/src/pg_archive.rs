//! The table of contents of an archive of pg_dump (`--format=custom`): each object by itself,
//! with its name, its schema and its owner, so that nothing has to be guessed from SQL.
//!
//! The format is that of PostgreSQL's `pg_backup_archiver.c` (`ReadHead`, `ReadToc`).

use thiserror::Error;

/// An object of an archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ArchiveEntry {
    /// What it is, e.g. `TABLE`.
    pub(super) kind: String,
    /// Its name, as pg_dump tells it from others of its kind.
    pub(super) name: String,
    /// The schema that it is in, if it is in one.
    pub(super) schema: Option<String>,
    /// Who owns it.
    pub(super) owner: String,
    /// What makes it.
    pub(super) create_statement: String,
    /// What removes it.
    pub(super) drop_statement: String,
    /// Where it is kept, if that is said.
    pub(super) tablespace: String,
    /// How it is kept, if that is said.
    pub(super) access_method: String,
}

/// Why an archive can't be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DumpArchiveError {
    /// It is none.
    #[error("the output of pg_dump is not an archive")]
    NotAnArchive,
    /// It is of a version that is not known.
    #[error("the output of pg_dump has archive version {0}.{1}, and dm reads 1.12 to 1.16")]
    UnsupportedVersion(u8, u8),
    /// It ends too early, or is damaged.
    #[error("the output of pg_dump ends at byte {0}, in the middle of an object")]
    Truncated(usize),
    /// A text in it is not UTF-8.
    #[error("the output of pg_dump has a text that is not UTF-8, at byte {0}")]
    InvalidUtf8(usize),
}

/// Versions that are known, by their second number: those of PostgreSQL 9.0 to 18.
const SUPPORTED_MINOR_VERSIONS: std::ops::RangeInclusive<u8> = 12..=16;

/// The objects of an archive, in pg_dump's order.
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
    // When it was made.
    for _ in 0..7 {
        archive.read_integer()?;
    }
    // Of which database, and the versions of the server and of pg_dump.
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
    /// How many bytes a number has.
    integer_size: usize,
}

impl<'a> ArchiveReader<'a> {
    fn read_bytes(&mut self, count: usize) -> Result<&'a [u8], DumpArchiveError> {
        let end = self.position.checked_add(count);
        let taken = end.and_then(|end| self.bytes.get(self.position..end));
        let taken = taken.ok_or(DumpArchiveError::Truncated(self.position))?;
        self.position += count;
        Ok(taken)
    }

    fn read_byte(&mut self) -> Result<u8, DumpArchiveError> {
        Ok(self.read_bytes(1)?[0])
    }

    /// A sign and then the lowest byte first.
    fn read_integer(&mut self) -> Result<i64, DumpArchiveError> {
        let negative = self.read_byte()? != 0;
        let at = self.position;
        let bytes = self.read_bytes(self.integer_size)?;
        let mut value: i64 = 0;
        for byte in bytes.iter().rev() {
            value = value
                .checked_mul(256)
                .and_then(|value| value.checked_add((*byte).into()))
                .ok_or(DumpArchiveError::Truncated(at))?;
        }
        Ok(if negative { -value } else { value })
    }

    /// A text; nothing where there is none, which is not an empty one.
    fn read_string(&mut self) -> Result<Option<String>, DumpArchiveError> {
        let at = self.position;
        let Ok(length) = usize::try_from(self.read_integer()?) else {
            return Ok(None);
        };
        let text = std::str::from_utf8(self.read_bytes(length)?);
        text.map(|text| Some(text.to_owned()))
            .map_err(|_| DumpArchiveError::InvalidUtf8(at))
    }

    fn read_entry(&mut self, minor: u8, offset: usize) -> Result<ArchiveEntry, DumpArchiveError> {
        // Its number, whether it has data, and its place in the catalogue.
        self.read_integer()?;
        self.read_integer()?;
        self.read_string()?;
        self.read_string()?;
        let name = self.read_string()?.unwrap_or_default();
        let kind = self.read_string()?.unwrap_or_default();
        // Its section.
        self.read_integer()?;
        let create = self.read_string()?.unwrap_or_default();
        let drop = self.read_string()?.unwrap_or_default();
        // How its data is copied.
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
        // Whether it has row ids of old, and what it depends on.
        self.read_string()?;
        while self.read_string()?.is_some() {}
        // Where its data is.
        self.read_bytes(1 + offset)?;
        Ok(ArchiveEntry {
            kind,
            name,
            schema,
            owner,
            create_statement: create,
            drop_statement: drop,
            tablespace,
            access_method,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(bytes: &mut Vec<u8>, value: i32) {
        bytes.push(u8::from(value < 0));
        bytes.extend(value.unsigned_abs().to_le_bytes());
    }

    fn text(bytes: &mut Vec<u8>, text: Option<&str>) {
        let Some(text) = text else {
            return number(bytes, -1);
        };
        number(bytes, i32::try_from(text.len()).unwrap());
        bytes.extend(text.as_bytes());
    }

    /// An archive as pg_dump 17 writes it.
    pub(crate) fn write(entries: &[ArchiveEntry]) -> Vec<u8> {
        let mut bytes = b"PGDMP".to_vec();
        bytes.extend([1, 16, 0, 4, 8, 1, 1]);
        for value in [1, 2, 3, 4, 5, 126, 0] {
            number(&mut bytes, value);
        }
        for of in ["dunder", "17.6", "17.6"] {
            text(&mut bytes, Some(of));
        }
        number(&mut bytes, i32::try_from(entries.len()).unwrap());
        for (place, entry) in (1..).zip(entries) {
            number(&mut bytes, place);
            number(&mut bytes, 0);
            for of in ["1259", "16400", &entry.name, &entry.kind] {
                text(&mut bytes, Some(of));
            }
            number(&mut bytes, 2);
            text(&mut bytes, Some(&entry.create_statement));
            text(&mut bytes, Some(&entry.drop_statement));
            text(&mut bytes, None);
            text(&mut bytes, entry.schema.as_deref());
            text(&mut bytes, Some(&entry.tablespace));
            text(&mut bytes, Some(&entry.access_method));
            number(&mut bytes, 114);
            for of in [Some(entry.owner.as_str()), Some("false"), Some("7"), None] {
                text(&mut bytes, of);
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

        /// Names and texts come through as they are, whatever they say.
        #[test]
        fn what_is_written_can_be_read(entries in entries()) {
            prop_assert_eq!(read_entries(&write(&entries)), Ok(entries));
        }

        /// A damaged archive is an error or another archive, and neither a panic nor an
        /// allocation that its bytes don't warrant.
        #[test]
        fn a_damaged_archive_does_no_harm(
            entries in entries(),
            changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6),
            cut: proptest::sample::Index,
        ) {
            let mut bytes = write(&entries);
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            let read_back = read_entries(&bytes);
            if let Ok(read_back) = read_back {
                let held: usize = read_back.iter().map(|it| it.create_statement.len() + it.name.len()).sum();
                prop_assert!(held <= bytes.len());
            }
            bytes.truncate(cut.index(bytes.len()));
            let _ = read_entries(&bytes);
        }
    }

    #[test]
    fn what_is_no_archive_is_refused() {
        assert_eq!(read_entries(b""), Err(DumpArchiveError::NotAnArchive));
        assert_eq!(
            read_entries(b"--\n-- PostgreSQL"),
            Err(DumpArchiveError::NotAnArchive)
        );
        let mut newer = write(&[]);
        newer[6] = 17;
        assert_eq!(
            read_entries(&newer),
            Err(DumpArchiveError::UnsupportedVersion(1, 17))
        );
        let whole = write(&[ArchiveEntry::default()]);
        let cut = read_entries(&whole[..whole.len() - 1]);
        assert!(
            matches!(cut, Err(DumpArchiveError::Truncated(_))),
            "{cut:?}"
        );
    }
}
