//! The format of an image archive: writing, verifying and unpacking.

use std::io::{self, Read, Write};

use serde::Deserialize;
use sha2::Digest as _;

use super::error::ImageArchiveError;
use super::manifest::ArchiveManifest;
use super::readers::{CountingReader, EntryHasher, HashingReader};
use super::transfer_progress::TransferProgress;
use super::validator::ArchiveValidator;
use crate::recipe::Sha256Digest;

/// The name of the first entry.
const MANIFEST_ENTRY: &str = "dm-images.json";

/// The name of the last entry.
const CHECKSUM_ENTRY: &str = "dm-images.sha256";

/// The format that the first entry declares.
pub(super) const FORMAT: &str = "dm.image-archive/1";

/// Compresses well at several hundred megabytes per second.
const COMPRESSION_LEVEL: i32 = 3;

/// The maximum size of a manifest.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// The maximum size of the checksum entry.
const MAX_CHECKSUM_BYTES: u64 = 65;

/// The number of unpacked bytes that are held back until the whole file was read again: more
/// than its last entry and the end of its tar.
const HOLDBACK_BYTES: usize = 64 << 10;

/// Writes an archive: the manifest, the entries of the engine's tar, the checksum.
pub(super) fn write_archive(
    manifest: &ArchiveManifest,
    tar: impl Read,
    out: impl Write,
    mut progress: TransferProgress,
) -> io::Result<()> {
    let mut zstd = zstd::Encoder::new(out, COMPRESSION_LEVEL)?;
    zstd.include_checksum(true)?;
    let mut output = tar::Builder::new(zstd);
    let mut hash = EntryHasher::default();
    let json = serde_json::to_vec_pretty(manifest)?;
    hash.begin_entry(MANIFEST_ENTRY, json.len() as u64);
    hash.0.update(&json);
    append_entry(&mut output, MANIFEST_ENTRY, &json)?;
    let counted = CountingReader::new(tar, move |done| progress.report(done));
    let mut source = tar::Archive::new(counted);
    for entry in source.entries()? {
        let entry = entry?;
        let path = entry.path()?.into_owned();
        let mut header = entry.header().clone();
        hash.begin_entry(&path.to_string_lossy(), entry.size());
        if let Some(target) = entry.link_name()? {
            // Engines link identical layers.
            output.append_link(&mut header, &path, target)?;
        } else {
            let contents = HashingReader {
                inner: entry,
                hasher: &mut hash,
            };
            output.append_data(&mut header, &path, contents)?;
        }
    }
    append_entry(
        &mut output,
        CHECKSUM_ENTRY,
        hash.finish().as_str().as_bytes(),
    )?;
    output.into_inner()?.finish()?.flush()
}

fn append_entry(
    archive: &mut tar::Builder<impl Write>,
    path: &str,
    contents: &[u8],
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(contents.len() as u64);
    archive.append_data(&mut header, path, contents)
}

/// A verified archive: its manifest, and a digest of its unpacked content.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct VerifiedArchive {
    pub(super) manifest: ArchiveManifest,
    pub(super) unpacked_digest: Sha256Digest,
}

