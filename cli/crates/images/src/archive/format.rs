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
    use super::super::validator::{MAX_LIST_BYTES, MAX_METADATA_BYTES, MAX_UNPACKED_BYTES};
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

    /// An entry with any name and type. The tar library refuses to write some of them.
    #[derive(Clone)]
    struct RawEntry {
        path: String,
        kind: tar::EntryType,
        target: String,
        contents: Vec<u8>,
        /// The size in the header, if it is not that of the contents.
        claimed_size: Option<u64>,
    }

    impl RawEntry {
        fn file(path: impl Into<String>, contents: &[u8]) -> Self {
            Self {
                path: path.into(),
                kind: tar::EntryType::Regular,
                target: String::new(),
                contents: contents.to_vec(),
                claimed_size: None,
            }
        }

        fn link(kind: tar::EntryType, path: impl Into<String>, target: &str) -> Self {
            Self {
                kind,
                target: target.to_owned(),
                ..Self::file(path, b"")
            }
        }

        fn append_to(&self, archive: &mut tar::Builder<Vec<u8>>) {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(self.kind);
            header.set_mode(0o644);
            header.set_size(self.claimed_size.unwrap_or(self.contents.len() as u64));
            let fields = header.as_old_mut();
            fields.name[..self.path.len()].copy_from_slice(self.path.as_bytes());
            fields.linkname[..self.target.len()].copy_from_slice(self.target.as_bytes());
            header.set_cksum();
            archive.append(&header, self.contents.as_slice()).unwrap();
        }
    }

    /// The entries of an intact archive between its manifest and its checksum: a layer, the
    /// configuration and the list of the images.
    fn intact_entries() -> Vec<RawEntry> {
        let (hash, config) = config();
        let layer = format!("{hash}/layer.tar");
        let list = format!(
            r#"[{{"Config":"{hash}.json","RepoTags":["dm/postgres:1"],"Layers":["{layer}"]}}]"#
        );
        vec![
            RawEntry::file(layer, &[7; 5000]),
            RawEntry::file(format!("{hash}.json"), config),
            RawEntry::file("manifest.json", list.as_bytes()),
        ]
    }

    /// An archive of these entries. Its checksum is correct.
    fn archive_of(manifest: &ArchiveManifest, entries: &[RawEntry]) -> Vec<u8> {
        archive_with_json(&serde_json::to_vec(manifest).unwrap(), entries)
    }

    /// Like [`archive_of`], with the text of the manifest.
    fn archive_with_json(manifest: &[u8], entries: &[RawEntry]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        let mut hash = EntryHasher::default();
        let first = RawEntry::file(MANIFEST_ENTRY, manifest);
        for entry in std::iter::once(&first).chain(entries) {
            hash.begin_entry(&entry.path, entry.contents.len() as u64);
            hash.0.update(&entry.contents);
            entry.append_to(&mut archive);
        }
        let checksum = hash.finish();
        RawEntry::file(CHECKSUM_ENTRY, checksum.as_str().as_bytes()).append_to(&mut archive);
        zstd::encode_all(archive.into_inner().unwrap().as_slice(), 1).unwrap()
    }

    /// Returns the reason for which an archive with changed entries is refused.
    fn refusal(change: impl FnOnce(&mut Vec<RawEntry>)) -> String {
        let mut entries = intact_entries();
        change(&mut entries);
        let file = archive_of(&manifest(), &entries);
        match verify_archive(file.as_slice(), test_progress()) {
            Err(ImageArchiveError::Corrupt(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn verify_archive_accepts_raw_entries_of_an_engine() {
        let mut entries = intact_entries();
        let file = archive_of(&manifest(), &entries);
        let verified = verify_archive(file.as_slice(), test_progress()).unwrap();
        assert_eq!(verified.manifest, manifest());
        // An identical layer is a link to the first one.
        let target = format!("../{}", entries[0].path);
        let path = format!("{}/layer.tar", "b".repeat(64));
        entries.push(RawEntry::link(tar::EntryType::Symlink, path, &target));
        let file = archive_of(&manifest(), &entries);
        verify_archive(file.as_slice(), test_progress()).unwrap();
    }

    #[test]
    fn verify_archive_refuses_a_manifest_above_the_limit() {
        let mut json = serde_json::to_vec(&manifest()).unwrap();
        json.resize(usize::try_from(MAX_MANIFEST_BYTES).unwrap(), b' ');
        let file = archive_with_json(&json, &intact_entries());
        let verified = verify_archive(file.as_slice(), test_progress()).unwrap();
        assert_eq!(verified.manifest, manifest());
        json.push(b' ');
        let file = archive_with_json(&json, &intact_entries());
        let error = verify_archive(file.as_slice(), test_progress()).unwrap_err();
        assert!(
            matches!(error, ImageArchiveError::NotAnArchive),
            "{error:?}"
        );
    }

    #[test]
    fn verify_archive_refuses_entries_by_the_size_in_their_headers() {
        let layer = format!("{}/layer.tar", "b".repeat(64));
        let version = format!("{}/VERSION", "b".repeat(64));
        for (path, claimed_size, reason) in [
            (
                "index.json",
                MAX_LIST_BYTES + 1,
                "unexpected entry `index.json`".to_owned(),
            ),
            (
                &version,
                MAX_METADATA_BYTES + 1,
                format!("unexpected entry `{version}`"),
            ),
            (
                &layer,
                MAX_UNPACKED_BYTES,
                "its unpacked size exceeds the limit".to_owned(),
            ),
        ] {
            let oversized = RawEntry {
                claimed_size: Some(claimed_size),
                ..RawEntry::file(path, b"[]")
            };
            assert_eq!(refusal(|entries| entries.push(oversized)), reason);
        }
    }

    #[test]
    fn verify_archive_refuses_missing_parts_of_an_image() {
        const MISSING: &str = "a part of an image is missing";
        let other_layer = format!("{}/layer.tar", "b".repeat(64));
        let link_to = |target: &str| {
            let target = format!("../{target}");
            move |entries: &mut Vec<RawEntry>| {
                let path = entries[0].path.clone();
                entries[0] = RawEntry::link(tar::EntryType::Symlink, path, &target);
            }
        };
        assert_eq!(refusal(|entries| drop(entries.remove(0))), MISSING);
        assert_eq!(refusal(|entries| drop(entries.remove(1))), MISSING);
        assert_eq!(refusal(link_to(&other_layer)), MISSING, "dangling link");
        let own_path = intact_entries().remove(0).path;
        assert_eq!(refusal(link_to(&own_path)), MISSING, "link to itself");
        let circle = refusal(|entries| {
            link_to(&other_layer)(entries);
            let target = format!("../{}", entries[0].path);
            let back = RawEntry::link(tar::EntryType::Symlink, other_layer.clone(), &target);
            entries.push(back);
        });
        assert_eq!(circle, MISSING, "circle of links");
        assert_eq!(
            refusal(|entries| drop(entries.pop())),
            "the images differ from the manifest",
            "no list of images"
        );
    }

    #[test]
    fn verify_archive_refuses_wrong_digests() {
        let (hash, _) = config();
        assert_eq!(
            refusal(|entries| entries[1].contents = b"{\"rootfs\":[]}".to_vec()),
            format!("`{hash}.json` does not match its digest")
        );
        let blob = format!("blobs/sha256/{}", "a".repeat(64));
        assert_eq!(
            refusal(|entries| entries.push(RawEntry::file(blob.clone(), b"x"))),
            format!("`{blob}` does not match its digest")
        );
        // The manifest of `dm` names another image than the list of the engine.
        let mut manifest = manifest();
        manifest.images[0].id = format!("sha256:{}", "a".repeat(64));
        let file = archive_of(&manifest, &intact_entries());
        let error = verify_archive(file.as_slice(), test_progress()).unwrap_err();
        assert!(
            matches!(&error, ImageArchiveError::Corrupt(reason)
                if reason == "the images differ from the manifest"),
            "{error:?}"
        );
    }

    #[test]
    fn verify_archive_refuses_paths_out_of_the_archive() {
        let (hash, _) = config();
        for path in [
            "../../etc/passwd".to_owned(),
            "/etc/passwd".to_owned(),
            "..".to_owned(),
            "../manifest.json".to_owned(),
            "./manifest.json".to_owned(),
            format!("{hash}/../manifest.json"),
            format!("{hash}/../../layer.tar"),
            "blobs/sha256/../../index.json".to_owned(),
            MANIFEST_ENTRY.to_owned(),
        ] {
            assert_eq!(
                refusal(|entries| entries.push(RawEntry::file(path.clone(), b"[]"))),
                format!("unexpected entry `{path}`")
            );
        }
    }

    #[test]
    fn verify_archive_refuses_links_and_special_files() {
        use tar::EntryType;

        let other_layer = format!("{}/layer.tar", "b".repeat(64));
        let own_path = intact_entries().remove(0).path;
        let layer_target = format!("../{own_path}");
        for (kind, path, target) in [
            (EntryType::Symlink, other_layer.as_str(), "/etc/passwd"),
            (EntryType::Symlink, &other_layer, "../../../etc/passwd"),
            (EntryType::Symlink, &other_layer, "../manifest.json"),
            (EntryType::Symlink, &other_layer, ""),
            (EntryType::Symlink, "index.json", &layer_target),
            (EntryType::Symlink, "blobs", "/etc"),
            (EntryType::Link, &other_layer, &own_path),
            (EntryType::Link, &other_layer, &layer_target),
            (EntryType::Char, &other_layer, ""),
            (EntryType::Fifo, &other_layer, ""),
            (EntryType::Directory, &other_layer, ""),
            (EntryType::GNULongName, &other_layer, ""),
            (EntryType::XHeader, &other_layer, ""),
        ] {
            assert_eq!(
                refusal(|entries| entries.push(RawEntry::link(kind, path, target))),
                format!("unexpected entry `{path}`"),
                "{kind:?} to {target}"
            );
        }
    }

    #[test]
    fn verify_archive_refuses_duplicate_entries() {
        for index in 0..intact_entries().len() {
            let path = intact_entries()[index].path.clone();
            assert_eq!(
                refusal(|entries| entries.push(entries[index].clone())),
                format!("duplicate entry `{path}`")
            );
        }
        // A directory has the same name with and without a slash.
        let name = "b".repeat(64);
        let directories = refusal(|entries| {
            for path in [name.clone(), format!("{name}/")] {
                entries.push(RawEntry::link(tar::EntryType::Directory, path, ""));
            }
        });
        assert_eq!(directories, format!("duplicate entry `{name}`"));
    }

    #[test]
    fn verify_archive_refuses_a_repeated_image_and_other_compression() {
        let mut manifest = manifest();
        manifest.images.push(manifest.images[0].clone());
        let file = archive_of(&manifest, &intact_entries());
        let error = verify_archive(file.as_slice(), test_progress()).unwrap_err();
        assert!(
            matches!(&error, ImageArchiveError::Corrupt(reason)
                if reason == "the manifest names an image twice"),
            "{error:?}"
        );
        // The beginning of a gzip file, as `docker save | gzip` writes it, complete or not.
        for length in 0..12 {
            let gzip = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xed, 0xc1];
            let error = verify_archive(&gzip[..length], test_progress()).unwrap_err();
            assert!(
                matches!(error, ImageArchiveError::NotAnArchive),
                "{length}: {error:?}"
            );
        }
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
