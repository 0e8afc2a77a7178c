//! The parts of the stack. Each says how it is configured, how it is known to be
//! ready, and how it is reached.

pub mod client_location;
pub mod database_setup;
pub mod gateway_secret;
pub mod keycloak;
pub mod lock_watch;
mod node_names;
pub mod openldap;
pub mod postgres;
pub mod prebuilt_schema;
mod quote;
pub mod rabbitmq;
pub mod service;
mod service_log;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use dm_config::Config;
use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use dm_core::instance::Instance;
use dm_engine::spec::{ContainerSpec, DigestKey, PublishedPort};
use dm_host::state::StateError;
use thiserror::Error;

use self::prebuilt_schema::PrebuiltSchema;

/// The host's ports of an instance by name, e.g. `postgres` → 5432.
pub type HostPorts = BTreeMap<String, u16>;

/// One question to a component: is it ready?
pub type ProbeFuture = Pin<Box<dyn Future<Output = Result<(), ProbeError>> + Send>>;

/// The work that makes a component as new. The error is why it can't be done.
pub type ResetFuture = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// Why a component is not ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeError {
    /// It is not ready yet; this is what it answered.
    NotReady(String),
    /// It answers, and waiting is no use.
    Misconfigured(Misconfiguration),
}

impl From<String> for ProbeError {
    fn from(answer: String) -> Self {
        Self::NotReady(answer)
    }
}

impl std::fmt::Display for ProbeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotReady(answer) => f.write_str(answer),
            Self::Misconfigured(refused) => f.write_str(&refused.problem),
        }
    }
}

/// What is wrong with a component, in the words of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misconfiguration {
    /// What it refuses, and which key that comes from.
    pub problem: String,
    /// What to do next.
    pub suggestions: Vec<String>,
}

/// A command in a component's container that has it take the password of the configuration
/// in place of the one of its first start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordReset {
    /// The command. It holds no secret.
    pub command: Vec<String>,
    /// Its standard input.
    pub stdin: String,
}

/// A port that a component publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortSpec {
    /// Its name in allocations.
    pub name: &'static str,
    /// The port inside the container.
    pub container_port: u16,
    /// The port on the host that `dm.toml` asks for.
    pub host_port: u16,
}

/// Where a component is to be set up.
#[derive(Debug, Clone, Copy)]
pub struct InstanceLayout<'a> {
    /// The instance.
    pub instance: &'a Instance,
    /// The host's ports of the instance.
    pub ports: &'a HostPorts,
    /// The project's folder, which paths in `dm.toml` are relative to.
    pub root: &'a Path,
    /// Where `dm` keeps what it must remember.
    pub state_dir: &'a Path,
}

/// A component that can't be configured.
#[derive(Debug, Error)]
pub enum ComponentError {
    /// One of its files can't be read.
    #[error("could not read {} (`{key}` in dm.toml)", path.display())]
    UnreadableFile {
        /// The file.
        path: PathBuf,
        /// The key that names it.
        key: &'static str,
        /// Why not.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// Something that its container has of this machine can't be made.
    #[error("could not create {}", path.display())]
    HostPath {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// One of its files isn't what it should be.
    #[error("could not use {}: {reason}", path.display())]
    InvalidFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// What `dm` keeps for it can't be read or written.
    #[error(transparent)]
    State(#[from] StateError),
}

impl UserError for ComponentError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::UnreadableFile { .. } | Self::HostPath { .. } | Self::InvalidFile { .. } => {
                ErrorCode::ComponentFile
            }
            Self::State(error) => error.code(),
        }
    }

    fn exit_status(&self) -> ExitStatus {
        match self {
            Self::UnreadableFile { .. } | Self::HostPath { .. } | Self::InvalidFile { .. } => {
                ExitStatus::Usage
            }
            Self::State(error) => error.exit_status(),
        }
    }

