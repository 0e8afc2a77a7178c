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
pub(super) const MAX_LIST_BYTES: u64 = 4 << 20;
/// The maximum size of the small files beside a layer, and of the OCI layout marker.
pub(super) const MAX_METADATA_BYTES: u64 = 64 << 10;
/// The maximum unpacked size of all entries together.
pub(super) const MAX_UNPACKED_BYTES: u64 = 64 << 30;
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

/// Returns the name of the layer to which a link leads: engines link identical layers.
fn linked_layer(target: &str) -> Option<&str> {
    let name = target.strip_prefix("../")?;
    let is_layer = matches!(EntryKind::from_path(name), Some(EntryKind::Layer))
        || name.strip_suffix(".tar").is_some_and(is_sha256_hex);
    is_layer.then_some(name)
}

/// Returns the error of an archive that lacks a part of an image.
fn missing_part() -> ImageArchiveError {
    ImageArchiveError::Corrupt("a part of an image is missing".into())
}

/// Checks the entries of an archive one by one, then all of them against the manifest.
#[derive(Debug, Default)]
pub(super) struct ArchiveValidator {
    entry_names: BTreeSet<String>,
    /// The layer to which each link leads, by the name of the link.
    links: BTreeMap<String, String>,
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
        let linked_layer = link.and_then(linked_layer);
        let fits = match (entry_type, kind) {
            (EntryType::Directory, EntryKind::Directory) => size == 0,
            (EntryType::Symlink, EntryKind::Layer) => linked_layer.is_some() && size == 0,
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
        if let (EntryType::Symlink, Some(layer)) = (entry_type, linked_layer) {
            self.links.insert(name.to_owned(), layer.to_owned());
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
        // An engine links to a file. A link to another link may lead nowhere.
        let is_file =
            |name: &String| self.entry_names.contains(name) && !self.links.contains_key(name);
        if !self.links.values().all(is_file) {
            return Err(missing_part());
        }
        let list: Vec<ListedImage> = self.parse_list(DOCKER_MANIFEST)?.ok_or_else(mismatch)?;
        let mut tagged = BTreeSet::new();
        for image in &list {
            if !self.entry_names.contains(&image.config)
                || !image
                    .layers
                    .iter()
                    .all(|layer| self.entry_names.contains(layer))
            {
                return Err(missing_part());
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
                    return Err(missing_part());
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
        for layer in [format!("{HASH}/layer.tar"), format!("{HASH}.tar")] {
            assert_eq!(linked_layer(&format!("../{layer}")), Some(layer.as_str()));
        }
        for target in [
            "../manifest.json".to_owned(),
            format!("../../{HASH}/layer.tar"),
            format!("{HASH}/layer.tar"),
        ] {
            assert_eq!(linked_layer(&target), None, "{target}");
        }
    }

    fn add_file(
        validator: &mut ArchiveValidator,
        path: &str,
        size: u64,
    ) -> Result<(), ImageArchiveError> {
        let mut contents = std::io::empty();
        validator.add_entry(
            EntryType::Regular,
            path.as_bytes(),
            None,
            size,
            &mut contents,
        )
    }

    /// Returns the reason for which an entry is refused.
    fn refusal(result: Result<(), ImageArchiveError>) -> String {
        match result {
            Err(ImageArchiveError::Corrupt(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn add_entry_refuses_lists_and_metadata_above_their_limits() {
        for (path, limit) in [
            ("manifest.json", MAX_LIST_BYTES),
            ("repositories", MAX_LIST_BYTES),
            ("index.json", MAX_LIST_BYTES),
            ("oci-layout", MAX_METADATA_BYTES),
            (&format!("{HASH}/VERSION"), MAX_METADATA_BYTES),
            (&format!("{HASH}/json"), MAX_METADATA_BYTES),
        ] {
            let mut validator = ArchiveValidator::default();
            let above = add_file(&mut validator, path, limit + 1);
            assert_eq!(refusal(above), format!("unexpected entry `{path}`"));
            add_file(&mut validator, path, limit).unwrap();
        }
    }

    #[test]
    fn add_entry_limits_the_total_size_and_the_number_of_entries() {
        const EXCEEDED: &str = "its unpacked size exceeds the limit";
        let layers = ["a", "b", "c"].map(|digit| format!("{}/layer.tar", digit.repeat(64)));
        let mut validator = ArchiveValidator::default();
        add_file(&mut validator, &layers[0], MAX_UNPACKED_BYTES - 1).unwrap();
        add_file(&mut validator, &layers[1], 1).unwrap();
        assert_eq!(refusal(add_file(&mut validator, &layers[2], 1)), EXCEEDED);
        let mut validator = ArchiveValidator::default();
        add_file(&mut validator, &layers[0], 1).unwrap();
        let overflow = add_file(&mut validator, &layers[1], u64::MAX);
        assert_eq!(refusal(overflow), EXCEEDED);
        let mut validator = ArchiveValidator {
            entry_names: (1..MAX_ENTRIES).map(|number| number.to_string()).collect(),
            ..ArchiveValidator::default()
        };
        add_file(&mut validator, &layers[0], 0).unwrap();
        assert_eq!(refusal(add_file(&mut validator, &layers[1], 0)), EXCEEDED);
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
