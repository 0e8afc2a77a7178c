//! Validation of the entries of an image archive beside `dm`'s own two: exactly the entries
//! that an engine's save writes, under exactly its names, each once.
//!
//! The engine reads the archive again by its own rules: it normalises paths, takes the last
//! of two entries of one name, and compares field names case-insensitively. Therefore every
//! entry that could be read in two ways is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tar::EntryType;

use super::error::ImageArchiveError;
use super::manifest::ArchiveManifest;
use crate::recipe::Sha256Digest;

/// The maximum size of an engine's list of images.
const MAX_LIST_BYTES: u64 = 4 << 20;
/// The maximum size of the small files beside a layer, and of the OCI layout marker.
const MAX_METADATA_BYTES: u64 = 64 << 10;
/// The maximum unpacked size of all entries together.
const MAX_UNPACKED_BYTES: u64 = 64 << 30;
/// The maximum number of entries.
const MAX_ENTRIES: usize = 100_000;

/// The engine's own list of images with their tags, which Docker's load reads.
const DOCKER_MANIFEST: &str = "manifest.json";
/// The list that old versions of Docker read.
const DOCKER_REPOSITORIES: &str = "repositories";
/// The list of an OCI layout.
const OCI_INDEX: &str = "index.json";

/// The kind of an entry, derived from its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EntryKind<'a> {
    Directory,
    /// A list of images, which is parsed.
    ImageList,
    /// A small file without image names.
    Metadata,
    /// A file that is named by its digest.
    Blob(&'a str),
    /// A layer in a directory.
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
        if let Some((directory, file)) = name.split_once('/') {
            return match file {
                "layer.tar" if is_sha256_hex(directory) => Some(Self::Layer),
                "VERSION" | "json" if is_sha256_hex(directory) => Some(Self::Metadata),
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

/// Returns whether a link leads to a layer: engines link identical layers.
fn is_link_to_layer(target: &str) -> bool {
    target.strip_prefix("../").is_some_and(|target| {
        matches!(EntryKind::from_path(target), Some(EntryKind::Layer))
            || target.strip_suffix(".tar").is_some_and(is_sha256_hex)
    })
}

/// Checks the entries of an archive one by one, then all of them against the manifest.
#[derive(Debug, Default)]
pub(super) struct ArchiveValidator {
    entry_names: BTreeSet<String>,
    total_bytes: u64,
    lists: BTreeMap<String, Vec<u8>>,
}

impl ArchiveValidator {
    /// Checks an entry and reads `contents` to its end.
    pub(super) fn add_entry(
        &mut self,
        entry_type: EntryType,
        path: &[u8],
        link: Option<&[u8]>,
        size: u64,
        contents: &mut impl Read,
    ) -> Result<(), ImageArchiveError> {
        let unexpected_entry = || {
            let path = String::from_utf8_lossy(path).into_owned();
            ImageArchiveError::Corrupt(format!("unexpected entry `{path}`"))
        };
        let path = std::str::from_utf8(path).map_err(|_| unexpected_entry())?;
        let name = match entry_type {
            EntryType::Directory => path.strip_suffix('/').unwrap_or(path),
            _ => path,
        };
        let kind = EntryKind::from_path(name).ok_or_else(unexpected_entry)?;
        let link = link.map(|link| std::str::from_utf8(link).unwrap_or_default());
        let fits = match (entry_type, kind) {
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
            return Err(unexpected_entry());
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
        match kind {
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

    /// Compares the tags that the engine would create with the images of the manifest.
    pub(super) fn check_manifest(
        &self,
        manifest: &ArchiveManifest,
    ) -> Result<(), ImageArchiveError> {
        let expected: BTreeMap<&str, &str> = manifest
            .images
            .iter()
            .map(|image| (image.reference.as_str(), image.id.as_str()))
            .collect();
        if expected.len() != manifest.images.len() {
            return Err(ImageArchiveError::Corrupt(
                "the manifest names an image twice".into(),
            ));
        }
        let mismatch = || ImageArchiveError::Corrupt("the images differ from the manifest".into());
        let list: Vec<ListedImage> = self.parse_list(DOCKER_MANIFEST)?.ok_or_else(mismatch)?;
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
                let id = expected.get(reference.as_str()).ok_or_else(mismatch)?;
                // An engine that identifies images by their manifests includes the manifest.
                let id = id.strip_prefix("sha256:").unwrap_or(id);
                let hash = image.config.strip_prefix("blobs/sha256/");
                let hash = hash.unwrap_or(image.config.trim_end_matches(".json"));
                let is_manifest = self.entry_names.contains(&format!("blobs/sha256/{id}"));
                if (hash != id && !is_manifest) || !tagged.insert(reference.as_str()) {
                    return Err(mismatch());
                }
            }
        }
        if tagged.len() != expected.len() {
            return Err(mismatch());
        }
        if let Some(repositories) =
            self.parse_list::<BTreeMap<String, BTreeMap<String, String>>>(DOCKER_REPOSITORIES)?
        {
            let repositories = repositories
                .iter()
                .flat_map(|(name, tags)| tags.keys().map(move |tag| format!("{name}:{tag}")));
            for reference in repositories {
                if !tagged.contains(reference.as_str()) {
                    return Err(mismatch());
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
                    let matches = match name.as_str() {
                        "io.containerd.image.name" => tagged.contains(short_reference(value)),
                        // Only a tag; the annotation above contains the name.
                        "org.opencontainers.image.ref.name" => {
                            let matches_tag = |reference: &&str| {
                                let tag = reference.rsplit_once(':').map(|(_, tag)| tag);
                                tag == Some(value) || *reference == short_reference(value)
                            };
                            tagged.iter().any(matches_tag)
                        }
                        _ => true,
                    };
                    if !matches {
                        return Err(mismatch());
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

/// Returns a reference in the short form that Docker shows.
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
    fn entry_kind_from_path_accepts_only_names_that_engines_write() {
        for (name, kind) in [
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
            assert_eq!(EntryKind::from_path(name), kind, "{name}");
        }
        assert!(is_link_to_layer(&format!("../{HASH}/layer.tar")));
        assert!(is_link_to_layer(&format!("../{HASH}.tar")));
        assert!(!is_link_to_layer("../manifest.json"));
        assert!(!is_link_to_layer(&format!("../../{HASH}/layer.tar")));
        assert!(!is_link_to_layer(&format!("{HASH}/layer.tar")));
    }

    #[test]
    fn listed_image_refuses_ambiguous_fields() {
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
