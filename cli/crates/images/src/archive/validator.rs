//! What a file of images may hold beside `dm`'s own two entries: what an engine's save gives,
//! under exactly its names, each once.
//!
//! The engine reads the file again by its own rules: it cleans paths, takes the last of two
//! entries of one name, and compares the names of fields without their case. So nothing is
//! let through that could be read in two ways.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tar::EntryType;

use super::error::ImageArchiveError;
use super::manifest::ArchiveManifest;
use crate::recipe::Sha256Digest;

/// An engine's list of images is never larger.
const MAX_LIST_BYTES: u64 = 4 << 20;
/// The small files beside a layer, and the mark of an OCI layout.
const MAX_METADATA_BYTES: u64 = 64 << 10;
/// What all entries together may unpack to.
const MAX_UNPACKED_BYTES: u64 = 64 << 30;
/// How many entries there may be.
const MAX_ENTRIES: usize = 100_000;

/// The engine's own list of images, with their tags. Docker's load reads it.
const DOCKER_MANIFEST: &str = "manifest.json";
/// The list of old versions of Docker.
const DOCKER_REPOSITORIES: &str = "repositories";
/// The list of an OCI layout.
const OCI_INDEX: &str = "index.json";

/// What an entry is by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EntryKind<'a> {
    Directory,
    /// A list, to be read.
    ImageList,
    /// A small file that says nothing of names.
    Metadata,
    /// A file that is called by its digest.
    Blob(&'a str),
    /// A layer in a folder.
    Layer,
}

impl<'a> EntryKind<'a> {
    fn from_path(name: &'a str) -> Option<Self> {
        if let DOCKER_MANIFEST | DOCKER_REPOSITORIES | OCI_INDEX = name {
            return Some(Self::ImageList);
        }
        if name == "oci-layout" {
            return Some(Self::Metadata);
        }
        if matches!(name, "blobs" | "blobs/sha256") || is_sha256_hex(name) {
            return Some(Self::Directory);
        }
        if let Some(hash) = name.strip_prefix("blobs/sha256/") {
            return is_sha256_hex(hash).then_some(Self::Blob(hash));
        }
        if let Some((folder, file)) = name.split_once('/') {
            return match file {
                "layer.tar" if is_sha256_hex(folder) => Some(Self::Layer),
                "VERSION" | "json" if is_sha256_hex(folder) => Some(Self::Metadata),
                _ => None,
            };
        }
        let hash = name.strip_suffix(".json").or(name.strip_suffix(".tar"))?;
        is_sha256_hex(hash).then_some(Self::Blob(hash))
    }
}

