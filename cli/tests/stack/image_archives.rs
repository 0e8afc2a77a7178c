//! Tests of `dm images load` with archives whose structure was changed. Their checksum is correct.

use bollard::query_parameters::RemoveImageOptions;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use crate::harness::{Engine, Project};
use crate::test_list;

test_list![changed_image_archives_are_refused_and_load_no_image];

/// The reference of the image in the archives.
const REFERENCE: &str = "dm/postgres:archive-test";

/// An entry of an archive, with any name and type.
#[derive(Clone)]
struct Entry {
    path: String,
    kind: EntryType,
    target: String,
    contents: Vec<u8>,
}

impl Entry {
    fn file(path: impl Into<String>, contents: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.into(),
            kind: EntryType::Regular,
            target: String::new(),
            contents: contents.into(),
        }
    }

    fn symlink(path: impl Into<String>, target: impl Into<String>) -> Self {
        Self {
            kind: EntryType::Symlink,
            target: target.into(),
            ..Self::file(path, Vec::<u8>::new())
        }
    }

    /// Writes the entry. The tar library refuses to write paths out of an archive.
    fn append_to(&self, archive: &mut Builder<Vec<u8>>) {
        let mut header = Header::new_gnu();
        header.set_entry_type(self.kind);
        header.set_mode(0o644);
        header.set_size(self.contents.len() as u64);
        let fields = header.as_old_mut();
        fields.name[..self.path.len()].copy_from_slice(self.path.as_bytes());
        fields.linkname[..self.target.len()].copy_from_slice(self.target.as_bytes());
        header.set_cksum();
        archive.append(&header, self.contents.as_slice()).unwrap();
    }
}

fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// Returns the entries of an archive of one image: the manifest of `dm`, a layer, the
/// configuration, and the list of the engine.
fn intact_entries() -> Vec<Entry> {
    let mut layer = Builder::new(Vec::new());
    Entry::file("file", "dunder mifflin").append_to(&mut layer);
    let layer = layer.into_inner().unwrap();
    let layer_hash = sha256(&layer);
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_hash}")]},
    });
    let config = config.to_string();
    let config_hash = sha256(config.as_bytes());
    let manifest = json!({
        "format": "dm.image-archive/1",
        "created": "2026-11-26T10:00:00Z",
        "images": [{
            "component": "postgres",
            "reference": REFERENCE,
            "id": format!("sha256:{config_hash}"),
            "digest": null,
            "golden": false,
        }],
    });
    let layer_path = format!("{layer_hash}/layer.tar");
    let config_path = format!("{config_hash}.json");
    let list = json!([{"Config": config_path, "RepoTags": [REFERENCE], "Layers": [layer_path]}]);
    vec![
        Entry::file("dm-images.json", manifest.to_string()),
        Entry::file(layer_path, layer),
        Entry::file(config_path, config),
        Entry::file("manifest.json", list.to_string()),
    ]
}

/// Returns an archive of these entries, with a correct checksum as its last entry.
fn archive_of(entries: &[Entry]) -> Vec<u8> {
    let mut archive = Builder::new(Vec::new());
    let mut hash = Sha256::new();
    for entry in entries {
        hash.update((entry.path.len() as u64).to_be_bytes());
        hash.update(&entry.path);
        hash.update((entry.contents.len() as u64).to_be_bytes());
        hash.update(&entry.contents);
        entry.append_to(&mut archive);
    }
    let checksum = format!("{:x}", hash.finalize());
    Entry::file("dm-images.sha256", checksum).append_to(&mut archive);
    zstd_frame(&archive.into_inner().unwrap())
}

/// Returns a zstd frame with uncompressed blocks (RFC 8878, section 3.1.1).
fn zstd_frame(contents: &[u8]) -> Vec<u8> {
    const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    /// A single segment whose size has 4 bytes.
    const DESCRIPTOR: u8 = 0xa0;
    const MAX_BLOCK: usize = 64 * 1024;
    let mut frame = MAGIC.to_vec();
    frame.push(DESCRIPTOR);
    frame.extend(u32::try_from(contents.len()).unwrap().to_le_bytes());
    let mut blocks = contents.chunks(MAX_BLOCK).peekable();
    while let Some(block) = blocks.next() {
        let is_last = u32::from(blocks.peek().is_none());
        let size = u32::try_from(block.len()).unwrap();
        frame.extend_from_slice(&((size << 3) | is_last).to_le_bytes()[..3]);
        frame.extend_from_slice(block);
    }
    frame
}

/// Returns an archive with changed entries and a correct checksum.
fn changed_archive(change: impl FnOnce(&mut Vec<Entry>)) -> Vec<u8> {
    let mut entries = intact_entries();
    change(&mut entries);
    archive_of(&entries)
}

async fn has_image(engine: &Engine) -> bool {
    engine.0.inspect_image(REFERENCE).await.is_ok()
}

async fn remove_image(engine: &Engine) -> Result<(), bollard::errors::Error> {
    let removal = engine
        .0
        .remove_image(REFERENCE, None::<RemoveImageOptions>, None);
    removal.await.map(drop)
}

async fn changed_image_archives_are_refused_and_load_no_image() {
    let project = Project::without_images("archives");
    let engine = Engine::connect();
    // An earlier run that was killed or failed has left the image.
    let _ = remove_image(&engine).await;
    let path = project.root().join("images.tar.zst");
    let load = |file: &[u8]| {
        std::fs::write(&path, file).unwrap();
        project.dm(&["images", "load", "images.tar.zst"]).run()
    };
    let other_layer = format!("{}/layer.tar", "b".repeat(64));
    let whole = archive_of(&intact_entries());
    for (name, file, reason) in [
        (
            "missing layer",
            changed_archive(|entries| drop(entries.remove(1))),
            "a part of an image is missing",
        ),
        (
            "link to a missing layer",
            changed_archive(|entries| {
                let path = entries[1].path.clone();
                entries[1] = Entry::symlink(path, format!("../{other_layer}"));
            }),
            "a part of an image is missing",
        ),
        (
            "link out of the archive",
            changed_archive(|entries| {
                entries.push(Entry::symlink(&other_layer, "../../etc/passwd"));
            }),
            "unexpected entry",
        ),
        (
            "other configuration than its digest",
            changed_archive(|entries| entries[2].contents.push(b' ')),
            "does not match its digest",
        ),
        (
            "other image than in the manifest",
            changed_archive(|entries| {
                let text = String::from_utf8(entries[0].contents.clone()).unwrap();
                let id = entries[2].path.trim_end_matches(".json");
                entries[0].contents = text.replace(id, &"a".repeat(64)).into_bytes();
            }),
            "the images differ from the manifest",
        ),
        (
            "path out of the archive",
            changed_archive(|entries| entries.push(Entry::file("../../etc/passwd", "x"))),
            "unexpected entry `../../etc/passwd`",
        ),
        (
            "duplicate entry",
            changed_archive(|entries| entries.push(entries[1].clone())),
            "duplicate entry",
        ),
        (
            "truncated file",
            whole[..whole.len() - 10].to_vec(),
            "it is truncated",
        ),
        (
            "truncated gzip file",
            vec![0x1f, 0x8b, 8, 0, 0, 0],
            "it was not written by dm images save",
        ),
    ] {
        let output = load(&file)
            .exits(2)
            .stderr_contains("could not use the image archive images.tar.zst: ")
            .stderr_contains(reason);
        assert!(!has_image(&engine).await, "{name}: {output}");
    }
    // The same archive without a change is loaded.
    load(&whole).exits(0);
    assert!(has_image(&engine).await);
    remove_image(&engine).await.unwrap();
}