/// Reads a whole file and checks that it is an unchanged archive of [`write_archive`].
pub(super) fn verify_archive(
    file: impl Read,
    mut progress: TransferProgress,
) -> Result<VerifiedArchive, ImageArchiveError> {
    let mut counted = CountingReader::new(file, move |done| progress.report(done));
    let mut magic = [0; 4];
    if counted.read_exact(&mut magic).is_err() || magic != [0x28, 0xb5, 0x2f, 0xfd] {
        return Err(ImageArchiveError::NotAnArchive);
    }
    let zstd = zstd::Decoder::new(magic.as_slice().chain(counted))?;
    let mut unpacked = EntryHasher::default();
    let mut archive = tar::Archive::new(HashingReader {
        inner: zstd,
        hasher: &mut unpacked,
    });
    let mut manifest: Option<ArchiveManifest> = None;
    let mut validator = ArchiveValidator::default();
    let mut hash = Some(EntryHasher::default());
    // Raw: a header that changes the next one is an entry of its own, which `save` never writes.
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        let path = entry.path_bytes().into_owned();
        let kind = entry.header().entry_type();
        let Some(hasher) = hash.as_mut() else {
            return Err(ImageArchiveError::Corrupt("data after the checksum".into()));
        };
        if manifest.is_none() {
            if path != MANIFEST_ENTRY.as_bytes() || entry.size() > MAX_MANIFEST_BYTES {
                return Err(ImageArchiveError::NotAnArchive);
            }
            manifest = Some(read_manifest(MANIFEST_ENTRY, &mut entry, hasher)?);
            continue;
        }
        if path == CHECKSUM_ENTRY.as_bytes() {
            let mut expected = String::new();
            entry
                .take(MAX_CHECKSUM_BYTES)
                .read_to_string(&mut expected)?;
            let computed = hash.take().unwrap_or_default().finish();
            if computed.as_str() != expected {
                return Err(ImageArchiveError::Corrupt(
                    "the checksum does not match".into(),
                ));
            }
            continue;
        }
        hasher.begin_entry(&String::from_utf8_lossy(&path), entry.size());
        let (size, link) = (
            entry.size(),
            entry.link_name_bytes().map(|link| link.into_owned()),
        );
        let mut content = HashingReader {
            inner: entry,
            hasher,
        };
        validator.add_entry(kind, &path, link.as_deref(), size, &mut content)?;
    }
    // Reads past the end of the archive, up to the end of the compressed stream, which
    // carries a checksum of its own.
    let mut rest = archive.into_inner();
    let mut block = [0; 8192];
    loop {
        match rest.read(&mut block)? {
            0 => break,
            read if block[..read].iter().all(|byte| *byte == 0) => {}
            _ => return Err(ImageArchiveError::Corrupt("data after the end".into())),
        }
    }
    drop(rest);
    match (manifest, hash) {
        (None, _) => Err(ImageArchiveError::NotAnArchive),
        (_, Some(_)) => Err(ImageArchiveError::Truncated),
        (Some(manifest), None) => {
            validator.check_manifest(&manifest)?;
            Ok(VerifiedArchive {
                manifest,
                unpacked_digest: unpacked.finish(),
            })
        }
    }
}

/// Unpacks a verified file. If the file has changed since, its end is not written, so that
/// the output is unusable.
pub(super) fn unpack_archive(
    file: impl Read,
    verified: &Sha256Digest,
    output: &mut dyn Write,
) -> io::Result<()> {
    let mut unpacked = EntryHasher::default();
    let mut reader = HashingReader {
        inner: zstd::Decoder::new(file)?,
        hasher: &mut unpacked,
    };
    // The held back bytes always include the last entry and the end of the archive.
    let mut held = Vec::new();
    let mut block = vec![0; HOLDBACK_BYTES];
    loop {
        let read = reader.read(&mut block)?;
        if read == 0 {
            break;
        }
        held.extend_from_slice(&block[..read]);
        if held.len() > HOLDBACK_BYTES {
            let end = held.len() - HOLDBACK_BYTES;
            output.write_all(&held[..end])?;
            held.drain(..end);
        }
    }
    drop(reader);
    if unpacked.finish() != *verified {
        return Err(io::Error::other("the file was changed while it was read"));
    }
    output.write_all(&held)
}

