//! References of container images, and prefixes of registries.

use serde::{Deserialize, Serialize};

use super::{InvalidValue, string_newtype};

/// The most characters of a tag.
const TAG_MAX: usize = 128;

/// A reference of an image: `[registry/]path[:tag][@digest]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct ImageReference(String);

/// What stands before an image's path when it comes from a mirror:
/// `host[:port][/path]`, without a scheme.
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
    /// The host, with its port if it has one.
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
    let (named, digest) = match text.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (text, None),
    };
    if digest.is_some_and(|digest| !is_digest(digest)) {
        return Err(InvalidValue::new(
            "an image's digest is `sha256:` and 64 hexadecimal digits",
        ));
    }
    // A colon after the last slash begins the tag; before it, a port.
    let path_start = named.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match named[path_start..].find(':') {
        Some(colon) => (
            &named[..path_start + colon],
            Some(&named[path_start + colon + 1..]),
        ),
        None => (named, None),
    };
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Err(InvalidValue::new(
            "an image's tag is made of letters, digits, dots, dashes and underscores, \
             at most 128 of them",
        ));
    }
    let path = match name.split_once('/') {
        Some((host, path)) if is_registry(host) => path,
        _ => name,
    };
    if path.split('/').all(is_path_component) {
        return Ok(());
    }
    let refusal = InvalidValue::new(
        "an image's name is made of lower-case letters, digits, and single separators \
         between them",
    );
    let lower = name.to_lowercase();
    Err(
        if lower != name && validate_image_reference(&lower).is_ok() {
            refusal.with_help(format!("write `{}`", text.replacen(name, &lower, 1)))
        } else {
            refusal.with_help("for example `postgres:17` or `registry.example/team/postgres:17`")
        },
    )
}

fn validate_registry_prefix(text: &str) -> Result<(), InvalidValue> {
    if text.contains("://") {
        return Err(InvalidValue::new("a registry's prefix has no scheme")
            .with_help("write the host, its port if it isn't 443, and a path if there is one"));
    }
    let (host, path) = match text.split_once('/') {
        Some((host, path)) => (host, Some(path)),
        None => (text, None),
    };
    if is_host_and_port(host) && path.is_none_or(|path| path.split('/').all(is_path_component)) {
        return Ok(());
    }
    Err(InvalidValue::new(
        "a registry's prefix is `host[:port][/path]`, without a slash at its end",
    )
    .with_help("for example `registry.example:5000/mirror`"))
}

/// Docker's rule for telling a registry from the first part of a path.
fn is_registry(host: &str) -> bool {
    (host.contains(['.', ':']) || host == "localhost") && is_host_and_port(host)
}

fn is_host_and_port(text: &str) -> bool {
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    host.split('.').all(label) && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|p| p > 0))
}

/// Alphanumeric runs with `.`, `_`, `__` or any number of dashes between.
fn is_path_component(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(alphanumeric)
        && text.ends_with(alphanumeric)
        && text.split(alphanumeric).all(|separator| {
            matches!(separator, "" | "." | "_" | "__") || separator.chars().all(|c| c == '-')
        })
}

fn is_tag(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.len() <= TAG_MAX
        && text.starts_with(word)
        && text.chars().all(|c| word(c) || matches!(c, '.' | '-'))
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64
            && hex
                .chars()
                .all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
    })
}
