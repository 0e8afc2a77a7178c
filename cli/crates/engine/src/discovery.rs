//! Discovery of the engine: its possible addresses, the first that answers, and the reason
//! for the choice.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::Docker;
use bollard::models::SystemVersion;
use serde::Serialize;

use super::EngineError;
use super::docker_context::{self, Endpoint, TlsCertificates};

/// The oldest engine API version that `dm` supports: Docker 20.10, Podman 4.
pub const MIN_API_VERSION: &str = "1.41";

/// How long a local engine may take to answer the first request. An engine that is
/// starting accepts the connection and answers late.
const LOCAL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an engine on the network may take to answer the first request.
const REMOTE_TIMEOUT: Duration = Duration::from_secs(15);

/// How long the engine may take to begin the answer to a later request, in seconds.
const CALL_TIMEOUT_SECONDS: u64 = 120;

/// The engine settings of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineSettings {
    /// Its address, as in `DOCKER_HOST`. Without it, the engine is searched for.
    pub host: Option<String>,
}

/// The source of a candidate address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiscoverySource {
    /// `engine.host` of the configuration.
    Config,
    /// The variable `DOCKER_HOST`.
    DockerHost,
    /// A Docker context.
    Context(String),
    /// Docker's default socket.
    DefaultSocket,
    /// A socket in the user's own directories: rootless Docker, Docker Desktop
    /// and similar engines.
    Rootless,
    /// A Podman socket.
    Podman,
}

impl DiscoverySource {
    /// Returns whether the user named this engine, so that no other is tried.
    #[must_use]
    pub(crate) const fn is_explicit(&self) -> bool {
        matches!(self, Self::Config | Self::DockerHost | Self::Context(_))
    }
}

impl std::fmt::Display for DiscoverySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Config => f.write_str("engine.host in the configuration"),
            Self::DockerHost => f.write_str("DOCKER_HOST"),
            Self::Context(name) => write!(f, "Docker context {name}"),
            Self::DefaultSocket => f.write_str("default socket"),
            Self::Rootless => f.write_str("socket of this user"),
            Self::Podman => f.write_str("Podman socket"),
        }
    }
}

/// The chosen engine, and why it was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EngineDiscovery {
    /// Its address, as in `DOCKER_HOST`.
    pub address: String,
    /// The source of its address.
    pub source: DiscoverySource,
    /// Why it was chosen, in a sentence.
    pub reason: String,
    /// The candidates that were tried before it.
    pub tried: Vec<FailedCandidate>,
}

/// A candidate that is not usable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailedCandidate {
    /// Its address, as in `DOCKER_HOST`.
    pub address: String,
    /// Why it is not usable.
    pub outcome: String,
}

/// A possible address of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
struct EngineCandidate {
    endpoint: Endpoint,
    source: DiscoverySource,
}

/// The environment of the search, without the file system.
#[derive(Debug, Clone, Default)]
struct DiscoveryEnv {
    docker_host: Option<String>,
    docker_context: Option<String>,
    tls_verify: bool,
    cert_path: Option<PathBuf>,
    docker_config_dir: Option<PathBuf>,
    runtime_dir: Option<PathBuf>,
    home: Option<PathBuf>,
}

impl DiscoveryEnv {
    fn from_env() -> Self {
        let text = |name| {
            std::env::var(name)
                .ok()
                .filter(|value: &String| !value.is_empty())
        };
        let uid = rustix::process::getuid().as_raw();
        Self {
            docker_host: text("DOCKER_HOST"),
            docker_context: text("DOCKER_CONTEXT"),
            tls_verify: text("DOCKER_TLS_VERIFY").is_some() || text("DOCKER_TLS").is_some(),
            cert_path: text("DOCKER_CERT_PATH").map(Into::into),
            docker_config_dir: docker_context::docker_config_dir(),
            // Not set by `su` and cron, although the directory exists.
            runtime_dir: text("XDG_RUNTIME_DIR")
                .map(PathBuf::from)
                .or_else(|| Some(format!("/run/user/{uid}").into())),
            home: std::env::home_dir(),
        }
    }

    fn tls_certificates(&self) -> Option<TlsCertificates> {
        let directory = self
            .cert_path
            .clone()
            .or_else(|| self.docker_config_dir.clone())?;
        self.tls_verify.then_some(TlsCertificates { directory })
    }
}

