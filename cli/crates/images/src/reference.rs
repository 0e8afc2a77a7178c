//! References to images in registries, and how a mirror changes them.

use std::fmt;

/// The registry of a reference that names none.
const DEFAULT_REGISTRY: &str = "docker.io";

/// A reference to an image: `[registry/]repository[:tag|@digest]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RegistryReference {
    registry: Option<String>,
    repository: String,
    /// With its separator, `:17` or `@sha256:…`.
    version_suffix: String,
}

impl RegistryReference {
    /// Parses a reference. Without a tag or digest it means `:latest`, because engines would
    /// otherwise pull all tags.
    #[must_use]
    pub(crate) fn parse(text: &str) -> Self {
        let (registry, rest) = match text.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
                (Some(first.to_owned()), rest)
            }
            _ => (None, text),
        };
        let separator = rest.find('@').or_else(|| {
            rest.rfind(':')
                .filter(|colon| !rest[*colon..].contains('/'))
        });
        let (repository, version) =
            separator.map_or((rest, ":latest"), |separator| rest.split_at(separator));
        Self {
            registry,
            repository: repository.to_owned(),
            version_suffix: version.to_owned(),
        }
    }

    /// Returns the registry: the host and the optional port.
    #[must_use]
    pub(crate) fn registry(&self) -> &str {
        self.registry.as_deref().unwrap_or(DEFAULT_REGISTRY)
    }

    /// Returns the repository with its registry, without tag and digest.
    #[must_use]
    pub(crate) fn qualified_repository(&self) -> String {
        format!("{}/{}", self.registry(), self.repository)
    }

    /// Returns a reference to another version of the same repository, by digest.
    #[must_use]
    pub(crate) fn with_digest(&self, digest: &str) -> Self {
        Self {
            version_suffix: format!("@{digest}"),
            ..self.clone()
        }
    }

    /// Returns whether the version is a digest.
    #[must_use]
    pub(crate) fn has_digest(&self) -> bool {
        self.version_suffix.starts_with('@')
    }

    /// Returns whether the image is pulled from a registry, `host[:port]`.
    #[must_use]
    pub(crate) fn is_in_registry(&self, registry: &str) -> bool {
        let canonical = |registry: &str| {
            let registry = registry.to_ascii_lowercase();
            // Docker Hub has several names.
            match registry.as_str() {
                "index.docker.io" | "registry-1.docker.io" => DEFAULT_REGISTRY.to_owned(),
                _ => registry,
            }
        };
        canonical(self.registry()) == canonical(registry)
    }

    /// Returns the reference of the same image in a mirror. The mirror replaces the registry,
    /// and the path is unchanged; the short name of an official image becomes
    /// `library/<name>`. With `127.0.0.1:5000`, `postgres:17` becomes
    /// `127.0.0.1:5000/library/postgres:17`, and `quay.io/keycloak/keycloak:26`
    /// becomes `127.0.0.1:5000/keycloak/keycloak:26`. A mirror may include a path,
    /// `registry.example/proxy`.
    #[must_use]
    pub(crate) fn with_mirror(&self, mirror: Option<&str>) -> Self {
        let Some(mirror) = mirror.map(|mirror| mirror.trim_end_matches('/')) else {
            return self.clone();
        };
        let official = self.registry() == DEFAULT_REGISTRY && !self.repository.contains('/');
        let library = if official { "library/" } else { "" };
        let (host, path) = mirror
            .split_once('/')
            .map_or((mirror, String::new()), |(host, path)| {
                (host, format!("{path}/"))
            });
        Self {
            registry: Some(host.to_owned()),
            repository: format!("{path}{library}{}", self.repository),
            version_suffix: self.version_suffix.clone(),
        }
    }
}

impl fmt::Display for RegistryReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(registry) = &self.registry {
            write!(f, "{registry}/")?;
        }
        write!(f, "{}{}", self.repository, self.version_suffix)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mirrored(text: &str, mirror: &str) -> String {
        RegistryReference::parse(text)
            .with_mirror(Some(mirror))
            .to_string()
    }

    #[test]
    fn with_mirror_replaces_the_registry_and_keeps_the_path() {
        assert_eq!(
            mirrored("postgres:17", "127.0.0.1:5000"),
            "127.0.0.1:5000/library/postgres:17"
        );
        assert_eq!(
            mirrored("docker.io/postgres:17", "127.0.0.1:5000/"),
            "127.0.0.1:5000/library/postgres:17"
        );
        assert_eq!(
            mirrored("quay.io/keycloak/keycloak:26", "127.0.0.1:5000"),
            "127.0.0.1:5000/keycloak/keycloak:26"
        );
        assert_eq!(
            mirrored("osixia/openldap:1", "mirror.example/proxy"),
            "mirror.example/proxy/osixia/openldap:1"
        );
    }

    #[test]
    fn parse_distinguishes_tag_from_port_and_defaults_to_latest() {
        let reference = RegistryReference::parse("localhost:5000/a/b");
        assert_eq!(reference.registry(), "localhost:5000");
        assert_eq!(reference.to_string(), "localhost:5000/a/b:latest");
        assert_eq!(RegistryReference::parse("a/b").registry(), "docker.io");
        let digest = "quay.io/x@sha256:0123";
        assert_eq!(RegistryReference::parse(digest).to_string(), digest);
    }

    proptest! {
        #[test]
        fn reference_round_trips_through_text(
            registry in proptest::option::of("[a-z]{1,8}(\\.[a-z]{2,3}|:[0-9]{2,5})"),
            repository in "[a-z]{1,8}(/[a-z]{1,8}){0,2}",
            tag in "[a-z0-9][a-z0-9.-]{0,10}",
        ) {
            prop_assume!(!repository.starts_with("localhost"));
            let registry = registry.map(|registry| registry + "/").unwrap_or_default();
            let text = format!("{registry}{repository}:{tag}");
            prop_assert_eq!(RegistryReference::parse(&text).to_string(), text);
        }
    }
}
