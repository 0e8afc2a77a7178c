//! The file: what is in it, how it is written, and how it is read.

use std::io::{self, Read, Write};

use serde::Deserialize;
use sha2::Digest as _;

use super::contents::Contents;
use super::fault::Fault;
use super::manifest::Manifest;
use super::meter::Meter;
use super::stream::{Counted, EntryHash, Hashed};
use crate::recipe::Digest;

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

/// A checksum is never longer.
const CHECKSUM_LIMIT: u64 = 65;

/// How much of a file is not unpacked before all of it was read again: more than its last
/// entry and the end of its tar.
const HELD_BACK: usize = 64 << 10;

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

/// What a file that was read holds: its manifest, and a digest of all that it unpacks to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verified {
    pub(super) manifest: Manifest,
    pub(super) digest: Digest,
}

/// Reads a whole file. All of it is what [`write`] writes, and as it was written.
pub(super) fn verify(file: impl Read, mut meter: Meter) -> Result<Verified, Fault> {
    let mut counted = Counted::new(file, move |done| meter.tell(done));
    let mut magic = [0; 4];
    if counted.read_exact(&mut magic).is_err() || magic != [0x28, 0xb5, 0x2f, 0xfd] {
        return Err(Fault::Foreign);
    }
    let zstd = zstd::Decoder::new(magic.as_slice().chain(counted))?;
    let mut unpacked = EntryHash::default();
    let mut archive = tar::Archive::new(Hashed {
        inner: zstd,
        hash: &mut unpacked,
    });
    let mut manifest: Option<Manifest> = None;
    let mut contents = Contents::default();
    let mut hash = Some(EntryHash::default());
    // Raw: a header that changes the next one is an entry by itself, which is not ours.
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        let path = entry.path_bytes().into_owned();
        let kind = entry.header().entry_type();
        let Some(open) = hash.as_mut() else {
            return Err(Fault::Damaged("data after the checksum".into()));
        };
        if manifest.is_none() {
            if path != MANIFEST.as_bytes() || entry.size() > MANIFEST_LIMIT {
                return Err(Fault::Foreign);
            }
            manifest = Some(read_manifest(MANIFEST, &mut entry, open)?);
            continue;
        }
        if path == CHECKSUM.as_bytes() {
            let mut written = String::new();
            entry.take(CHECKSUM_LIMIT).read_to_string(&mut written)?;
            let found = hash.take().unwrap_or_default().finish();
            if found.as_str() != written {
                return Err(Fault::Damaged("the checksum does not match".into()));
            }
            continue;
        }
        open.begin(&String::from_utf8_lossy(&path), entry.size());
        let (size, link) = (
            entry.size(),
            entry.link_name_bytes().map(|it| it.into_owned()),
        );
        let mut read = Hashed {
            inner: entry,
            hash: open,
        };
        contents.take(kind, &path, link.as_deref(), size, &mut read)?;
    }
    // What follows the end of the archive, and the end of the compressed stream, which
    // carries a checksum of its own.
    let mut rest = archive.into_inner();
    let mut block = [0; 8192];
    loop {
        match rest.read(&mut block)? {
            0 => break,
            read if block[..read].iter().all(|byte| *byte == 0) => {}
            _ => return Err(Fault::Damaged("data after the end".into())),
        }
    }
    drop(rest);
    match (manifest, hash) {
        (None, _) => Err(Fault::Foreign),
        (_, Some(_)) => Err(Fault::CutShort),
        (Some(manifest), None) => {
            contents.check(&manifest)?;
            Ok(Verified {
                manifest,
                digest: unpacked.finish(),
            })
        }
    }
}