    fn suggestions(&self) -> Vec<String> {
        match self {
            Self::UnreadableFile { key, .. } => {
                vec![format!(
                    "create the file, or set `{key}` in dm.toml: dm config show {key}"
                )]
            }
            Self::HostPath { .. } => Vec::new(),
            Self::InvalidFile { path, .. } => vec![format!("correct {}", path.display())],
            Self::State(error) => error.suggestions(),
        }
    }
}

/// What a component's golden image holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoldenData {
    /// The data of its volume after a first start, at this path. The engine fills
    /// a new volume from the image's content there.
    InPlace(&'static str),
    /// The same, kept in a folder of its own: the image's entrypoint copies it
    /// into a new volume, since it does so quicker than the engine.
    Copied {
        /// Where the data is in a container that has run.
        data_path: &'static str,
        /// The folder in the golden image that it goes to.
        image_path: &'static str,
    },
}

impl GoldenData {
    /// The path in the container.
    #[must_use]
    pub const fn data_path(self) -> &'static str {
        match self {
            Self::InPlace(path) => path,
            Self::Copied {
                data_path: data, ..
            } => data,
        }
    }

    /// The folder in the golden image that it goes to.
    #[must_use]
    pub fn image_path(self) -> &'static str {
        match self {
            Self::InPlace(path) => path.rsplit_once('/').map_or("", |(parent, _)| parent),
            Self::Copied {
                image_path: kept, ..
            } => kept,
        }
    }
}

/// How a component becomes what it is after a first start.
pub enum ResetStrategy {
    /// While it runs: its own data, and what it has read of others', which is about to be
    /// replaced.
    WhileRunning(ResetFuture),
    /// At its next start, once this command has said so. It is one of the image's own, where
    /// that has golden data.
    AtNextStart(&'static [&'static str]),
}

/// The work that gives a component that is ready what of its configuration can change while
/// it runs.
pub(crate) type ReconfigureFuture =
    Pin<Box<dyn Future<Output = Result<(), Box<dyn UserError>>> + Send>>;

/// A container of the stack that stays up.
pub trait Component: Debug + Send + Sync {
    /// Its name: in the network, in commands and in tables.
    fn name(&self) -> &'static str;

    /// What its image is called.
    fn image_name(&self) -> &'static str {
        self.name()
    }

    /// Whether the rest of the stack is of use without it: where it does not start, that is
    /// no failure of the stack.
    fn is_optional(&self) -> bool {
        false
    }

    /// What must be ready before it can start.
    fn start_dependencies(&self) -> &'static [&'static str] {
        &[]
    }

    /// What it needs to be of any use, though it starts without: whoever asks for
    /// it alone gets these, too.
    fn runtime_dependencies(&self) -> &'static [&'static str] {
        &[]
    }

    /// The ports that it publishes.
    fn ports(&self) -> Vec<PortSpec>;

    /// What its container should be; the caller sets the image.
    ///
    /// # Errors
    /// [`ComponentError`] where a fixture is missing or broken.
    fn container_spec(&self, layout: &InstanceLayout<'_>) -> Result<ContainerSpec, ComponentError>;

    /// Makes what its container has of this machine, before that is started.
    ///
    /// # Errors
    /// [`ComponentError::Place`] where that can't be made.
    fn prepare_host_paths(&self) -> Result<(), ComponentError> {
        Ok(())
    }

    /// Asks the component by its own protocol whether it is ready.
    fn probe(&self, ports: &HostPorts) -> ProbeFuture;

    /// What it says is wrong though it is ready.
    fn warning(&self) -> Option<String> {
        None
    }

    /// How a person or a program reaches it from the host.
    fn addresses(&self, ports: &HostPorts) -> Vec<String>;

    /// The page that `dm open` shows, if it has one.
    fn page_url(&self, _ports: &HostPorts) -> Option<String> {
        None
    }

    /// What its golden image holds, and where in the container that is; `None` for
    /// a component that keeps nothing.
    fn golden_data(&self) -> Option<GoldenData> {
        None
    }

    /// The database schema that can be filled from its image before its first
    /// start, where it has one.
    fn prebuilt_schema(&self, _ports: &HostPorts) -> Option<PrebuiltSchema> {
        None
    }

    /// What is done to it once it is ready, whenever it is brought up; it must cost nothing
    /// where there is nothing to change.
    fn reconfigure(&self, _ports: &HostPorts) -> Option<ReconfigureFuture> {
        None
    }

    /// How it becomes what it is after a first start without being made again; `None` for a
    /// component that has to be.
    fn reset_strategy(&self, _ports: &HostPorts) -> Option<ResetStrategy> {
        None
    }

    /// How it is made to take the password of the configuration where it refuses that.
    fn password_reset(&self) -> Option<PasswordReset> {
        None
    }

    /// What its last log lines say is wrong, where they say it of the configuration.
    fn diagnose_log(&self, _log: &[String]) -> Option<Misconfiguration> {
        None
    }

    /// A line of its log as a person wants to read it.
    fn format_log_line(&self, line: String) -> String {
        line
    }

    /// The time it is given to become ready, where not the run's.
    fn wait_timeout(&self) -> Option<Duration>;
}