fn is_sha256_hex(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

/// Engines link layers that are alike.
fn is_link_to_layer(target: &str) -> bool {
    target.strip_prefix("../").is_some_and(|target| {
        matches!(EntryKind::from_path(target), Some(EntryKind::Layer))
            || target.strip_suffix(".tar").is_some_and(is_sha256_hex)
    })
}

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct ArchiveValidator {
    entry_names: BTreeSet<String>,
    total_bytes: u64,
    lists: BTreeMap<String, Vec<u8>>,
}

impl ArchiveValidator {
    /// Takes an entry; `contents` is read to its end.
    pub(super) fn add_entry(
        &mut self,
        kind: EntryType,
        path: &[u8],
        link: Option<&[u8]>,
        size: u64,
        contents: &mut impl Read,
    ) -> Result<(), ImageArchiveError> {
        let unknown = || {
            let path = String::from_utf8_lossy(path).into_owned();
            ImageArchiveError::Corrupt(format!("unexpected entry `{path}`"))
        };
        let path = std::str::from_utf8(path).map_err(|_| unknown())?;
        let name = match kind {
            EntryType::Directory => path.strip_suffix('/').unwrap_or(path),
            _ => path,
        };
        let place = EntryKind::from_path(name).ok_or_else(unknown)?;
        let link = link.map(|link| std::str::from_utf8(link).unwrap_or_default());
        let fits = match (kind, place) {
            (EntryType::Directory, EntryKind::Directory) => size == 0,
            (EntryType::Symlink, EntryKind::Layer) => {
                link.is_some_and(is_link_to_layer) && size == 0
            }
            (EntryType::Regular, EntryKind::ImageList) => size <= MAX_LIST_BYTES,
            (EntryType::Regular, EntryKind::Metadata) => size <= MAX_METADATA_BYTES,
            (EntryType::Regular, EntryKind::Blob(_) | EntryKind::Layer) => true,
            _ => false,
        };
        if !fits {
            return Err(unknown());
        }
        if !self.entry_names.insert(name.to_owned()) {
            return Err(ImageArchiveError::Corrupt(format!(
                "duplicate entry `{name}`"
            )));
        }
        self.total_bytes = self.total_bytes.saturating_add(size);
        if self.total_bytes > MAX_UNPACKED_BYTES || self.entry_names.len() > MAX_ENTRIES {
            return Err(ImageArchiveError::Corrupt(
                "its unpacked size exceeds the limit".into(),
            ));
        }
        match place {
            EntryKind::ImageList => {
                let mut list = Vec::new();
                contents.read_to_end(&mut list)?;
                self.lists.insert(name.to_owned(), list);
            }
            EntryKind::Blob(hash) => {
                let mut digest = Sha256::new();
                std::io::copy(contents, &mut digest)?;
                if Sha256Digest::from_hasher(digest).as_str() != hash {
                    return Err(ImageArchiveError::Corrupt(format!(
                        "`{name}` does not match its digest"
                    )));
                }
            }
            EntryKind::Directory | EntryKind::Metadata | EntryKind::Layer => {
                std::io::copy(contents, &mut std::io::sink())?;
            }
        }
        Ok(())
    }

    /// Compares what the engine would tag with what the manifest names.
    pub(super) fn check_manifest(
        &self,
        manifest: &ArchiveManifest,
    ) -> Result<(), ImageArchiveError> {
        let ours: BTreeMap<&str, &str> = manifest
            .images
            .iter()
            .map(|image| (image.reference.as_str(), image.id.as_str()))
            .collect();
        if ours.len() != manifest.images.len() {
            return Err(ImageArchiveError::Corrupt(
                "the manifest names an image twice".into(),
            ));
        }
        let others = || ImageArchiveError::Corrupt("the images differ from the manifest".into());
        let list: Vec<ListedImage> = self.parse_list(DOCKER_MANIFEST)?.ok_or_else(others)?;
        let mut tagged = BTreeSet::new();
        for image in &list {
            if !self.entry_names.contains(&image.config)
                || !image
                    .layers
                    .iter()
                    .all(|layer| self.entry_names.contains(layer))
            {
                return Err(ImageArchiveError::Corrupt(
                    "a part of an image is missing".into(),
                ));
            }
            for reference in image.references.iter().flatten() {
                let id = ours.get(reference.as_str()).ok_or_else(others)?;
                // An engine that names images by their manifests has that among the parts.
                let id = id.strip_prefix("sha256:").unwrap_or(id);
                let hash = image.config.strip_prefix("blobs/sha256/");
                let hash = hash.unwrap_or(image.config.trim_end_matches(".json"));
                let is_manifest = self.entry_names.contains(&format!("blobs/sha256/{id}"));
                if (hash != id && !is_manifest) || !tagged.insert(reference.as_str()) {
                    return Err(others());
                }
            }
        }
        if tagged.len() != ours.len() {
            return Err(others());
        }
        if let Some(old) =
            self.parse_list::<BTreeMap<String, BTreeMap<String, String>>>(DOCKER_REPOSITORIES)?
        {
            let old = old
                .iter()
                .flat_map(|(name, tags)| tags.keys().map(move |tag| format!("{name}:{tag}")));
            for reference in old {
                if !tagged.contains(reference.as_str()) {
                    return Err(others());
                }
            }
        }
        if let Some(index) = self.parse_list::<OciIndex>(OCI_INDEX)? {
            for descriptor in index.manifests {
                let hash = descriptor.digest.strip_prefix("sha256:");
                let part = hash.map(|hash| format!("blobs/sha256/{hash}"));
                if !part.is_some_and(|part| self.entry_names.contains(&part)) {
                    return Err(ImageArchiveError::Corrupt(
                        "a part of an image is missing".into(),
                    ));
                }
                for (name, value) in &descriptor.annotations {
                    let known = match name.as_str() {
                        "io.containerd.image.name" => tagged.contains(short_reference(value)),
                        // A tag alone; the name is in the one above.
                        "org.opencontainers.image.ref.name" => {
                            let is_of = |reference: &&str| {
                                let tag = reference.rsplit_once(':').map(|(_, tag)| tag);
                                tag == Some(value) || *reference == short_reference(value)
                            };
                            tagged.iter().any(is_of)
                        }
                        _ => true,
                    };
                    if !known {
                        return Err(others());
                    }
                }
            }
        }
        Ok(())
    }

    fn parse_list<T: for<'a> Deserialize<'a>>(
        &self,
        name: &str,
    ) -> Result<Option<T>, ImageArchiveError> {
        let Some(list) = self.lists.get(name) else {
            return Ok(None);
        };
        serde_json::from_slice(list)
            .map(Some)
            .map_err(|error| ImageArchiveError::Corrupt(format!("{name}: {error}")))
    }
}

/// A reference as Docker shows it.
fn short_reference(reference: &str) -> &str {
    let reference = reference.strip_prefix("docker.io/").unwrap_or(reference);
    reference.strip_prefix("library/").unwrap_or(reference)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListedImage {
    #[serde(rename = "Config")]
    config: String,
    #[serde(rename = "RepoTags")]
    references: Option<Vec<String>>,
    #[serde(rename = "Layers")]
    layers: Vec<String>,
    #[serde(rename = "Parent", default)]
    _parent: serde::de::IgnoredAny,
    #[serde(rename = "LayerSources", default)]
    _sources: serde::de::IgnoredAny,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct OciIndex {
    manifests: Vec<OciDescriptor>,
    #[serde(rename = "schemaVersion", default)]
    _schema_version: serde::de::IgnoredAny,
    #[serde(rename = "mediaType", default)]
    _media_type: serde::de::IgnoredAny,
    #[serde(rename = "annotations", default)]
    _annotations: serde::de::IgnoredAny,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OciDescriptor {
    digest: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(rename = "mediaType", default)]
    _media_type: serde::de::IgnoredAny,
    #[serde(rename = "size", default)]
    _size: serde::de::IgnoredAny,
    #[serde(rename = "platform", default)]
    _platform: serde::de::IgnoredAny,
    #[serde(rename = "artifactType", default)]
    _artifact_type: serde::de::IgnoredAny,
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_name_is_one_that_engines_write_or_none() {
        for (name, place) in [
            ("manifest.json", Some(EntryKind::ImageList)),
            ("oci-layout", Some(EntryKind::Metadata)),
            (HASH, Some(EntryKind::Directory)),
            (&format!("{HASH}/layer.tar"), Some(EntryKind::Layer)),
            (&format!("{HASH}/json"), Some(EntryKind::Metadata)),
            (&format!("{HASH}.json"), Some(EntryKind::Blob(HASH))),
            (&format!("{HASH}.tar"), Some(EntryKind::Blob(HASH))),
            (&format!("blobs/sha256/{HASH}"), Some(EntryKind::Blob(HASH))),
            ("./manifest.json", None),
            ("/manifest.json", None),
            ("a/../manifest.json", None),
            ("Manifest.json", None),
            ("blobs/sha256/../../manifest.json", None),
            (&format!("{}/json", HASH.to_uppercase()), None),
            (&format!("{HASH}/../manifest.json"), None),
            ("", None),
        ] {
            assert_eq!(EntryKind::from_path(name), place, "{name}");
        }
        assert!(is_link_to_layer(&format!("../{HASH}/layer.tar")));
        assert!(is_link_to_layer(&format!("../{HASH}.tar")));
        assert!(!is_link_to_layer("../manifest.json"));
        assert!(!is_link_to_layer(&format!("../../{HASH}/layer.tar")));
        assert!(!is_link_to_layer(&format!("{HASH}/layer.tar")));
    }

    #[test]
    fn a_list_that_engines_read_in_another_way_is_refused() {
        for list in [
            r#"[{"Config":"c","Layers":[],"RepoTags":["a:1"],"repotags":["debian:13"]}]"#,
            r#"[{"Config":"c","Layers":[],"RepoTags":["a:1"],"RepoTags":["debian:13"]}]"#,
        ] {
            assert!(
                serde_json::from_str::<Vec<ListedImage>>(list).is_err(),
                "{list}"
            );
        }
    }
}
