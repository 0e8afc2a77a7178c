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

use super::fault::Fault;
use super::manifest::Manifest;
use crate::recipe::Digest;

/// An engine's list of images is never larger.
const LIST_LIMIT: u64 = 4 << 20;
/// The small files beside a layer, and the mark of an OCI layout.
const NOTE_LIMIT: u64 = 64 << 10;
/// What all entries together may unpack to.
const TOTAL_LIMIT: u64 = 64 << 30;
/// How many entries there may be.
const COUNT_LIMIT: usize = 100_000;

/// The engine's own list of images, with their tags. Docker's load reads it.
const LIST: &str = "manifest.json";
/// The list of old versions of Docker.
const OLD_LIST: &str = "repositories";
/// The list of an OCI layout.
const INDEX: &str = "index.json";

/// What an entry is by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place<'a> {
    Folder,
    /// A list, to be read.
    List,
    /// A small file that says nothing of names.
    Note,
    /// A file that is called by its digest.
    Hashed(&'a str),
    /// A layer in a folder.
    Layer,
}

impl<'a> Place<'a> {
    fn of(name: &'a str) -> Option<Self> {
        if let LIST | OLD_LIST | INDEX = name {
            return Some(Self::List);
        }
        if name == "oci-layout" {
            return Some(Self::Note);
        }
        if matches!(name, "blobs" | "blobs/sha256") || is_hash(name) {
            return Some(Self::Folder);
        }
        if let Some(hash) = name.strip_prefix("blobs/sha256/") {
            return is_hash(hash).then_some(Self::Hashed(hash));
        }
        if let Some((folder, file)) = name.split_once('/') {
            return match file {
                "layer.tar" if is_hash(folder) => Some(Self::Layer),
                "VERSION" | "json" if is_hash(folder) => Some(Self::Note),
                _ => None,
            };
        }
        let hash = name.strip_suffix(".json").or(name.strip_suffix(".tar"))?;
        is_hash(hash).then_some(Self::Hashed(hash))
    }
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

/// Engines link layers that are alike.
fn is_link_to_layer(target: &str) -> bool {
    target.strip_prefix("../").is_some_and(|target| {
        matches!(Place::of(target), Some(Place::Layer))
            || target.strip_suffix(".tar").is_some_and(is_hash)
    })
}

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Contents {
    names: BTreeSet<String>,
    total: u64,
    lists: BTreeMap<String, Vec<u8>>,
}

impl Contents {
    /// Takes an entry; `contents` is read to its end.
    pub(super) fn take(
        &mut self,
        kind: EntryType,
        path: &[u8],
        link: Option<&[u8]>,
        size: u64,
        contents: &mut impl Read,
    ) -> Result<(), Fault> {
        let unknown = || {
            let path = String::from_utf8_lossy(path).into_owned();
            Fault::Damaged(format!("unexpected entry `{path}`"))
        };
        let path = std::str::from_utf8(path).map_err(|_| unknown())?;
        let name = match kind {
            EntryType::Directory => path.strip_suffix('/').unwrap_or(path),
            _ => path,
        };
        let place = Place::of(name).ok_or_else(unknown)?;
        let link = link.map(|link| std::str::from_utf8(link).unwrap_or_default());
        let fits = match (kind, place) {
            (EntryType::Directory, Place::Folder) => size == 0,
            (EntryType::Symlink, Place::Layer) => link.is_some_and(is_link_to_layer) && size == 0,
            (EntryType::Regular, Place::List) => size <= LIST_LIMIT,
            (EntryType::Regular, Place::Note) => size <= NOTE_LIMIT,
            (EntryType::Regular, Place::Hashed(_) | Place::Layer) => true,
            _ => false,
        };
        if !fits {
            return Err(unknown());
        }
        if !self.names.insert(name.to_owned()) {
            return Err(Fault::Damaged(format!("duplicate entry `{name}`")));
        }
        self.total = self.total.saturating_add(size);
        if self.total > TOTAL_LIMIT || self.names.len() > COUNT_LIMIT {
            return Err(Fault::Damaged("its unpacked size exceeds the limit".into()));
        }
        match place {
            Place::List => {
                let mut list = Vec::new();
                contents.read_to_end(&mut list)?;
                self.lists.insert(name.to_owned(), list);
            }
            Place::Hashed(hash) => {
                let mut digest = Sha256::new();
                std::io::copy(contents, &mut digest)?;
                if Digest::from_hash(digest).as_str() != hash {
                    return Err(Fault::Damaged(format!(
                        "`{name}` does not match its digest"
                    )));
                }
            }
            Place::Folder | Place::Note | Place::Layer => {
                std::io::copy(contents, &mut std::io::sink())?;
            }
        }
        Ok(())
    }

