//! The file: what is in it, how it is written, and how it is read.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::meter::Meter;
use super::stream::{Counted, EntryHash, Hashed};

/// The name of the first entry.
const MANIFEST: &str = "dm-images.json";

/// The name of the last entry.
const CHECKSUM: &str = "dm-images.sha256";

/// What the first entry says that the file is.
pub(super) const FORMAT: &str = "dm.image-archive/1";

/// Good compression at several hundred megabytes a second.
const LEVEL: i32 = 3;

/// A manifest is never larger.
const MANIFEST_LIMIT: u64 = 1 << 20;

/// What is in a file of images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Name and version of the format.
    pub format: String,
    /// When the file was made.
    pub created: DateTime<Utc>,
    /// The images.
    pub images: Vec<Saved>,
    /// The digest of the sources that the services' images were compiled from,
    /// where all of those are in the file.
    #[serde(default)]
    pub sources: Option<String>,
}

/// One image of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The component.
    pub component: String,
    /// The reference that it has after loading.
    pub reference: String,
    /// The image's id on the machine that it was saved on.
    pub id: String,
    /// The digest of its recipe, where it was made from one.
    pub digest: Option<String>,
    /// True for one that holds the state after a first start.
    pub golden: bool,
}

/// Why a file can't be taken.
#[derive(Debug)]
pub(super) enum Fault {
    Foreign,
    Version(String),
    CutShort,
    Damaged(String),
    Io(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        let text = error.to_string();
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::CutShort,
            // What tar and zstd say of a stream that just ends.
            _ if text.contains("incomplete frame") || text.contains("unexpected EOF") => {
                Self::CutShort
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::Interrupted => Self::Io(error),
            _ if error.raw_os_error().is_some() => Self::Io(error),
            _ => Self::Damaged(text),
        }
    }
}

/// Writes the file: manifest, the entries of the engine's tar, checksum.
pub(super) fn write(
    manifest: &Manifest,
    tar: impl Read,
    out: impl Write,
    mut meter: Meter,
) -> io::Result<()> {
    let mut zstd = zstd::Encoder::new(out, LEVEL)?;
    zstd.include_checksum(true)?;
    let mut to = tar::Builder::new(zstd);
    let mut hash = EntryHash::default();
    let json = serde_json::to_vec_pretty(manifest)?;
    hash.begin(MANIFEST, json.len() as u64);
    hash.0.update(&json);
    append(&mut to, MANIFEST, &json)?;
    let counted = Counted::new(tar, move |done| meter.tell(done));
    let mut from = tar::Archive::new(counted);
    for entry in from.entries()? {
        let entry = entry?;
        let path = entry.path()?.into_owned();
        let mut header = entry.header().clone();
        hash.begin(&path.to_string_lossy(), entry.size());
        if let Some(target) = entry.link_name()? {
            // Engines link layers that are alike.
            to.append_link(&mut header, &path, target)?;
        } else {
            let contents = Hashed {
                inner: entry,
                hash: &mut hash,
            };
            to.append_data(&mut header, &path, contents)?;
        }
    }
    append(&mut to, CHECKSUM, hash.finish().as_str().as_bytes())?;
    to.into_inner()?.finish()?.flush()
}

fn append(to: &mut tar::Builder<impl Write>, path: &str, contents: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(contents.len() as u64);
    to.append_data(&mut header, path, contents)
}

/// Reads a whole file and returns its manifest if all of it is as it was written.
pub(super) fn verify(file: impl Read, mut meter: Meter) -> Result<Manifest, Fault> {
    let mut counted = Counted::new(file, move |done| meter.tell(done));
    let mut magic = [0; 4];
    if counted.read_exact(&mut magic).is_err() || magic != [0x28, 0xb5, 0x2f, 0xfd] {
        return Err(Fault::Foreign);
    }
    let zstd = zstd::Decoder::new(magic.as_slice().chain(counted))?;
    let mut archive = tar::Archive::new(zstd);
    let mut manifest: Option<Manifest> = None;
    let mut hash = Some(EntryHash::default());
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().into_owned();
        let Some(open) = hash.as_mut() else {
            return Err(Fault::Damaged("something follows its checksum".into()));
        };
        let Some(known) = &manifest else {
            if path != MANIFEST || entry.size() > MANIFEST_LIMIT {
                return Err(Fault::Foreign);
            }
            manifest = Some(read_manifest(&path, &mut entry, open)?);
            continue;
        };
        if path == CHECKSUM {
            let mut written = String::new();
            entry.read_to_string(&mut written)?;
            let found = hash.take().unwrap_or_default().finish();
            if found.as_str() != written {
                return Err(Fault::Damaged("its checksum is another".into()));
            }
            continue;
        }
        open.begin(&path, entry.size());
        let mut contents = Hashed {
            inner: entry,
            hash: open,
        };
        if path == "manifest.json" {
            let mut json = Vec::new();
            contents.read_to_end(&mut json)?;
            same_references(known, &json)?;
        } else {
            io::copy(&mut contents, &mut io::sink())?;
        }
    }
    // The end of the compressed stream carries a checksum of its own.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    match (manifest, hash) {
        (None, _) => Err(Fault::Foreign),
        (_, Some(_)) => Err(Fault::CutShort),
        (Some(manifest), None) => Ok(manifest),
    }
}