/// Returns the candidates in the order of preference. An engine that the user named is the
/// only candidate.
fn list_candidates(
    settings: &EngineSettings,
    env: &DiscoveryEnv,
) -> Result<Vec<EngineCandidate>, EngineError> {
    let candidate = |address: &str, source| EngineCandidate {
        endpoint: Endpoint {
            address: address.to_owned(),
            tls: env.tls_certificates(),
        },
        source,
    };
    if let Some(host) = settings.host.as_deref().filter(|host| !host.is_empty()) {
        return Ok(vec![candidate(host, DiscoverySource::Config)]);
    }
    if let Some(host) = &env.docker_host {
        return Ok(vec![candidate(host, DiscoverySource::DockerHost)]);
    }
    let context = match &env.docker_context {
        Some(name) => Some(name.clone()).filter(|name| docker_context::is_custom_context(name)),
        None => env
            .docker_config_dir
            .as_deref()
            .and_then(docker_context::current_context),
    };
    if let Some(name) = context {
        let directory = env.docker_config_dir.as_deref().unwrap_or(Path::new(""));
        let endpoint = docker_context::read_endpoint(directory, &name).map_err(|reason| {
            EngineError::NotFound {
                tried: vec![format!("Docker context {name}: {reason}")],
                suggestions: vec![
                    "list the contexts: docker context ls".into(),
                    "or use the default context: docker context use default".into(),
                ],
            }
        })?;
        return Ok(vec![EngineCandidate {
            endpoint,
            source: DiscoverySource::Context(name),
        }]);
    }
    Ok(default_sockets(env)
        .into_iter()
        .map(|(path, source)| EngineCandidate {
            endpoint: Endpoint {
                address: format!("unix://{}", path.display()),
                tls: None,
            },
            source,
        })
        .collect())
}

fn default_sockets(env: &DiscoveryEnv) -> Vec<(PathBuf, DiscoverySource)> {
    let mut sockets = vec![(
        PathBuf::from("/var/run/docker.sock"),
        DiscoverySource::DefaultSocket,
    )];
    if let Some(runtime) = &env.runtime_dir {
        sockets.push((runtime.join("docker.sock"), DiscoverySource::Rootless));
    }
    if let Some(home) = &env.home {
        let below_home = [
            ".docker/run/docker.sock",
            ".docker/desktop/docker.sock",
            ".orbstack/run/docker.sock",
            ".colima/default/docker.sock",
            ".config/colima/default/docker.sock",
            ".rd/docker.sock",
        ];
        sockets.extend(below_home.map(|path| (home.join(path), DiscoverySource::Rootless)));
    }
    sockets.push(("/run/podman/podman.sock".into(), DiscoverySource::Podman));
    if let Some(runtime) = &env.runtime_dir {
        sockets.push((runtime.join("podman/podman.sock"), DiscoverySource::Podman));
    }
    if let Some(home) = &env.home {
        let machine = ".local/share/containers/podman/machine/podman.sock";
        sockets.push((home.join(machine), DiscoverySource::Podman));
    }
    sockets
}

/// Finds the engine. Returns its client, how it was found, and its version.
///
/// # Errors
/// Returns [`EngineError::NotFound`] if no engine answers, and [`EngineError::TooOld`] if its
/// API version is too old.
pub(super) async fn discover(
    settings: &EngineSettings,
) -> Result<(Docker, EngineDiscovery, SystemVersion), EngineError> {
    try_candidates(list_candidates(settings, &DiscoveryEnv::from_env())?).await
}

async fn try_candidates(
    candidates: Vec<EngineCandidate>,
) -> Result<(Docker, EngineDiscovery, SystemVersion), EngineError> {
    let mut tried: Vec<FailedCandidate> = Vec::new();
    let mut suggestions: Vec<String> = Vec::new();
    for EngineCandidate { endpoint, source } in candidates {
        match query_version(&endpoint).await {
            Ok((docker, version)) => {
                check_api_version(&endpoint.address, &version)?;
                let discovery = EngineDiscovery {
                    reason: explain_choice(&source, &tried),
                    address: endpoint.address,
                    source,
                    tried,
                };
                return Ok((docker, discovery, version));
            }
            Err(failure) => {
                if source.is_explicit() {
                    suggestions.push(explicit_source_hint(&source));
                }
                suggestions.extend(failure.hint(&endpoint.address));
                tried.push(FailedCandidate {
                    address: endpoint.address,
                    outcome: failure.to_string(),
                });
            }
        }
    }
    if suggestions.is_empty() {
        suggestions.push("install and start an engine: dm engine start".into());
    }
    suggestions.dedup();
    Err(EngineError::NotFound {
        tried: tried
            .into_iter()
            .map(|candidate| format!("{}: {}", candidate.address, candidate.outcome))
            .collect(),
        suggestions,
    })
}

fn explain_choice(source: &DiscoverySource, tried: &[FailedCandidate]) -> String {
    if source.is_explicit() {
        format!("set by {source}")
    } else if tried.is_empty() {
        format!("{source}, the first candidate")
    } else {
        format!(
            "{source}, the first of {} candidates that answers",
            tried.len() + 1
        )
    }
}

fn explicit_source_hint(source: &DiscoverySource) -> String {
    match source {
        DiscoverySource::Config => {
            "check engine.host, or remove it so that dm searches for an engine".into()
        }
        DiscoverySource::DockerHost => "check DOCKER_HOST, or unset it: unset DOCKER_HOST".into(),
        DiscoverySource::Context(_) => "choose another context: docker context use default".into(),
        DiscoverySource::DefaultSocket | DiscoverySource::Rootless | DiscoverySource::Podman => {
            String::new()
        }
    }
}

/// The reason why a candidate is not usable.
#[derive(Debug)]
enum ConnectFailure {
    SocketMissing,
    NotListening,
    PermissionDenied,
    TimedOut(Duration),
    UnsupportedScheme(String),
    Other(String),
}

