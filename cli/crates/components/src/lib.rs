//! The components of the stack. Each defines its container, its readiness probe and its
//! addresses.

pub mod client_location;
pub mod database_setup;
pub mod gateway_secret;
pub mod keycloak;
pub mod lock_watch;
mod node_names;
pub mod openldap;
pub mod postgres;
pub mod prebuilt_schema;
pub mod quote;
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

/// The host ports of an instance by name, e.g. `postgres` → 5432.
pub type HostPorts = BTreeMap<String, u16>;

/// One readiness probe of a component.
pub type ProbeFuture = Pin<Box<dyn Future<Output = Result<(), ProbeError>> + Send>>;

/// The reset of a component to its initial state. The error is the reason for a failure.
pub type ResetFuture = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// The reason why a component is not ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeError {
    /// It is not ready yet; the text is the result of the probe.
    NotReady(String),
    /// It is misconfigured: waiting does not help.
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
            Self::Misconfigured(misconfiguration) => f.write_str(&misconfiguration.problem),
        }
    }
}

/// A misconfiguration of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misconfiguration {
    /// The problem, with the key of the configuration.
    pub problem: String,
    /// The next steps.
    pub suggestions: Vec<String>,
}

/// A command in a component's container that replaces the password of its first start by the
/// configured one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordReset {
    /// The command. It contains no secret.
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
    /// The host port that `dm.toml` requests.
    pub host_port: u16,
}

/// The instance, ports and directories for which a component is configured.
#[derive(Debug, Clone, Copy)]
pub struct InstanceLayout<'a> {
    /// The instance.
    pub instance: &'a Instance,
    /// The host ports of the instance.
    pub ports: &'a HostPorts,
    /// The project's directory. Paths in `dm.toml` are relative to it.
    pub root: &'a Path,
    /// The directory in which `dm` keeps its state.
    pub state_dir: &'a Path,
}

/// An error in the configuration of a component.
#[derive(Debug, Error)]
pub enum ComponentError {
    /// One of its files cannot be read.
    #[error("could not read {} (`{key}` in dm.toml)", path.display())]
    UnreadableFile {
        /// The file.
        path: PathBuf,
        /// The key that contains its path.
        key: &'static str,
        /// The cause.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// A host path of its container cannot be created.
    #[error("could not create {}", path.display())]
    HostPath {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// One of its files is invalid.
    #[error("could not use {}: {reason}", path.display())]
    InvalidFile {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// Its state in the state directory cannot be read or written.
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

/// The location of a component's data in its container and its golden image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoldenData {
    /// The data of its volume after a first start, at this path in both. The engine
    /// fills a new volume from the image's content.
    InPlace(&'static str),
    /// The same data in a separate directory of the image: the image's entrypoint
    /// copies it into a new volume faster than the engine does.
    Copied {
        /// The directory of the data in a container that has run.
        data_path: &'static str,
        /// The directory of the data in the golden image.
        image_path: &'static str,
    },
}

impl GoldenData {
    /// Returns the path of the data in the container.
    #[must_use]
    pub const fn data_path(self) -> &'static str {
        match self {
            Self::InPlace(path) => path,
            Self::Copied { data_path, .. } => data_path,
        }
    }

    /// Returns the directory in the golden image to which the data is copied.
    #[must_use]
    pub fn image_path(self) -> &'static str {
        match self {
            Self::InPlace(path) => path.rsplit_once('/').map_or("", |(parent, _)| parent),
            Self::Copied { image_path, .. } => image_path,
        }
    }
}

/// How a component returns to the state after its first start.
pub enum ResetStrategy {
    /// While it runs: this future resets its own data, and its caches of other components'
    /// data, which is about to be replaced.
    WhileRunning(ResetFuture),
    /// At its next start, after this command has requested it. The command is part of an image
    /// with golden data.
    AtNextStart(&'static [&'static str]),
}

/// The work that follows each time a component becomes ready. Returns a note for the user, if the
/// component works with a restriction.
pub(crate) type ReconfigureFuture =
    Pin<Box<dyn Future<Output = Result<Option<String>, Box<dyn UserError>>> + Send>>;

/// A long-running container of the stack.
pub trait Component: Debug + Send + Sync {
    /// Returns its name: in the network, in commands and in tables.
    fn name(&self) -> &'static str;

    /// Returns the name of its image.
    fn image_name(&self) -> &'static str {
        self.name()
    }

    /// Returns whether the stack is usable without it. If it does not start, the stack does
    /// not fail.
    fn is_optional(&self) -> bool {
        false
    }

