//! Finding the engine: where it may be, which one answers, and why it is that
//! one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::Docker;
use bollard::models::SystemVersion;
use serde::Serialize;

use super::EngineError;
use super::context::{self, Certificates, Endpoint};

/// The oldest engine API that has all that `dm` needs: Docker 20.10, Podman 4.
pub const NEEDED_API: &str = "1.41";

/// How long a local engine may take to answer its first question. One that is
/// starting up lets the connection wait.
const LOCAL_PATIENCE: Duration = Duration::from_secs(5);

/// The same for one over the network.
const REMOTE_PATIENCE: Duration = Duration::from_secs(15);

/// How long any later call may take to begin its answer, in seconds.
const CALL_TIMEOUT: u64 = 120;

/// What the configuration says about the engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineSettings {
    /// Its address, as in `DOCKER_HOST`; otherwise it is looked for.
    pub host: Option<String>,
}

/// By what an engine came to be a candidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// `engine.host` of the configuration.
    Config,
    /// The variable `DOCKER_HOST`.
    DockerHost,
    /// A Docker context.
    Context(String),
    /// Docker's default socket.
    DefaultSocket,
    /// A socket in the user's own directories: rootless Docker, Docker Desktop
    /// and the like.
    Rootless,
    /// A Podman socket.
    Podman,
}

impl Source {
    /// Whether somebody named exactly this engine, so that no other will do.
    #[must_use]
    pub(crate) const fn is_explicit(&self) -> bool {
        matches!(self, Self::Config | Self::DockerHost | Self::Context(_))
    }
}

impl std::fmt::Display for Source {
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

/// Which engine was chosen, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Its address, as in `DOCKER_HOST`.
    pub address: String,
    /// By what it was found.
    pub source: Source,
    /// Why this one, in a sentence.
    pub why: String,
    /// What was tried before it, and with what outcome.
    pub tried: Vec<(String, String)>,
}

/// A place where an engine may be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    endpoint: Endpoint,
    source: Source,
}

/// What the search depends on, apart from the file system.
#[derive(Debug, Clone, Default)]
struct Surroundings {
    docker_host: Option<String>,
    docker_context: Option<String>,
    tls_verify: bool,
    cert_path: Option<PathBuf>,
    docker_directory: Option<PathBuf>,
    runtime_directory: Option<PathBuf>,
    home: Option<PathBuf>,
}

impl Surroundings {
    fn current() -> Self {
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
            docker_directory: context::directory(),
            // Not set over `su` and in cron, where the directory is there all
            // the same.
            runtime_directory: text("XDG_RUNTIME_DIR")
                .map(PathBuf::from)
                .or_else(|| Some(format!("/run/user/{uid}").into())),
            home: std::env::home_dir(),
        }
    }

    fn certificates(&self) -> Option<Certificates> {
        let directory = self
            .cert_path
            .clone()
            .or_else(|| self.docker_directory.clone())?;
        self.tls_verify.then_some(Certificates { directory })
    }
}

/// The candidates in the order of preference. Where somebody named one, it is
/// the only one.
fn candidates(
    settings: &EngineSettings,
    around: &Surroundings,
) -> Result<Vec<Candidate>, EngineError> {
    let named = |address: &str, source| Candidate {
        endpoint: Endpoint {
            address: address.to_owned(),
            tls: around.certificates(),
        },
        source,
    };
    if let Some(host) = settings.host.as_deref().filter(|host| !host.is_empty()) {
        return Ok(vec![named(host, Source::Config)]);
    }
    if let Some(host) = &around.docker_host {
        return Ok(vec![named(host, Source::DockerHost)]);
    }
    let context = match &around.docker_context {
        Some(name) => Some(name.clone()).filter(|name| context::is_named(name)),
        None => around
            .docker_directory
            .as_deref()
            .and_then(context::current),
    };
    if let Some(name) = context {
        let directory = around.docker_directory.as_deref().unwrap_or(Path::new(""));
        let endpoint =
            context::endpoint(directory, &name).map_err(|reason| EngineError::NotFound {
                tried: vec![format!("Docker context {name}: {reason}")],
                next: vec![
                    "list the contexts: docker context ls".into(),
                    "or use the default context: docker context use default".into(),
                ],
            })?;
        return Ok(vec![Candidate {
            endpoint,
            source: Source::Context(name),
        }]);
    }
    Ok(usual_sockets(around)
        .into_iter()
        .map(|(path, source)| Candidate {
            endpoint: Endpoint {
                address: format!("unix://{}", path.display()),
                tls: None,
            },
            source,
        })
        .collect())
}