impl std::fmt::Display for ConnectFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::SocketMissing => f.write_str("no such socket"),
            Self::NotListening => f.write_str("the socket exists, but no process listens on it"),
            Self::PermissionDenied => f.write_str("this user may not open the socket"),
            Self::TimedOut(timeout) => {
                write!(f, "connected, but no answer within {} s", timeout.as_secs())
            }
            Self::UnsupportedScheme(scheme) => write!(f, "dm does not support {scheme}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl ConnectFailure {
    fn hint(&self, address: &str) -> Option<String> {
        match self {
            Self::PermissionDenied => Some(
                "join the group of the socket and log in again: sudo usermod -aG docker $USER"
                    .into(),
            ),
            Self::NotListening => Some("start the engine: dm engine start".into()),
            Self::TimedOut(_) => {
                Some("restart the engine: dm engine stop && dm engine start".into())
            }
            Self::UnsupportedScheme(scheme) if scheme == "ssh" => Some(format!(
                "forward its socket: ssh -nNT -L /tmp/docker.sock:/var/run/docker.sock {} & export DOCKER_HOST=unix:///tmp/docker.sock",
                address.trim_start_matches("ssh://")
            )),
            Self::UnsupportedScheme(_) => {
                Some("use an address that begins with unix:// or tcp://".into())
            }
            Self::SocketMissing | Self::Other(_) => None,
        }
    }

    fn from_io(kind: std::io::ErrorKind, is_socket: bool) -> Option<Self> {
        match kind {
            std::io::ErrorKind::NotFound => Some(Self::SocketMissing),
            std::io::ErrorKind::ConnectionRefused if is_socket => Some(Self::NotListening),
            std::io::ErrorKind::PermissionDenied => Some(Self::PermissionDenied),
            _ => None,
        }
    }
}

/// Queries the version of the engine at `endpoint`, in one call.
async fn query_version(endpoint: &Endpoint) -> Result<(Docker, SystemVersion), ConnectFailure> {
    let is_socket = endpoint.address.starts_with("unix://");
    if let Some(path) = endpoint.address.strip_prefix("unix://") {
        // A bare connect is cheap and, unlike the HTTP client, reports the cause of a
        // failure.
        if let Err(error) = tokio::net::UnixStream::connect(path).await {
            return Err(ConnectFailure::from_io(error.kind(), true)
                .unwrap_or_else(|| ConnectFailure::Other(error.to_string())));
        }
    }
    let docker = build_client(endpoint)?;
    let timeout = if is_socket {
        LOCAL_TIMEOUT
    } else {
        REMOTE_TIMEOUT
    };
    // `version` is the only call that the start needs. `negotiate_version` would repeat
    // it: bollard sends paths without a version, so the engine uses its own.
    match tokio::time::timeout(timeout, docker.version()).await {
        Ok(Ok(version)) => Ok((docker, version)),
        Ok(Err(error)) => Err(ConnectFailure::Other(root_cause(&error))),
        Err(_) => Err(ConnectFailure::TimedOut(timeout)),
    }
}

fn build_client(endpoint: &Endpoint) -> Result<Docker, ConnectFailure> {
    let address = &endpoint.address;
    let version = bollard::API_DEFAULT_VERSION;
    let scheme = address.split_once("://").map_or("", |(scheme, _)| scheme);
    let built = match (scheme, &endpoint.tls) {
        ("unix", _) => Docker::connect_with_unix(address, CALL_TIMEOUT_SECONDS, version),
        ("tcp" | "http" | "https", Some(tls)) => {
            let file = |name| tls.directory.join(name);
            Docker::connect_with_ssl(
                address,
                &file("key.pem"),
                &file("cert.pem"),
                &file("ca.pem"),
                CALL_TIMEOUT_SECONDS,
                version,
            )
        }
        ("tcp" | "http", None) => Docker::connect_with_http(address, CALL_TIMEOUT_SECONDS, version),
        ("https", None) => {
            return Err(ConnectFailure::Other(
                "HTTPS requires certificates: set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH".into(),
            ));
        }
        ("", _) => {
            return Err(ConnectFailure::UnsupportedScheme(
                "addresses without a scheme".into(),
            ));
        }
        (other, _) => return Err(ConnectFailure::UnsupportedScheme(other.to_owned())),
    };
    built.map_err(|error| ConnectFailure::Other(root_cause(&error)))
}

/// Returns the text of the root cause: `connection refused` instead of `error
/// trying to connect`.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn check_api_version(address: &str, version: &SystemVersion) -> Result<(), EngineError> {
    let found = version.api_version.clone().unwrap_or_default();
    if parse_api_version(&found) < parse_api_version(MIN_API_VERSION) {
        return Err(EngineError::TooOld {
            address: address.to_owned(),
            found,
            needed: MIN_API_VERSION,
        });
    }
    Ok(())
}

/// Returns an API version as comparable numbers. An invalid version counts as the oldest.
fn parse_api_version(version: &str) -> (u32, u32) {
    let parse = || {
        let (major, minor) = version.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    parse().unwrap_or((0, 0))
}

#[cfg(test)]
mod tests;