fn read_manifest(
    path: &str,
    entry: &mut (impl Read + Sized),
    hash: &mut EntryHasher,
) -> Result<ArchiveManifest, ImageArchiveError> {
    let mut json = Vec::new();
    entry.read_to_end(&mut json)?;
    hash.begin_entry(path, json.len() as u64);
    hash.0.update(&json);
    #[derive(Deserialize)]
    struct Format {
        format: String,
    }
    let format: Format =
        serde_json::from_slice(&json).map_err(|_| ImageArchiveError::NotAnArchive)?;
    if format.format != FORMAT {
        return Err(ImageArchiveError::UnsupportedFormat(format.format));
    }
    serde_json::from_slice(&json).map_err(|error| ImageArchiveError::Corrupt(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::DateTime;
    use proptest::prelude::*;
    use tokio_util::sync::CancellationToken;

    use super::super::manifest::ArchivedImage;
    use super::*;
    use crate::progress::NoImageProgress;

    fn test_progress() -> TransferProgress {
        TransferProgress {
            progress: Arc::new(NoImageProgress),
            cancel: CancellationToken::new(),
            activity: "testing",
            total: None,
        }
    }

    fn config() -> (String, &'static [u8]) {
        let contents = b"{\"rootfs\":{}}".as_slice();
        (Sha256Digest::compute(contents).to_string(), contents)
    }

    fn manifest() -> ArchiveManifest {
        ArchiveManifest {
            format: FORMAT.into(),
            created: DateTime::default(),
            sources: None,
            images: vec![ArchivedImage {
                component: "postgres".into(),
                reference: "dm/postgres:1".into(),
                id: format!("sha256:{}", config().0),
                digest: None,
                golden: false,
            }],
        }
    }

    /// A tar as the engine's save writes it.
    fn engine_tar(references: &str) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        let (hash, config) = config();
        let layer = format!("{hash}/layer.tar");
        append_entry(&mut tar, &layer, &[7; 5000]).unwrap();
        append_entry(&mut tar, &format!("{hash}.json"), config).unwrap();
        let json =
            format!(r#"[{{"Config":"{hash}.json","RepoTags":{references},"Layers":["{layer}"]}}]"#);
        append_entry(&mut tar, "manifest.json", json.as_bytes()).unwrap();
        tar.into_inner().unwrap()
    }

    /// An intact archive with one more entry before its checksum, which is correct.
    fn with_entry(add: impl Fn(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        let tar_bytes = engine_tar(r#"["dm/postgres:1"]"#);
        let mut archive = tar::Archive::new(tar_bytes.as_slice());
        for entry in archive.entries().unwrap() {
            let entry = entry.unwrap();
            let header = entry.header().clone();
            tar.append(&header, entry).unwrap();
        }
        add(&mut tar);
        let (tar, mut file) = (tar.into_inner().unwrap(), Vec::new());
        write_archive(&manifest(), tar.as_slice(), &mut file, test_progress()).unwrap();
        file
    }

    fn archive_with(manifest: &ArchiveManifest, references: &str) -> Vec<u8> {
        let mut file = Vec::new();
        write_archive(
            manifest,
            engine_tar(references).as_slice(),
            &mut file,
            test_progress(),
        )
        .unwrap();
        file
    }

    fn intact_archive() -> Vec<u8> {
        archive_with(&manifest(), r#"["dm/postgres:1"]"#)
    }

    #[test]
    fn verify_archive_returns_the_written_manifest() {
        let verified = verify_archive(intact_archive().as_slice(), test_progress()).unwrap();
        assert_eq!(verified.manifest, manifest());
        let mut unpacked = Vec::new();
        unpack_archive(
            intact_archive().as_slice(),
            &verified.unpacked_digest,
            &mut unpacked,
        )
        .unwrap();
        assert_eq!(
            unpacked,
            zstd::decode_all(intact_archive().as_slice()).unwrap()
        );
    }

    #[test]
    fn unpack_archive_withholds_the_end_of_a_file_changed_after_verification() {
        let verified = verify_archive(intact_archive().as_slice(), test_progress()).unwrap();
        let other = archive_with(&manifest(), r#"["debian:13"]"#);
        let mut unpacked = Vec::new();
        let error =
            unpack_archive(other.as_slice(), &verified.unpacked_digest, &mut unpacked).unwrap_err();
        assert!(error.to_string().contains("was changed"), "{error}");
        let all = zstd::decode_all(other.as_slice()).unwrap();
        assert!(unpacked.len() + HOLDBACK_BYTES <= all.len().max(HOLDBACK_BYTES));
    }

    #[test]
    fn verify_archive_refuses_unexpected_entries_with_a_correct_checksum() {
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
                // A path that readers normalise before they compare it.
                let mut header = tar::Header::new_gnu();
                header.set_size(list.len() as u64);
                header.as_old_mut().name[..15].copy_from_slice(b"./manifest.json");
                header.set_cksum();
                tar.append(&header, list.as_slice()).unwrap();
            }),
            with_entry(|tar| append_entry(tar, "manifest.json", list).unwrap()),
            with_entry(|tar| {
                append_entry(tar, "index.json", br#"{"manifests":[{"digest":"sha256:0","annotations":{"io.containerd.image.name":"docker.io/library/debian:13"}}]}"#).unwrap()
            }),
            with_entry(|tar| {
                append_entry(tar, "repositories", br#"{"debian":{"13":"0"}}"#).unwrap()
            }),
            with_entry(|tar| append_entry(tar, "etc/passwd", b"x").unwrap()),
            with_entry(|tar| append_entry(tar, &format!("{}.json", "a".repeat(64)), b"x").unwrap()),
            with_entry(link),
        ];
        for (number, file) in files.iter().enumerate() {
            let error = verify_archive(file.as_slice(), test_progress()).unwrap_err();
            assert!(
                matches!(error, ImageArchiveError::Corrupt(_)),
                "{number}: {error:?}"
            );
        }
        let unchanged = verify_archive(with_entry(|_| {}).as_slice(), test_progress());
        assert_eq!(unchanged.unwrap().manifest, manifest());
    }

    #[test]
    fn verify_archive_distinguishes_foreign_from_corrupt_files() {
        let foreign = [
            b"PK\x03\x04 a zip".to_vec(),
            Vec::new(),
            engine_tar("[]"),
            zstd::encode_all(engine_tar("[]").as_slice(), 1).unwrap(),
        ];
        for file in foreign {
            let error = verify_archive(file.as_slice(), test_progress()).unwrap_err();
            assert!(
                matches!(error, ImageArchiveError::NotAnArchive),
                "{error:?}"
            );
        }
        let newer = ArchiveManifest {
            format: "dm.image-archive/2".into(),
            ..manifest()
        };
        let error =
            verify_archive(archive_with(&newer, "[]").as_slice(), test_progress()).unwrap_err();
        assert!(
            matches!(error, ImageArchiveError::UnsupportedFormat(_)),
            "{error:?}"
        );
        let smuggled = archive_with(&manifest(), r#"["dm/postgres:1","debian:13"]"#);
        let error = verify_archive(smuggled.as_slice(), test_progress()).unwrap_err();
        assert!(matches!(error, ImageArchiveError::Corrupt(_)), "{error:?}");
    }

    proptest! {
        #[test]
        fn verify_archive_refuses_a_file_truncated_at_any_byte(position in 0.0..1.0_f64) {
            let file = intact_archive();
            let length = (file.len() as f64 * position) as usize;
            let error = verify_archive(&file[..length], test_progress()).unwrap_err();
            let expected = if length < 4 {
                matches!(error, ImageArchiveError::NotAnArchive)
            } else {
                matches!(error, ImageArchiveError::Truncated)
            };
            prop_assert!(expected, "{} of {}: {:?}", length, file.len(), error);
        }

        #[test]
        fn verify_archive_refuses_a_changed_byte_at_any_position(position in 0.0..1.0_f64, flip in 1..=255_u8) {
            let mut file = intact_archive();
            let position = (file.len() as f64 * position) as usize;
            file[position] ^= flip;
            // The header of a frame has unused bits: changing them changes no content.
            if let Ok(verified) = verify_archive(file.as_slice(), test_progress()) {
                prop_assert_eq!(zstd::decode_all(file.as_slice()).unwrap(), zstd::decode_all(intact_archive().as_slice()).unwrap());
                prop_assert_eq!(verified.manifest, manifest());
            }
        }
    }
}