fn usual_sockets(around: &Surroundings) -> Vec<(PathBuf, Source)> {
    let mut sockets = vec![(PathBuf::from("/var/run/docker.sock"), Source::DefaultSocket)];
    if let Some(runtime) = &around.runtime_directory {
        sockets.push((runtime.join("docker.sock"), Source::Rootless));
    }
    if let Some(home) = &around.home {
        let below_home = [
            ".docker/run/docker.sock",
            ".docker/desktop/docker.sock",
            ".orbstack/run/docker.sock",
            ".colima/default/docker.sock",
            ".config/colima/default/docker.sock",
            ".rd/docker.sock",
        ];
        sockets.extend(below_home.map(|path| (home.join(path), Source::Rootless)));
    }
    sockets.push(("/run/podman/podman.sock".into(), Source::Podman));
    if let Some(runtime) = &around.runtime_directory {
        sockets.push((runtime.join("podman/podman.sock"), Source::Podman));
    }
    if let Some(home) = &around.home {
        let machine = ".local/share/containers/podman/machine/podman.sock";
        sockets.push((home.join(machine), Source::Podman));
    }
    sockets
}

/// Finds the engine: its client, where it was found, and what it says of
/// itself.
///
/// # Errors
/// [`EngineError::NotFound`] when nothing answers, [`EngineError::TooOld`] when
/// what answers is.
pub(super) async fn find(
    settings: &EngineSettings,
) -> Result<(Docker, Found, SystemVersion), EngineError> {
    search(candidates(settings, &Surroundings::current())?).await
}

async fn search(candidates: Vec<Candidate>) -> Result<(Docker, Found, SystemVersion), EngineError> {
    let mut tried: Vec<(String, String)> = Vec::new();
    let mut next: Vec<String> = Vec::new();
    for Candidate { endpoint, source } in candidates {
        match ask(&endpoint).await {
            Ok((docker, version)) => {
                check_api(&endpoint.address, &version)?;
                let found = Found {
                    why: why(&source, &tried),
                    address: endpoint.address,
                    source,
                    tried,
                };
                return Ok((docker, found, version));
            }
            Err(failure) => {
                if source.is_explicit() {
                    next.push(advice_for_named(&source));
                }
                next.extend(failure.advice(&endpoint.address));
                tried.push((endpoint.address, failure.to_string()));
            }
        }
    }
    if next.is_empty() {
        next.push("install and start an engine: dm engine start".into());
    }
    next.dedup();
    Err(EngineError::NotFound {
        tried: tried
            .into_iter()
            .map(|(address, outcome)| format!("{address}: {outcome}"))
            .collect(),
        next,
    })
}

