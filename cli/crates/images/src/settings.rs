//! The settings of `[images]` in `dm.toml`: how images are obtained.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dm_config::values::CaCertificates;
use dm_config::{Config, ImageSource};
use dm_engine::images::RegistryLogin;

use super::error::ImageError;

/// The name of the image that all others are based on.
pub const BASE_IMAGE: &str = "base";

/// The sources from which an image may be obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SourcePolicy {
    /// A local image, otherwise a pull within a short timeout, otherwise a build.
    #[default]
    Auto,
    /// Only pulls.
    Pull,
    /// Only builds.
    Build,
}

/// How images are obtained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSettings {
    /// The allowed sources.
    pub source: SourcePolicy,
    /// A registry that replaces all others, e.g. `127.0.0.1:5000`. See
    /// `RegistryReference::with_mirror` for the rule.
    pub mirror: Option<String>,
    /// The Debian archive that the base and all images on top of it install from.
    /// The default is that of the distribution.
    pub apt_mirror: Option<String>,
    /// The Maven repository that Keycloak's distribution is fetched from over HTTP.
    /// The default is Maven with its own configuration.
    pub maven_mirror: Option<String>,
    /// Certificates (PEM) of authorities that the images trust in addition to the default
    /// ones: the files are copied to `/usr/local/share/ca-certificates` of the base, and
    /// `update-ca-certificates` runs.
    pub extra_ca_certificates: Vec<PathBuf>,
    /// How long a registry may take to answer first.
    pub pull_timeout: Duration,
    /// The official images by component. A component without one is always built.
    pub official_images: BTreeMap<String, String>,
    /// The login for one registry.
    pub credentials: Option<RegistryLogin>,
}

impl Default for ImageSettings {
    fn default() -> Self {
        Self {
            source: SourcePolicy::default(),
            mirror: None,
            apt_mirror: None,
            maven_mirror: None,
            extra_ca_certificates: Vec::new(),
            pull_timeout: Duration::from_secs(6),
            official_images: BTreeMap::from(
                [
                    (BASE_IMAGE, "debian:trixie-slim"),
                    ("postgres", "postgres:17"),
                    ("rabbitmq", "rabbitmq:4-management"),
                    ("keycloak", "quay.io/keycloak/keycloak:26.7"),
                ]
                .map(|(component, reference)| (component.to_owned(), reference.to_owned())),
            ),
            credentials: None,
        }
    }
}

/// The directory of added certificate authorities on Debian and derived distributions.
const HOST_CA_DIR: &str = "/usr/local/share/ca-certificates";

impl ImageSettings {
    /// Creates the settings of a configuration, whose paths are relative to `root`.
    ///
    /// # Errors
    /// Returns [`ImageError::Io`] if the certificate authorities of the host are configured
    /// and cannot be read.
    pub fn from_config(config: &Config, root: &Path) -> Result<Self, ImageError> {
        let images = &config.images;
        let defaults = Self::default();
        let configured = [
            ("postgres", Some(&config.postgres.image)),
            ("rabbitmq", Some(&config.rabbitmq.image)),
            ("openldap", config.openldap.image.as_ref()),
            ("keycloak", Some(&config.keycloak.image)),
        ];
        let mut official = defaults.official_images;
        for (component, reference) in configured {
            if let Some(reference) = reference {
                official.insert(component.to_owned(), reference.to_string());
            }
        }
        Ok(Self {
            source: match images.source {
                ImageSource::Auto => SourcePolicy::Auto,
                ImageSource::Pull => SourcePolicy::Pull,
                ImageSource::Build => SourcePolicy::Build,
            },
            mirror: images.mirror.as_ref().map(ToString::to_string),
            apt_mirror: images.apt_mirror.as_ref().map(ToString::to_string),
            maven_mirror: images.maven_mirror.as_ref().map(ToString::to_string),
            extra_ca_certificates: match &images.extra_ca_certificates {
                CaCertificates::Files(files) => {
                    files.iter().map(|file| file.in_project(root)).collect()
                }
                CaCertificates::Host => host_ca_certificates()?,
            },
            pull_timeout: images.pull_timeout.as_duration(),
            official_images: official,
            credentials: images.credentials.as_ref().and_then(|credentials| {
                let registry = credentials.registry.as_ref().or(images.mirror.as_ref())?;
                Some(RegistryLogin {
                    registry: registry.host().to_owned(),
                    username: credentials.username.to_string(),
                    password: credentials.password.reveal().to_owned(),
                })
            }),
        })
    }
}

/// Returns the certificates that were added to this host, sorted by name. The list is empty
/// if the host has none or stores them elsewhere.
fn host_ca_certificates() -> Result<Vec<PathBuf>, ImageError> {
    let directory = Path::new(HOST_CA_DIR);
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let failed = || ImageError::io(format!("read {HOST_CA_DIR}"));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed())? {
        let path = entry.map_err(failed())?.path();
        if path.extension().is_some_and(|extension| extension == "crt") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The directories of `dm` that outlive a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageDirs {
    /// Locks, records and work in progress.
    pub state_dir: PathBuf,
    /// Downloads that can be fetched again.
    pub cache_dir: PathBuf,
}