fn read_manifest(
    path: &str,
    entry: &mut (impl Read + Sized),
    hash: &mut EntryHash,
) -> Result<Manifest, Fault> {
    let mut json = Vec::new();
    entry.read_to_end(&mut json)?;
    hash.begin(path, json.len() as u64);
    hash.0.update(&json);
    #[derive(Deserialize)]
    struct Format {
        format: String,
    }
    let format: Format = serde_json::from_slice(&json).map_err(|_| Fault::Foreign)?;
    if format.format != FORMAT {
        return Err(Fault::Version(format.format));
    }
    serde_json::from_slice(&json).map_err(|error| Fault::Damaged(error.to_string()))
}

/// The engine would tag whatever its own manifest names: it must be what ours does.
fn same_references(manifest: &Manifest, engines: &[u8]) -> Result<(), Fault> {
    #[derive(Deserialize)]
    struct Entry {
        #[serde(rename = "RepoTags")]
        references: Option<Vec<String>>,
    }
    let entries: Vec<Entry> =
        serde_json::from_slice(engines).map_err(|error| Fault::Damaged(error.to_string()))?;
    let theirs: BTreeSet<_> = entries
        .into_iter()
        .flat_map(|entry| entry.references.unwrap_or_default())
        .collect();
    let ours: BTreeSet<_> = manifest
        .images
        .iter()
        .map(|image| image.reference.clone())
        .collect();
    if ours == theirs {
        Ok(())
    } else {
        Err(Fault::Damaged("it holds other images than it names".into()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::images::progress::Silent;

    fn meter() -> Meter {
        Meter {
            progress: Arc::new(Silent),
            cancel: CancellationToken::new(),
            doing: "testing",
            total: None,
        }
    }

    fn manifest() -> Manifest {
        Manifest {
            format: FORMAT.into(),
            created: DateTime::default(),
            sources: None,
            images: vec![Saved {
                component: "postgres".into(),
                reference: "dm/postgres:1".into(),
                id: "sha256:1".into(),
                digest: None,
                golden: false,
            }],
        }
    }

    /// What an engine's save looks like.
    fn engine_tar(references: &str) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        append(&mut tar, "layer.tar", &[7; 5000]).unwrap();
        let json = format!(r#"[{{"RepoTags":{references}}}]"#);
        append(&mut tar, "manifest.json", json.as_bytes()).unwrap();
        tar.into_inner().unwrap()
    }

    fn saved(manifest: &Manifest, references: &str) -> Vec<u8> {
        let mut file = Vec::new();
        write(
            manifest,
            engine_tar(references).as_slice(),
            &mut file,
            meter(),
        )
        .unwrap();
        file
    }

    fn good() -> Vec<u8> {
        saved(&manifest(), r#"["dm/postgres:1"]"#)
    }

    #[test]
    fn a_file_says_what_it_holds() {
        assert_eq!(verify(good().as_slice(), meter()).unwrap(), manifest());
    }

    #[test]
    fn foreign_files_are_told_from_damaged_ones() {
        let foreign = [
            b"PK\x03\x04 a zip".to_vec(),
            Vec::new(),
            engine_tar("[]"),
            zstd::encode_all(engine_tar("[]").as_slice(), 1).unwrap(),
        ];
        for file in foreign {
            let fault = verify(file.as_slice(), meter()).unwrap_err();
            assert!(matches!(fault, Fault::Foreign), "{fault:?}");
        }
        let newer = Manifest {
            format: "dm.image-archive/2".into(),
            ..manifest()
        };
        let fault = verify(saved(&newer, "[]").as_slice(), meter()).unwrap_err();
        assert!(matches!(fault, Fault::Version(_)), "{fault:?}");
        let smuggled = saved(&manifest(), r#"["dm/postgres:1","debian:13"]"#);
        let fault = verify(smuggled.as_slice(), meter()).unwrap_err();
        assert!(matches!(fault, Fault::Damaged(_)), "{fault:?}");
    }

    proptest! {
        #[test]
        fn a_file_cut_short_anywhere_is_refused(at in 0.0..1.0_f64) {
            let file = good();
            let length = (file.len() as f64 * at) as usize;
            let fault = verify(&file[..length], meter()).unwrap_err();
            let expected = if length < 4 {
                matches!(fault, Fault::Foreign)
            } else {
                matches!(fault, Fault::CutShort)
            };
            prop_assert!(expected, "{} of {}: {:?}", length, file.len(), fault);
        }

        #[test]
        fn a_changed_byte_anywhere_is_refused(at in 0.0..1.0_f64, flip in 1..=255_u8) {
            let mut file = good();
            let at = (file.len() as f64 * at) as usize;
            file[at] ^= flip;
            // The header of a frame has bits without a meaning: then nothing changed.
            if let Ok(found) = verify(file.as_slice(), meter()) {
                prop_assert_eq!(zstd::decode_all(file.as_slice()).unwrap(), zstd::decode_all(good().as_slice()).unwrap());
                prop_assert_eq!(found, manifest());
            }
        }
    }
}