/// Unpacks a file that was verified. Of a file that is another one now, the end is not
/// written, and nothing can be made of the rest.
pub(super) fn unpack(file: impl Read, verified: &Digest, to: &mut dyn Write) -> io::Result<()> {
    let mut unpacked = EntryHash::default();
    let mut from = Hashed {
        inner: zstd::Decoder::new(file)?,
        hash: &mut unpacked,
    };
    // The last entry and the end of the archive are always among what is held back.
    let mut held = Vec::new();
    let mut block = vec![0; HELD_BACK];
    loop {
        let read = from.read(&mut block)?;
        if read == 0 {
            break;
        }
        held.extend_from_slice(&block[..read]);
        if held.len() > HELD_BACK {
            let end = held.len() - HELD_BACK;
            to.write_all(&held[..end])?;
            held.drain(..end);
        }
    }
    drop(from);
    if unpacked.finish() != *verified {
        return Err(io::Error::other("the file was changed while it was read"));
    }
    to.write_all(&held)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::DateTime;
    use proptest::prelude::*;
    use tokio_util::sync::CancellationToken;

    use super::super::manifest::Saved;
    use super::*;
    use crate::progress::Silent;

    fn meter() -> Meter {
        Meter {
            progress: Arc::new(Silent),
            cancel: CancellationToken::new(),
            doing: "testing",
            total: None,
        }
    }

    fn config() -> (String, &'static [u8]) {
        let contents = b"{\"rootfs\":{}}".as_slice();
        (Digest::of(contents).to_string(), contents)
    }

    fn manifest() -> Manifest {
        Manifest {
            format: FORMAT.into(),
            created: DateTime::default(),
            sources: None,
            images: vec![Saved {
                component: "postgres".into(),
                reference: "dm/postgres:1".into(),
                id: format!("sha256:{}", config().0),
                digest: None,
                golden: false,
            }],
        }
    }

    /// What an engine's save looks like.
    fn engine_tar(references: &str) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        let (hash, config) = config();
        let layer = format!("{hash}/layer.tar");
        append(&mut tar, &layer, &[7; 5000]).unwrap();
        append(&mut tar, &format!("{hash}.json"), config).unwrap();
        let json =
            format!(r#"[{{"Config":"{hash}.json","RepoTags":{references},"Layers":["{layer}"]}}]"#);
        append(&mut tar, "manifest.json", json.as_bytes()).unwrap();
        tar.into_inner().unwrap()
    }

    /// A good file with one more entry before its checksum, which is right.
    fn with_entry(add: impl Fn(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        let good = engine_tar(r#"["dm/postgres:1"]"#);
        let mut archive = tar::Archive::new(good.as_slice());
        for entry in archive.entries().unwrap() {
            let entry = entry.unwrap();
            let header = entry.header().clone();
            tar.append(&header, entry).unwrap();
        }
        add(&mut tar);
        let (tar, mut file) = (tar.into_inner().unwrap(), Vec::new());
        write(&manifest(), tar.as_slice(), &mut file, meter()).unwrap();
        file
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
        let verified = verify(good().as_slice(), meter()).unwrap();
        assert_eq!(verified.manifest, manifest());
        let mut unpacked = Vec::new();
        unpack(good().as_slice(), &verified.digest, &mut unpacked).unwrap();
        assert_eq!(unpacked, zstd::decode_all(good().as_slice()).unwrap());
    }

    #[test]
    fn a_file_that_was_changed_after_it_was_verified_does_not_reach_its_end() {
        let verified = verify(good().as_slice(), meter()).unwrap();
        let other = saved(&manifest(), r#"["debian:13"]"#);
        let mut unpacked = Vec::new();
        let error = unpack(other.as_slice(), &verified.digest, &mut unpacked).unwrap_err();
        assert!(error.to_string().contains("was changed"), "{error}");
        let all = zstd::decode_all(other.as_slice()).unwrap();
        assert!(unpacked.len() + HELD_BACK <= all.len().max(HELD_BACK));
    }

    #[test]
    fn what_save_does_not_write_is_refused_though_the_checksum_is_right() {
        let list = br#"[{"Config":"x","RepoTags":["debian:13"],"Layers":[]}]"#;
        let link = |tar: &mut tar::Builder<Vec<u8>>| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            let name = format!("{}/layer.tar", "a".repeat(64));
            tar.append_link(&mut header, name, "/etc/passwd").unwrap();
        };
        let files = [
            with_entry(|tar| {
                // A path that readers clean before they compare it.
                let mut header = tar::Header::new_gnu();
                header.set_size(list.len() as u64);
                header.as_old_mut().name[..15].copy_from_slice(b"./manifest.json");
                header.set_cksum();
                tar.append(&header, list.as_slice()).unwrap();
            }),
            with_entry(|tar| append(tar, "manifest.json", list).unwrap()),
            with_entry(|tar| {
                append(tar, "index.json", br#"{"manifests":[{"digest":"sha256:0","annotations":{"io.containerd.image.name":"docker.io/library/debian:13"}}]}"#).unwrap()
            }),
            with_entry(|tar| append(tar, "repositories", br#"{"debian":{"13":"0"}}"#).unwrap()),
            with_entry(|tar| append(tar, "etc/passwd", b"x").unwrap()),
            with_entry(|tar| append(tar, &format!("{}.json", "a".repeat(64)), b"x").unwrap()),
            with_entry(link),
        ];
        for (number, file) in files.iter().enumerate() {
            let fault = verify(file.as_slice(), meter()).unwrap_err();
            assert!(matches!(fault, Fault::Damaged(_)), "{number}: {fault:?}");
        }
        let nothing = verify(with_entry(|_| {}).as_slice(), meter());
        assert_eq!(nothing.unwrap().manifest, manifest());
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
                prop_assert_eq!(found.manifest, manifest());
            }
        }
    }
}