    /// Returns the nodes that must be ready before it can start.
    fn start_dependencies(&self) -> &'static [&'static str] {
        &[]
    }

    /// Returns the components that it needs to be useful, although it starts without
    /// them. They are selected together with it.
    fn runtime_dependencies(&self) -> &'static [&'static str] {
        &[]
    }

    /// Returns the ports that it publishes.
    fn ports(&self) -> Vec<PortSpec>;

    /// Returns the specification of its container. The caller sets the image.
    ///
    /// # Errors
    /// Returns [`ComponentError`] if a fixture is missing or invalid.
    fn container_spec(&self, layout: &InstanceLayout<'_>) -> Result<ContainerSpec, ComponentError>;

    /// Creates the host paths of its container before it is started.
    ///
    /// # Errors
    /// Returns [`ComponentError::HostPath`] if a path cannot be created.
    fn prepare_host_paths(&self) -> Result<(), ComponentError> {
        Ok(())
    }

    /// Probes over the component's own protocol whether it is ready.
    fn probe(&self, ports: &HostPorts) -> ProbeFuture;

    /// Returns a problem that the component reports although it is ready.
    fn warning(&self) -> Option<String> {
        None
    }

    /// Returns its addresses on the host.
    fn addresses(&self, ports: &HostPorts) -> Vec<String>;

    /// Returns the page that `dm open` shows, if it has one.
    fn page_url(&self, _ports: &HostPorts) -> Option<String> {
        None
    }

    /// Returns the location of the data for its golden image; `None` for a component
    /// without data.
    fn golden_data(&self) -> Option<GoldenData> {
        None
    }

    /// Returns the database schema that is filled from its image before its first
    /// start, if it has one.
    fn prebuilt_schema(&self, _ports: &HostPorts) -> Option<PrebuiltSchema> {
        None
    }

    /// Returns the work that follows each time it becomes ready, such as settings that can change
    /// while it runs. The work must cost nothing if nothing has changed.
    fn reconfigure(&self, _ports: &HostPorts) -> Option<ReconfigureFuture> {
        None
    }

    /// Returns how it is reset to the state after its first start; `None` for a component whose
    /// container has to be created again.
    fn reset_strategy(&self, _ports: &HostPorts) -> Option<ResetStrategy> {
        None
    }

    /// Returns the command that sets the configured password, if the component rejects that.
    fn password_reset(&self) -> Option<PasswordReset> {
        None
    }

    /// Returns the misconfiguration that its last log lines report, if any.
    fn diagnose_log(&self, _log: &[String]) -> Option<Misconfiguration> {
        None
    }

    /// Formats a line of its log for a person.
    fn format_log_line(&self, line: String) -> String {
        line
    }

    /// Returns the time in which it has to become ready, if it differs from that of the run.
    fn wait_timeout(&self) -> Option<Duration>;
}

/// Returns the infrastructure components, in display order.
#[must_use]
pub fn infrastructure_components(config: &Config, root: &Path) -> Vec<Arc<dyn Component>> {
    vec![
        Arc::new(postgres::Postgres::new(config)),
        Arc::new(rabbitmq::RabbitMq::new(config, root)),
        Arc::new(openldap::OpenLdap::new(config)),
        Arc::new(keycloak::Keycloak::new(config)),
    ]
}

/// Returns the infrastructure components and the services, in display order.
#[must_use]
pub fn all_components(config: &Config, root: &Path) -> Vec<Arc<dyn Component>> {
    let mut components = infrastructure_components(config, root);
    components.extend(
        service::service_components(config).map(|service| Arc::new(service) as Arc<dyn Component>),
    );
    components
}

/// Returns a client builder for servers on this machine, which only use plain HTTP.
///
/// Without certificates: otherwise every new client reads and parses all trusted
/// certificates of the system, some hundred files, and a probe creates a client ten
/// times a second while the components need the processor.
pub fn http_client() -> reqwest::ClientBuilder {
    reqwest::Client::builder().no_proxy().tls_certs_only([])
}

/// Returns the last cause of an error: `connection refused` is more useful than
/// `error sending request`.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// Returns the specification that all components share: names, network, volume, ports.
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
            .map(|port| PublishedPort {
                name: port.name.to_owned(),
                container: port.container_port,
                host: host_port(layout.ports, port.name),
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

/// Returns the allocated port, or 0, on which nothing listens.
fn host_port(ports: &HostPorts, name: &str) -> u16 {
    ports.get(name).copied().unwrap_or_default()
}

/// Returns the address of a component's pages on the host, as browsers and issuers write it:
/// without the default port of `http`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_pages_omit_the_default_port_of_http() {
        assert_eq!(http_origin("127.0.0.1", 80), "http://127.0.0.1");
        assert_eq!(http_origin("127.0.0.1", 8080), "http://127.0.0.1:8080");
        // Each of these components may have port 80.
        let names = [keycloak::NAME, service::GATEWAY, "rabbitmq-management"];
        let ports = HostPorts::from(names.map(|name| (name.to_owned(), 80)));
        // The issuer of the realm's tokens begins with this address.
        assert_eq!(keycloak::base_url(&ports), "http://localhost");
        assert_eq!(
            service::base_url(service::GATEWAY, &ports),
            "http://localhost"
        );
        assert_eq!(rabbitmq::management_url(&ports), "http://localhost");
    }
}