    /// Compares what the engine would tag with what the manifest names.
    pub(super) fn check(&self, manifest: &Manifest) -> Result<(), Fault> {
        let ours: BTreeMap<&str, &str> = manifest
            .images
            .iter()
            .map(|image| (image.reference.as_str(), image.id.as_str()))
            .collect();
        if ours.len() != manifest.images.len() {
            return Err(Fault::Damaged("the manifest names an image twice".into()));
        }
        let others = || Fault::Damaged("the images differ from the manifest".into());
        let list: Vec<Listed> = self.list(LIST)?.ok_or_else(others)?;
        let mut tagged = BTreeSet::new();
        for image in &list {
            if !self.names.contains(&image.config)
                || !image.layers.iter().all(|layer| self.names.contains(layer))
            {
                return Err(Fault::Damaged("a part of an image is missing".into()));
            }
            for reference in image.references.iter().flatten() {
                let id = ours.get(reference.as_str()).ok_or_else(others)?;
                // An engine that names images by their manifests has that among the parts.
                let id = id.strip_prefix("sha256:").unwrap_or(id);
                let hash = image.config.strip_prefix("blobs/sha256/");
                let hash = hash.unwrap_or(image.config.trim_end_matches(".json"));
                let is_manifest = self.names.contains(&format!("blobs/sha256/{id}"));
                if (hash != id && !is_manifest) || !tagged.insert(reference.as_str()) {
                    return Err(others());
                }
            }
        }
        if tagged.len() != ours.len() {
            return Err(others());
        }
        if let Some(old) = self.list::<BTreeMap<String, BTreeMap<String, String>>>(OLD_LIST)? {
            let old = old
                .iter()
                .flat_map(|(name, tags)| tags.keys().map(move |tag| format!("{name}:{tag}")));
            for reference in old {
                if !tagged.contains(reference.as_str()) {
                    return Err(others());
                }
            }
        }
        if let Some(index) = self.list::<Index>(INDEX)? {
            for descriptor in index.manifests {
                let hash = descriptor.digest.strip_prefix("sha256:");
                let part = hash.map(|hash| format!("blobs/sha256/{hash}"));
                if !part.is_some_and(|part| self.names.contains(&part)) {
                    return Err(Fault::Damaged("a part of an image is missing".into()));
                }
                for (name, value) in &descriptor.annotations {
                    let known = match name.as_str() {
                        "io.containerd.image.name" => tagged.contains(familiar(value)),
                        // A tag alone; the name is in the one above.
                        "org.opencontainers.image.ref.name" => {
                            let is_of = |reference: &&str| {
                                let tag = reference.rsplit_once(':').map(|(_, tag)| tag);
                                tag == Some(value) || *reference == familiar(value)
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

    fn list<T: for<'a> Deserialize<'a>>(&self, name: &str) -> Result<Option<T>, Fault> {
        let Some(list) = self.lists.get(name) else {
            return Ok(None);
        };
        serde_json::from_slice(list)
            .map(Some)
            .map_err(|error| Fault::Damaged(format!("{name}: {error}")))
    }
}

/// A reference as Docker shows it.
fn familiar(reference: &str) -> &str {
    let reference = reference.strip_prefix("docker.io/").unwrap_or(reference);
    reference.strip_prefix("library/").unwrap_or(reference)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
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
struct Index {
    manifests: Vec<Descriptor>,
    #[serde(rename = "schemaVersion", default)]
    _schema_version: serde::de::IgnoredAny,
    #[serde(rename = "mediaType", default)]
    _media_type: serde::de::IgnoredAny,
    #[serde(rename = "annotations", default)]
    _annotations: serde::de::IgnoredAny,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Descriptor {
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
            ("manifest.json", Some(Place::List)),
            ("oci-layout", Some(Place::Note)),
            (HASH, Some(Place::Folder)),
            (&format!("{HASH}/layer.tar"), Some(Place::Layer)),
            (&format!("{HASH}/json"), Some(Place::Note)),
            (&format!("{HASH}.json"), Some(Place::Hashed(HASH))),
            (&format!("{HASH}.tar"), Some(Place::Hashed(HASH))),
            (&format!("blobs/sha256/{HASH}"), Some(Place::Hashed(HASH))),
            ("./manifest.json", None),
            ("/manifest.json", None),
            ("a/../manifest.json", None),
            ("Manifest.json", None),
            ("blobs/sha256/../../manifest.json", None),
            (&format!("{}/json", HASH.to_uppercase()), None),
            (&format!("{HASH}/../manifest.json"), None),
            ("", None),
        ] {
            assert_eq!(Place::of(name), place, "{name}");
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
            assert!(serde_json::from_str::<Vec<Listed>>(list).is_err(), "{list}");
        }
    }
}