/// The infrastructure components, in the order in which they are shown.
#[must_use]
pub fn infrastructure_components(config: &Config, root: &Path) -> Vec<Arc<dyn Component>> {
    vec![
        Arc::new(postgres::Postgres::new(config)),
        Arc::new(rabbitmq::RabbitMq::new(config, root)),
        Arc::new(openldap::OpenLdap::new(config)),
        Arc::new(keycloak::Keycloak::new(config)),
    ]
}

/// The infrastructure and the services, in the order in which they are shown.
#[must_use]
pub fn all_components(config: &Config, root: &Path) -> Vec<Arc<dyn Component>> {
    let mut components = infrastructure_components(config, root);
    components.extend(
        service::service_components(config).map(|service| Arc::new(service) as Arc<dyn Component>),
    );
    components
}

/// A client for what runs on this machine, which is never anything but plain HTTP.
///
/// Without certificates: otherwise every new client reads and parses all that
/// the system trusts, some hundred files, and a probe makes a client ten times
/// a second while the components want the processor for themselves.
pub fn http_client() -> reqwest::ClientBuilder {
    reqwest::Client::builder().no_proxy().tls_certs_only([])
}

/// The last cause of an error: `connection refused` says more than `error sending request`.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// The specification that all components share: names, network, volume, ports.
#[must_use]
pub fn base_container_spec(
    component: &dyn Component,
    layout: &InstanceLayout<'_>,
) -> ContainerSpec {
    let name = component.name();
    ContainerSpec {
        name: layout.instance.container_name(name),
        component: name.to_owned(),
        image: String::new(),
        recipe: String::new(),
        digest_key: DigestKey::default(),
        hostname: name.to_owned(),
        env: BTreeMap::new(),
        command: Vec::new(),
        files: Vec::new(),
        mounts: Vec::new(),
        ports: component
            .ports()
            .into_iter()
            .map(|wish| PublishedPort {
                name: wish.name.to_owned(),
                container: wish.container_port,
                host: host_port(layout.ports, wish.name),
            })
            .collect(),
        network: layout.instance.network_name(),
        memory: None,
        shm_size: None,
        stop_timeout: 10,
        sysctls: BTreeMap::new(),
        host: None,
        labels: BTreeMap::new(),
    }
}

/// The allocated port; 0, which nothing listens on, where there is none.
fn host_port(ports: &HostPorts, name: &str) -> u16 {
    ports.get(name).copied().unwrap_or_default()
}

/// The address of a component's pages on the host, as browsers and issuers write it:
/// without the port that `http` has by itself.
fn http_origin(host: &str, port: u16) -> String {
    match port {
        80 => format!("http://{host}"),
        port => format!("http://{host}:{port}"),
    }
}

/// Reads a fixture.
fn read_fixture(root: &Path, path: &Path, key: &'static str) -> Result<Vec<u8>, ComponentError> {
    let path = root.join(path);
    std::fs::read(&path).map_err(|error| ComponentError::UnreadableFile {
        path,
        key,
        source: Arc::new(error),
    })
}