fn why(source: &Source, tried: &[(String, String)]) -> String {
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

fn advice_for_named(source: &Source) -> String {
    match source {
        Source::Config => {
            "check engine.host, or remove it so that dm searches for an engine".into()
        }
        Source::DockerHost => "check DOCKER_HOST, or unset it: unset DOCKER_HOST".into(),
        Source::Context(_) => "choose another context: docker context use default".into(),
        Source::DefaultSocket | Source::Rootless | Source::Podman => String::new(),
    }
}

/// Why a candidate is no engine for us.
#[derive(Debug)]
enum NoAnswer {
    Absent,
    Stale,
    Denied,
    Late(Duration),
    Scheme(String),
    Other(String),
}

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Absent => f.write_str("no such socket"),
            Self::Stale => f.write_str("the socket exists, but no process listens on it"),
            Self::Denied => f.write_str("this user may not open the socket"),
            Self::Late(patience) => {
                write!(
                    f,
                    "connected, but no answer within {} s",
                    patience.as_secs()
                )
            }
            Self::Scheme(scheme) => write!(f, "dm does not support {scheme}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl NoAnswer {
    fn advice(&self, address: &str) -> Option<String> {
        match self {
            Self::Denied => Some(
                "join the group of the socket and log in again: sudo usermod -aG docker $USER"
                    .into(),
            ),
            Self::Stale => Some("start the engine: dm engine start".into()),
            Self::Late(_) => Some("restart the engine: dm engine stop && dm engine start".into()),
            Self::Scheme(scheme) if scheme == "ssh" => Some(format!(
                "forward its socket: ssh -nNT -L /tmp/docker.sock:/var/run/docker.sock {} & export DOCKER_HOST=unix:///tmp/docker.sock",
                address.trim_start_matches("ssh://")
            )),
            Self::Scheme(_) => Some("use an address that begins with unix:// or tcp://".into()),
            Self::Absent | Self::Other(_) => None,
        }
    }

    fn from_io(kind: std::io::ErrorKind, is_socket: bool) -> Option<Self> {
        match kind {
            std::io::ErrorKind::NotFound => Some(Self::Absent),
            std::io::ErrorKind::ConnectionRefused if is_socket => Some(Self::Stale),
            std::io::ErrorKind::PermissionDenied => Some(Self::Denied),
            _ => None,
        }
    }
}

/// Asks the engine at `endpoint` what it is, in one call.
async fn ask(endpoint: &Endpoint) -> Result<(Docker, SystemVersion), NoAnswer> {
    let is_socket = endpoint.address.starts_with("unix://");
    if let Some(path) = endpoint.address.strip_prefix("unix://") {
        // A bare connect is cheap and, unlike the HTTP client, says what is
        // wrong.
        if let Err(error) = tokio::net::UnixStream::connect(path).await {
            return Err(NoAnswer::from_io(error.kind(), true)
                .unwrap_or_else(|| NoAnswer::Other(error.to_string())));
        }
    }
    let docker = client(endpoint)?;
    let patience = if is_socket {
        LOCAL_PATIENCE
    } else {
        REMOTE_PATIENCE
    };
    // `version` is the one call that tells all that the start needs.
    // `negotiate_version` would be the same call again: bollard sends paths
    // without a version, so the engine uses its own.
    match tokio::time::timeout(patience, docker.version()).await {
        Ok(Ok(version)) => Ok((docker, version)),
        Ok(Err(error)) => Err(NoAnswer::Other(innermost(&error))),
        Err(_) => Err(NoAnswer::Late(patience)),
    }
}

fn client(endpoint: &Endpoint) -> Result<Docker, NoAnswer> {
    let address = &endpoint.address;
    let version = bollard::API_DEFAULT_VERSION;
    let scheme = address.split_once("://").map_or("", |(scheme, _)| scheme);
    let built = match (scheme, &endpoint.tls) {
        ("unix", _) => Docker::connect_with_unix(address, CALL_TIMEOUT, version),
        ("tcp" | "http" | "https", Some(tls)) => {
            let file = |name| tls.directory.join(name);
            Docker::connect_with_ssl(
                address,
                &file("key.pem"),
                &file("cert.pem"),
                &file("ca.pem"),
                CALL_TIMEOUT,
                version,
            )
        }
        ("tcp" | "http", None) => Docker::connect_with_http(address, CALL_TIMEOUT, version),
        ("https", None) => {
            return Err(NoAnswer::Other(
                "HTTPS requires certificates: set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH".into(),
            ));
        }
        ("", _) => return Err(NoAnswer::Scheme("addresses without a scheme".into())),
        (other, _) => return Err(NoAnswer::Scheme(other.to_owned())),
    };
    built.map_err(|error| NoAnswer::Other(innermost(&error)))
}

/// The text of the innermost cause: `connection refused` rather than `error
/// trying to connect`.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn check_api(address: &str, version: &SystemVersion) -> Result<(), EngineError> {
    let found = version.api_version.clone().unwrap_or_default();
    if number(&found) < number(NEEDED_API) {
        return Err(EngineError::TooOld {
            at: address.to_owned(),
            found,
            needed: NEEDED_API,
        });
    }
    Ok(())
}

/// An API version as numbers that compare; what isn't one is the oldest.
fn number(version: &str) -> (u32, u32) {
    let parse = || {
        let (major, minor) = version.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    parse().unwrap_or((0, 0))
}

#[cfg(test)]
mod tests;
