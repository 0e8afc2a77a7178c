//! Image references and registry prefixes.

use serde::{Deserialize, Serialize};

use super::{InvalidValue, string_newtype};

/// The maximum number of characters of a tag.
const TAG_MAX: usize = 128;

/// An image reference: `[registry/]path[:tag][@digest]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct ImageReference(String);

/// The prefix of an image's path when it is pulled from a mirror: `host[:port][/path]`, without a
/// scheme.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct RegistryPrefix(String);

string_newtype!(ImageReference, validate_image_reference, title: "Image reference",
    pattern: "^[A-Za-z0-9][A-Za-z0-9._:/-]*(@sha256:[0-9a-f]{64})?$");
string_newtype!(RegistryPrefix, validate_registry_prefix, title: "Registry prefix",
    pattern: "^[A-Za-z0-9][A-Za-z0-9.:-]*(/[a-z0-9._-]+)*$");

impl std::fmt::Display for ImageReference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl RegistryPrefix {
    /// Returns the host, with its port if it has one.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }
}

impl std::fmt::Display for RegistryPrefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

fn validate_image_reference(text: &str) -> Result<(), InvalidValue> {
    if text.is_empty() {
        return Err(InvalidValue::new("an image reference cannot be empty"));
    }
    if text.contains("://") {
        return Err(InvalidValue::new("an image reference has no scheme")
            .with_help("remove everything up to and including `//`"));
    }
    let (without_digest, digest) = match text.split_once('@') {
        Some((without_digest, digest)) => (without_digest, Some(digest)),
        None => (text, None),
    };
    if digest.is_some_and(|digest| !is_digest(digest)) {
        return Err(InvalidValue::new(
            "an image digest is `sha256:` followed by 64 hexadecimal digits",
        ));
    }
    // A colon after the last slash precedes the tag, a colon before it a port.
    let path_start = without_digest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match without_digest[path_start..].find(':') {
        Some(colon) => (
            &without_digest[..path_start + colon],
            Some(&without_digest[path_start + colon + 1..]),
        ),
        None => (without_digest, None),
    };
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Err(InvalidValue::new(
            "an image tag consists of at most 128 letters, digits, dots, dashes and underscores",
        ));
    }
    let path = match name.split_once('/') {
        Some((host, path)) if is_registry(host) => path,
        _ => name,
    };
    if path.split('/').all(is_path_component) {
        return Ok(());
    }
    let error = InvalidValue::new(
        "an image name consists of lower-case letters, digits, and single separators \
         between them",
    );
    let lowercase = name.to_lowercase();
    Err(
        if lowercase != name && validate_image_reference(&lowercase).is_ok() {
            error.with_help(format!("write `{}`", text.replacen(name, &lowercase, 1)))
        } else {
            error.with_help("for example `postgres:17` or `registry.example/team/postgres:17`")
        },
    )
}

fn validate_registry_prefix(text: &str) -> Result<(), InvalidValue> {
    if text.contains("://") {
        return Err(InvalidValue::new("a registry prefix has no scheme")
            .with_help("write the host, the port unless it is 443, and the path if any"));
    }
    let (host, path) = match text.split_once('/') {
        Some((host, path)) => (host, Some(path)),
        None => (text, None),
    };
    if is_host_and_port(host) && path.is_none_or(|path| path.split('/').all(is_path_component)) {
        return Ok(());
    }
    Err(
        InvalidValue::new("a registry prefix is `host[:port][/path]` without a trailing slash")
            .with_help("for example `registry.example:5000/mirror`"),
    )
}

/// Returns whether the first part of a reference is a registry, by Docker's rule.
fn is_registry(host: &str) -> bool {
    (host.contains(['.', ':']) || host == "localhost") && is_host_and_port(host)
}

fn is_host_and_port(text: &str) -> bool {
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    host.split('.').all(is_label)
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|number| number > 0))
}

/// Returns whether the text consists of alphanumeric parts, separated by `.`, `_`, `__` or any
/// number of dashes.
fn is_path_component(text: &str) -> bool {
    let is_alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(is_alphanumeric)
        && text.ends_with(is_alphanumeric)
        && text.split(is_alphanumeric).all(|separator| {
            matches!(separator, "" | "." | "_" | "__") || separator.chars().all(|c| c == '-')
        })
}

fn is_tag(text: &str) -> bool {
    let is_word_character = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.len() <= TAG_MAX
        && text.starts_with(is_word_character)
        && text
            .chars()
            .all(|c| is_word_character(c) || matches!(c, '.' | '-'))
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64
            && hex
                .chars()
                .all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
    })
}
