//! How images are obtained, as `[images]` in `dm.toml` says.

use std::path::PathBuf;
use std::time::Duration;

use crate::engine::images::RegistryLogin;

/// Where an image comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Source {
    /// What is local already, else by pull within a short limit, else by build.
    #[default]
    Auto,
    /// By pull alone.
    Pull,
    /// By build alone.
    Build,
}

/// How images are obtained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSettings {
    /// Where they come from.
    pub source: Source,
    /// A registry that stands in for all others, e.g. `127.0.0.1:5000`. See
    /// [`Reference::mirrored`](super::reference::Reference::mirrored) for the rule.
    pub mirror: Option<String>,
    /// The Debian archive that the base and everything on top of it install from.
    /// Without it the distribution's own default is used.
    pub apt_mirror: Option<String>,
    /// The Maven repository that Keycloak's distribution is fetched from by HTTP.
    /// Without it Maven and its own configuration decide.
    pub maven_mirror: Option<String>,
    /// Certificates (PEM) of authorities that the images trust beside the usual
    /// ones: the files go to `/usr/local/share/ca-certificates` of the base, and
    /// `update-ca-certificates` runs.
    pub extra_ca_certificates: Vec<PathBuf>,
    /// How long a registry may take for its first answer.
    pub pull_timeout: Duration,
    /// The login for the mirror, or for the registries where there is none.
    pub credentials: Option<RegistryLogin>,
}

impl Default for ImageSettings {
    fn default() -> Self {
        Self {
            source: Source::default(),
            mirror: None,
            apt_mirror: None,
            maven_mirror: None,
            extra_ca_certificates: Vec::new(),
            pull_timeout: Duration::from_secs(6),
            credentials: None,
        }
    }
}

/// Where `dm` keeps what outlives a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dirs {
    /// Locks and work in progress.
    pub state: PathBuf,
    /// Downloads that can be had again.
    pub cache: PathBuf,
}
