//! The table of contents of an archive of pg_dump (`--format=custom`): each object by itself,
//! with its name, its schema and its owner, so that nothing has to be guessed from SQL.
//!
//! The format is that of PostgreSQL's `pg_backup_archiver.c` (`ReadHead`, `ReadToc`).

use thiserror::Error;

/// An object of an archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// What it is, e.g. `TABLE`.
    pub(super) kind: String,
    /// Its name, as pg_dump tells it from others of its kind.
    pub(super) name: String,
    /// The schema that it is in, if it is in one.
    pub(super) schema: Option<String>,
    /// Who owns it.
    pub(super) owner: String,
    /// What makes it.
    pub(super) create: String,
    /// What removes it.
    pub(super) drop: String,
    /// Where it is kept, if that is said.
    pub(super) tablespace: String,
    /// How it is kept, if that is said.
    pub(super) access_method: String,
}

/// Why an archive can't be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ArchiveError {
    /// It is none.
    #[error("the output of pg_dump is not an archive")]
    NoArchive,
    /// It is of a version that is not known.
    #[error("the output of pg_dump has archive version {0}.{1}, and dm reads 1.12 to 1.16")]
    Version(u8, u8),
    /// It ends too early, or is damaged.
    #[error("the output of pg_dump ends at byte {0}, in the middle of an object")]
    Cut(usize),
    /// A text in it is not UTF-8.
    #[error("the output of pg_dump has a text that is not UTF-8, at byte {0}")]
    Text(usize),
}

/// Versions that are known, by their second number: those of PostgreSQL 9.0 to 18.
const KNOWN: std::ops::RangeInclusive<u8> = 12..=16;

/// The objects of an archive, in pg_dump's order.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Entry>, ArchiveError> {
    let mut archive = Reader {
        bytes,
        at: 0,
        integer: 4,
    };
    if archive.take(5).ok() != Some(b"PGDMP") {
        return Err(ArchiveError::NoArchive);
    }
    let (major, minor) = (archive.byte()?, archive.byte()?);
    if major != 1 || !KNOWN.contains(&minor) {
        return Err(ArchiveError::Version(major, minor));
    }
    archive.byte()?;
    archive.integer = archive.byte()?.into();
    let offset: usize = archive.byte()?.into();
    // The format, and how data is compressed.
    archive.byte()?;
    if minor >= 15 {
        archive.byte()?;
    } else {
        archive.number()?;
    }
    // When it was made.
    for _ in 0..7 {
        archive.number()?;
    }
    // Of which database, and the versions of the server and of pg_dump.
    for _ in 0..3 {
        archive.text()?;
    }
    let count = archive.number()?;
    let mut entries = Vec::new();
    for _ in 0..count {
        entries.push(archive.entry(minor, offset)?);
    }
    Ok(entries)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// How many bytes a number has.
    integer: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], ArchiveError> {
        let end = self.at.checked_add(count);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or(ArchiveError::Cut(self.at))?;
        self.at += count;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, ArchiveError> {
        Ok(self.take(1)?[0])
    }

    /// A sign and then the lowest byte first.
    fn number(&mut self) -> Result<i64, ArchiveError> {
        let negative = self.byte()? != 0;
        let at = self.at;
        let bytes = self.take(self.integer)?;
        let mut value: i64 = 0;
        for byte in bytes.iter().rev() {
            value = value
                .checked_mul(256)
                .and_then(|value| value.checked_add((*byte).into()))
                .ok_or(ArchiveError::Cut(at))?;
        }
        Ok(if negative { -value } else { value })
    }

    /// A text; nothing where there is none, which is not an empty one.
    fn text(&mut self) -> Result<Option<String>, ArchiveError> {
        let at = self.at;
        let Ok(length) = usize::try_from(self.number()?) else {
            return Ok(None);
        };
        let text = std::str::from_utf8(self.take(length)?);
        text.map(|text| Some(text.to_owned()))
            .map_err(|_| ArchiveError::Text(at))
    }

    fn entry(&mut self, minor: u8, offset: usize) -> Result<Entry, ArchiveError> {
        // Its number, whether it has data, and its place in the catalogue.
        self.number()?;
        self.number()?;
        self.text()?;
        self.text()?;
        let name = self.text()?.unwrap_or_default();
        let kind = self.text()?.unwrap_or_default();
        // Its section.
        self.number()?;
        let create = self.text()?.unwrap_or_default();
        let drop = self.text()?.unwrap_or_default();
        // How its data is copied.
        self.text()?;
        let schema = self.text()?.filter(|schema| !schema.is_empty());
        let tablespace = self.text()?.unwrap_or_default();
        let access_method = if minor >= 14 {
            self.text()?.unwrap_or_default()
        } else {
            String::new()
        };
        if minor >= 16 {
            self.number()?;
        }
        let owner = self.text()?.unwrap_or_default();
        // Whether it has row ids of old, and what it depends on.
        self.text()?;
        while self.text()?.is_some() {}
        // Where its data is.
        self.take(1 + offset)?;
        Ok(Entry {
            kind,
            name,
            schema,
            owner,
            create,
            drop,
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
    pub(crate) fn write(entries: &[Entry]) -> Vec<u8> {
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
            text(&mut bytes, Some(&entry.create));
            text(&mut bytes, Some(&entry.drop));
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

    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let entry = (
            "[A-Z ]{1,12}",
            "\\PC{0,12}",
            proptest::option::of("\\PC{1,6}"),
            "\\PC{0,40}",
        );
        let entry = entry.prop_map(|(kind, name, schema, create)| Entry {
            kind,
            name,
            schema,
            create,
            owner: "o".into(),
            ..Entry::default()
        });
        proptest::collection::vec(entry, 0..6)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// Names and texts come through as they are, whatever they say.
        #[test]
        fn what_is_written_can_be_read(entries in entries()) {
            prop_assert_eq!(read(&write(&entries)), Ok(entries));
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
            let read_back = read(&bytes);
            if let Ok(read_back) = read_back {
                let held: usize = read_back.iter().map(|it| it.create.len() + it.name.len()).sum();
                prop_assert!(held <= bytes.len());
            }
            bytes.truncate(cut.index(bytes.len()));
            let _ = read(&bytes);
        }
    }

    #[test]
    fn what_is_no_archive_is_refused() {
        assert_eq!(read(b""), Err(ArchiveError::NoArchive));
        assert_eq!(read(b"--\n-- PostgreSQL"), Err(ArchiveError::NoArchive));
        let mut newer = write(&[]);
        newer[6] = 17;
        assert_eq!(read(&newer), Err(ArchiveError::Version(1, 17)));
        let whole = write(&[Entry::default()]);
        let cut = read(&whole[..whole.len() - 1]);
        assert!(matches!(cut, Err(ArchiveError::Cut(_))), "{cut:?}");
    }
}
